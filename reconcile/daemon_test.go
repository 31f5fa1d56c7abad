package reconcile

import (
	"strings"
	"testing"

	"github.com/certwright/certwright/spec"
)

// TestCutOffClash has what an earlier version left when it was killed: dockerd's hosts are in its file and in its unit, which is
// refused otherwise. Here it is finished.
func TestCutOffClash(t *testing.T) {
	s := DaemonState{
		Unit: "docker.service", Active: true, Command: []string{"dockerd", "-H", "fd://"}, CommandAt: "docker.service:13",
		File: "/etc/docker/daemon.json", Hosts: Directive{Values: []string{"fd://", "tcp://0.0.0.0:2376"}, At: "/etc/docker/daemon.json:2"},
	}
	at := s.slot("local", "a")
	s.TLS = at.tls()
	e := &spec.EngineTLS{Listen: []string{"tcp://0.0.0.0:2376"}, AllowRestart: true}
	if _, _, refused := s.wants(e, at); refused == nil {
		t.Error("what somebody else has made is not refused")
	}
	s.Unfinished = true
	c, why, refused := s.wants(e, at)
	if refused != nil || why != "docker.service:13 says some of it itself" || strings.Join(c.Command, " ") != "dockerd" {
		t.Errorf("%q, %q, %+v", c.Command, why, refused)
	}
}
