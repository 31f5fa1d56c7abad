package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// disturbance is something that happens to a watch and its servers.
type disturbance struct {
	what string
	do   func()
}

func (s *soak) disturbances() []disturbance {
	return []disturbance{
		{"nginx is restarted", s.nginx.restart},
		{"the server is restarted", s.server.restart},
		{"the engine is restarted", s.restart},
		{"a file is altered", func() { s.drift(s.nginx) }},
		{"names change", s.rename},
		{"a binding comes or goes", s.another},
		{"a spec cannot be used", s.broken},
	}
}

// restart restarts the container of a server.
func (v *soaked) restart() {
	v.s.t.Helper()
	v.down()
	if err := v.s.m.Client.ContainerRestart(v.s.t.Context(), v.id, container.StopOptions{}); err != nil {
		v.s.t.Fatal(err)
	}
	v.back()
}

// restart stops the engine, and starts it again when it has been down for a while.
func (s *soak) restart() {
	s.t.Helper()
	s.nginx.down()
	s.server.down()
	s.m.Stop()
	<-time.After(soakDown)
	s.m.Start(s.t)
	s.nginx.back()
	s.server.back()
}

// drift removes a placed file, or alters it, or its mode.
func (s *soak) drift(v *soaked) {
	s.t.Helper()
	name := filepath.Join(v.certs, []string{"ca.pem", "cert.pem", "key.pem"}[s.rand.IntN(3)])
	var err error
	switch s.rand.IntN(3) {
	case 0:
		err = os.Remove(name)
	case 1:
		err = os.WriteFile(name, []byte("other"), 0o600)
	default:
		err = os.Chmod(name, 0o640)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// rename gives the certificate of nginx one more name, or takes it away again.
func (s *soak) rename() {
	s.t.Helper()
	s.more = !s.more
	s.renamed++
	s.w.spec(s.spec())
	dockertest.Poll(s.t, time.Minute, "nginx to serve other names", func() error {
		if slices.Contains(s.nginx.saw().Leaf.DNSNames, "more.test") != s.more {
			return errors.New("it does not")
		}
		return nil
	})
}

// another adds an identity with a place of its own, or takes it away again.
func (s *soak) another() {
	s.t.Helper()
	s.other = !s.other
	s.w.spec(s.spec())
	dockertest.Poll(s.t, time.Minute, "the place of other to follow the spec", func() error {
		if _, err := os.Stat(filepath.Join(s.w.dir, "other/key.pem")); (err == nil) != s.other {
			return errors.New("it does not")
		}
		return nil
	})
}

// broken has a spec that cannot be used, beside which the last good one is in force, and mends it.
func (s *soak) broken() {
	s.t.Helper()
	from := len(s.w.text())
	s.w.spec("version: 1\nproject: soak\nwhat: is this\n")
	s.w.says(from, "tls.yaml:3:1: unknown key")
	s.drift(s.server)
	s.settled("beside a spec that cannot be used")
	s.w.spec(s.spec())
	s.w.says(from, `"msg":"well again","subject":"spec"`)
}
