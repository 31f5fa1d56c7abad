package main

import (
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/docker/docker/api/types/swarm"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// TestSwarmExternalCA has a CA outside sign the certificates of three nodes, and goes back to Swarm's own: also in the middle
// of a rotation, killed in it, and with a lost reply.
func TestSwarmExternalCA(t *testing.T) {
	t.Parallel()
	nodes := dockertest.SwarmOf(t, 3)
	s := &swarmScene{t: t, m: nodes[0], dir: t.TempDir(), at: time.Now()}
	ca, other := nodes[0].NodeCA(t), nodes[0].NodeCA(t)
	root := func(ca *dockertest.NodeCA) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Root.Raw}))
	}
	for name, text := range map[string]string{"root.pem": root(ca), "other.pem": root(other), "both.pem": root(ca) + root(other)} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	external := func(ca *dockertest.NodeCA, file string) {
		s.keeps(fmt.Sprintf("{externalCA: {url: %q, root: %s}}", ca.URL, file))
	}
	const update = "POST /swarm/update"
	kept := func(when string, want string) {
		t.Helper()
		if now := s.is(); now.RootRotationInProgress || now.TLSInfo.TrustRoot != want {
			t.Fatalf("%s: under way: %v, the root is\n%s", when, now.RootRotationInProgress, now.TLSInfo.TrustRoot)
		}
		s.want(exitDone, "plan", "--exit-code")
	}
	own := s.is().TLSInfo.TrustRoot

	// What is bad changes nothing.
	before := s.is().Version
	external(ca, "both.pem")
	s.says(exitPart, []string{"apply"}, "swarm/local: the root of externalCA: ", "holds 2 certificates")
	external(ca, "none.pem")
	s.says(exitPart, []string{"apply"}, "no such file")
	external(ca, "other.pem")
	s.says(exitPart, []string{"apply"}, "there must be at least one valid, reachable external CA corresponding to the desired CA certificate")
	if now := s.is(); now.Version != before || ca.Signed.Load() != 0 {
		t.Errorf("bad input changed the Swarm, or had %d certificates signed", ca.Signed.Load())
	}

	// To the external CA, although the reply is lost.
	external(ca, "root.pem")
	s.says(exitPending, []string{"plan", "--exit-code"}, "rotate the Swarm's root on 3 nodes to that of "+ca.URL+", which changes its join tokens  the nodes trust another root than that of externalCA")
	if _, what := s.run("1.lost."+update, "apply"); what != update {
		t.Fatalf("%q was struck", what)
	}
	s.says(exitDone, []string{"apply", "--wait", "1m"})
	kept("at the external CA", root(ca))
	if n := ca.Signed.Load(); n < 3 {
		t.Errorf("it signed %d certificates", n)
	}
	s.says(exitDone, []string{"status"}, "  "+ca.URL+" signs the certificates of its nodes\n", "  "+nodes[1].Hostname+"  ready  TLS ready  until ")

	// Swarm does not go from one to another.
	external(other, "other.pem")
	s.says(exitPart, []string{"apply"}, "externalCA has another root than "+ca.URL+", and Swarm does not go from one external CA to another")

	// Somebody rotates to a root of Swarm's own, and a node that is down holds that up. The spec has it given up.
	third := nodes[2].Hostname
	nodes[2].Kill()
	nodes[0].Await(t, third, swarm.NodeStateDown)
	external(ca, "root.pem")
	s.shell("docker swarm ca --rotate --detach")
	if !s.is().RootRotationInProgress {
		t.Fatal("the rotation that a node holds up is over")
	}
	s.says(exitDone, []string{"plan"}, "give up the rotation of the Swarm's root, and keep that of "+ca.URL+"  externalCA names the root the nodes trust, and they are being given another: ")
	if _, what := s.run("1.after."+update, "apply"); what != update {
		t.Fatalf("%q was struck", what)
	}
	nodes[2].Start(t)
	nodes[0].Await(t, third, swarm.NodeStateReady)
	s.want(exitDone, "apply", "--wait", "1m")
	kept("given up", root(ca))

	// Back to Swarm's own, of which another counter is seen first.
	s.keeps("{rotation: 1}")
	s.says(exitDone, []string{"apply"}, "note rotation 1 of the Swarm's root")
	kept("first sight", root(ca))
	s.keeps("{rotation: 2}")
	s.says(exitDone, []string{"apply", "--wait", "1m"}, "rotation was raised from 1 to 2; "+ca.URL+" signs no more after that")
	now := s.is()
	if now.TLSInfo.TrustRoot == own {
		t.Error("it has the first root again")
	}
	kept("back", now.TLSInfo.TrustRoot)
	signed := ca.Signed.Load()
	s.keeps("{rotation: 3}")
	s.want(exitDone, "apply", "--wait", "1m")
	if n := ca.Signed.Load(); n != signed {
		t.Errorf("it signed %d certificates of a Swarm that has left it", n-signed)
	}
}
