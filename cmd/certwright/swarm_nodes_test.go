package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/swarm"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// TestManagerShowsItsCertificate has status say when the certificate of a real manager ends.
func TestManagerShowsItsCertificate(t *testing.T) {
	t.Parallel()
	hosts := dockertest.Hosts(t, 1)
	if _, err := hosts[0].Client.SwarmInit(t.Context(), swarm.InitRequest{ListenAddr: "0.0.0.0:2377", AdvertiseAddr: hosts[0].Address}); err != nil {
		t.Fatal(err)
	}
	s := &hostScene{t: t, hosts: hosts, dir: t.TempDir(), env: []string{"DOCKER_HOST=unix://" + hosts[0].Socket}}
	s.write("tls.yaml", "version: 1\nproject: nodes\nswarm: {nodeCertLifetime: 720h}\n")
	r := s.want(exitDone, "status", "-o", "json")
	var d statusDocument
	if err := json.Unmarshal([]byte(r.out), &d); err != nil || d.Swarm == nil || len(d.Swarm.Nodes) != 1 || d.Swarm.Nodes[0].NotAfter == nil {
		t.Fatalf("status: %v\n%s", err, r.out)
	}
	end, err := time.Parse(time.RFC3339, *d.Swarm.Nodes[0].NotAfter)
	if left := time.Until(end); err != nil || left < 60*24*time.Hour || left > 91*24*time.Hour { // Swarm's own life is ninety days
		t.Errorf("it ends %v, %v", end, err)
	}
	if len(d.Weak) > 0 {
		t.Errorf("of a new Swarm it is said: %+v", d.Weak)
	}
	if r := s.want(exitDone, "status"); !strings.Contains(r.out, "TLS ready  until "+*d.Swarm.Nodes[0].NotAfter) {
		t.Errorf("status does not say so:\n%s", r.out)
	}
}
