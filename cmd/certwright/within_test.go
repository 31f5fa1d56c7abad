package main

import (
	"testing"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// TestServerThatNobodyReaches proves servers from inside of their containers, and says that nobody else reaches them.
func TestServerThatNobodyReaches(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		container dockertest.Container
		flags     []string
		want      string
	}{
		"on its loopback": {dockertest.Container{}, []string{"-listen", "127.0.0.1:8443"}, " listens on its loopback alone: nobody but itself reaches it"},
		"in no network":   {dockertest.Container{Network: "none"}, nil, " is in no network: nobody but itself reaches it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.couriers = true
			server := s.server(row.container, append(row.flags, "-reload", "hup")...)
			s.spec("directory: certs", "container: "+server.Name, "reload: {signal: HUP}", "probe: {port: 8443}")
			s.want(exitDone, "apply")
			dockertest.Start(t, server.ID)
			s.want(exitDone, "apply", "--wait", "1m")
			s.state("Ready", server.Name+row.want)
			s.says(s.want(exitPart, "lint", "--exit-code"), "binding/web: "+server.Name+row.want)

			// A proxy in its network does.
			beside := dockertest.Run(t, dockertest.Container{Image: dockertest.Image(t, dockertest.Curl), Network: "container:" + server.ID, Start: true})
			if b := s.state("Ready", ""); b.Reason != "" {
				t.Errorf("beside %s it is Ready: %s", beside.Name, b.Reason)
			}
		})
	}
}
