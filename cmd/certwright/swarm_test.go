package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/swarm"
	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// keeps writes a tls.yaml that is about the Swarm's own CA alone.
func (s *swarmScene) keeps(section string) {
	s.t.Helper()
	text := "version: 1\nproject: shop\nswarm: " + section + "\n"
	if err := os.WriteFile(filepath.Join(s.dir, "tls.yaml"), []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// says calls certwright and wants all of the texts in what it prints, and no join token.
func (s *swarmScene) says(code int, args []string, texts ...string) {
	s.t.Helper()
	r := s.want(code, args...)
	for _, text := range texts {
		if !strings.Contains(r.out+r.err, text) {
			s.t.Errorf("certwright %v does not say %q, but\n%s%s", args, text, r.out, r.err)
		}
	}
	if strings.Contains(r.out+r.err, "SWMTKN") {
		s.t.Errorf("certwright %v prints a join token", args)
	}
}

// is what Swarm says of itself.
func (s *swarmScene) is() swarm.Swarm {
	s.t.Helper()
	is, err := s.m.Client.SwarmInspect(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return is
}

// rotatedOnce checks that the Swarm's root was rotated once since it was as before, and that the rotation is over: with
// status, too. It returns what Swarm is now.
func (s *swarmScene) rotatedOnce(before swarm.Swarm, nodes []dockertest.Manager) swarm.Swarm {
	s.t.Helper()
	now := s.is()
	if now.RootRotationInProgress || now.Spec.CAConfig.ForceRotate != before.Spec.CAConfig.ForceRotate+1 || now.TLSInfo.TrustRoot == before.TLSInfo.TrustRoot {
		s.t.Fatalf("the root was rotated %d times, is under way: %v, another root: %v", now.Spec.CAConfig.ForceRotate-before.Spec.CAConfig.ForceRotate,
			now.RootRotationInProgress, now.TLSInfo.TrustRoot != before.TLSInfo.TrustRoot)
	}
	if now.JoinTokens.Worker == before.JoinTokens.Worker || now.JoinTokens.Manager == before.JoinTokens.Manager {
		s.t.Error("the plan says that the join tokens change, and they do not")
	}
	s.want(exitDone, "plan", "--exit-code")
	r := s.want(exitDone, "status", "-o", "json")
	var d statusDocument
	if err := json.Unmarshal([]byte(r.out), &d); err != nil || d.Swarm == nil {
		s.t.Fatalf("status: %v\n%s", err, r.out)
	}
	block, _ := pem.Decode([]byte(now.TLSInfo.TrustRoot))
	sum := sha256.Sum256(block.Bytes)
	want := swarmDocument{Root: word(hex.EncodeToString(sum[:])), NotAfter: d.Swarm.NotAfter, Lifetime: word("30d"), External: []string{}}
	for i, n := range nodes {
		shows := d.Swarm.Nodes[min(i, len(d.Swarm.Nodes)-1)].NotAfter // at its address, if that is reached from here
		want.Nodes = append(want.Nodes, nodeDocument{n.Hostname, "ready", "ready", shows})
	}
	if diff := cmp.Diff(&want, d.Swarm); diff != "" || d.Swarm.NotAfter == nil {
		s.t.Errorf("status (-want +got)\n%s", diff)
	}
	return now
}

// TestSwarmRotation rotates the root of a Swarm of three nodes: at rest, killed in the middle, with a lost reply, and
// with one node down.
func TestSwarmRotation(t *testing.T) {
	t.Parallel()
	nodes := dockertest.SwarmOf(t, 3)
	s := &swarmScene{t: t, m: nodes[0], dir: t.TempDir(), at: time.Now()}
	third := nodes[2].Hostname
	const update = "POST /swarm/update"
	clock := time.Now()
	lap := func(what string) {
		t.Logf("%s: %s", what, time.Since(clock).Round(100*time.Millisecond))
		clock = time.Now()
	}

	// The first sight rotates nothing.
	s.keeps("{nodeCertLifetime: 720h, rotation: 7}")
	before := s.is()
	s.says(exitDone, []string{"apply"}, "let the Swarm's node certificates live 30d (they live 90d)", "note rotation 7 of the Swarm's root (seen for the first time, so nothing is rotated)")
	was := s.is()
	if was.Spec.CAConfig.NodeCertExpiry != 720*time.Hour || was.TLSInfo.TrustRoot != before.TLSInfo.TrustRoot || was.Spec.CAConfig.ForceRotate != 0 {
		t.Fatalf("after the first sight: %+v", was.Spec.CAConfig)
	}
	before.Spec.CAConfig.NodeCertExpiry, before.Spec.Labels = was.Spec.CAConfig.NodeCertExpiry, was.Spec.Labels
	if diff := cmp.Diff(before.Spec, was.Spec); diff != "" {
		t.Errorf("something else of the Swarm was changed\n%s", diff)
	}
	s.want(exitDone, "plan", "--exit-code")
	lap("first sight")

	// A raise does, and is told step by step.
	s.keeps("{nodeCertLifetime: 720h, rotation: 8}")
	s.says(exitPending, []string{"plan", "--exit-code"}, "rotate the Swarm's root on 3 nodes, which changes its join tokens  rotation was raised from 7 to 8")
	s.says(exitDone, []string{"apply"}, "/3 nodes have a certificate of the new root, waits for ", "3/3 nodes trust the new root alone\n")
	was = s.rotatedOnce(was, nodes)
	s.says(exitDone, []string{"status"}, "\nSwarm\n  root ", "node certificates live 30d\n", "  "+third+"  ready  TLS ready  until ")
	lap("rotation")

	// Killed after the update, and without its answer: the next one follows and does not rotate again.
	for i, when := range []string{"after", "lost"} {
		s.keeps(fmt.Sprintf("{nodeCertLifetime: 720h, rotation: %d}", 9+i))
		if _, what := s.run("1."+when+"."+update, "apply"); what != update {
			t.Fatalf("%s: %q was struck", when, what)
		}
		s.want(exitDone, "apply")
		was = s.rotatedOnce(was, nodes)
		lap(when)
	}

	// A node that is down is named, and nothing is done.
	nodes[2].Kill()
	nodes[0].Await(t, third, swarm.NodeStateDown)
	s.keeps("{nodeCertLifetime: 720h, rotation: 11}")
	s.says(exitPart, []string{"apply"}, "swarm/local: rotation was raised from 10 to 11, but not every node is ready: "+third+" (down)\n")
	if now := s.is(); now.Version != was.Version {
		t.Error("the Swarm was changed although a node is down")
	}
	s.want(exitPart, "plan", "--exit-code")
	lap("refusal")

	// Forced, it says what it waits for.
	waits := "2/3 nodes have a certificate of the new root, waits for " + third + " (down)"
	s.says(exitDone, []string{"apply", "--force-rotation"}, waits, "docker node rm --force NODE")
	s.says(exitDone, []string{"status"}, "\n  the rotation of its root is under way: "+waits+"\n", "  "+third+"  down   TLS needs rotation\n")
	s.says(exitPart, []string{"apply", "--wait", "1s"}, "the rotation of the Swarm's root was not over within 1s: the rotation of its root is under way: "+waits)
	if !s.is().RootRotationInProgress {
		t.Error("the rotation is over without the third node")
	}
	lap("forced")

	// It ends when the node is back, and has not been done again.
	nodes[2].Start(t)
	s.want(exitDone, "apply", "--wait", "1m")
	was = s.rotatedOnce(was, nodes)
	lap("back")

	// Or when it is removed.
	nodes[2].Kill()
	nodes[0].Await(t, third, swarm.NodeStateDown)
	s.keeps("{nodeCertLifetime: 720h, rotation: 12}")
	s.says(exitDone, []string{"apply", "--force-rotation"}, waits)
	nodes[0].Remove(t, third)
	s.want(exitDone, "apply", "--wait", "1m")
	s.rotatedOnce(was, nodes[:2])
	lap("removed")
}
