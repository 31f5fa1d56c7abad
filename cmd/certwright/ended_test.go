package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// TestServerThatEnded has a proved server end by a fault: that is Failed, with what happened, until it runs again. One that is
// stopped waits.
func TestServerThatEnded(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	server := s.server(dockertest.Container{}, "-reload", "hup")
	s.spec("directory: certs", "container: "+server.Name, "reload: {signal: HUP}", "probe: {port: 8443}")
	s.up(server)

	dockertest.Signal(t, server.ID, "ABRT") // Go's runtime exits with 2 then
	ended := func() {
		t.Helper()
		dockertest.Poll(t, time.Minute, "the server to end", func() error {
			if dockertest.Inspect(t, server.ID).State.Running {
				return errors.New("it runs")
			}
			return nil
		})
	}
	ended()
	at := dockertest.Inspect(t, server.ID).State.FinishedAt
	when, err := time.Parse(time.RFC3339Nano, at)
	if err != nil {
		t.Fatal(err)
	}
	r := s.want(exitPart, "status", "--exit-code")
	s.says(r, "not converged", server.Name+" is not running (exited): it ended with code 2 at "+when.UTC().Format(time.RFC3339), "hint: web: `docker logs "+server.Name+"` says why: mend that, and start it")
	s.want(exitPart, "apply")
	s.says(s.want(exitDone, "why", "web"), "Failed", "it ended with code 2")

	dockertest.Start(t, server.ID)
	s.want(exitDone, "apply", "--wait", "1m")
	s.state("Ready", "")
	if err := dockertest.Engine(t).ContainerStop(t.Context(), server.ID, container.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	ended()
	s.want(exitDone, "status", "--exit-code")
	if b := s.state("Waiting", server.Name+" is not running (exited)"); !strings.Contains(b.Hint, "start the container") {
		t.Errorf("hint %q", b.Hint)
	}
}

// TestServerThatHUPEnds is told by a signal that ends it: what to do is said, and lint says so when it runs again.
func TestServerThatHUPEnds(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	server := s.server(dockertest.Container{}, "-reload", "restart")
	s.spec("directory: certs", "container: "+server.Name, "reload: {signal: HUP}", "probe: {port: 8443}")
	s.up(server)
	if r := s.run("lint"); strings.Contains(r.out, "was sent HUP") {
		t.Errorf("lint says already:\n%s", r.out)
	}
	const instead = "`reload: restart`, or what has it read its files"
	s.says(s.want(exitPart, "rotate", "identity/web"), "the container exited on it", "hint: web: HUP ends it: let "+instead+" be its way, and start it; `docker logs "+server.Name+"` has what it said last")
	dockertest.Start(t, server.ID)
	s.want(exitDone, "apply", "--wait", "1m")
	s.state("Ready", "")
	s.says(s.want(exitPart, "lint", "--exit-code"), server.Name+" ended when it was sent HUP the last time: who was connected was cut off", instead)
}

// TestServerThatCannotStart has a server whose first start the engine could not make.
func TestServerThatCannotStart(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	server := s.server(dockertest.Container{Entrypoint: []string{"/nonexistent"}})
	s.spec("directory: certs", "container: "+server.Name, "probe: {port: 8443}")
	s.want(exitDone, "apply")
	s.state("Waiting", server.Name+" is not running (created)")
	if err := dockertest.Engine(t).ContainerStart(t.Context(), server.ID, container.StartOptions{}); err == nil {
		t.Fatal("it was started")
	}
	s.says(s.want(exitPart, "status", "--exit-code"), "not converged", server.Name+" is not running (created): the engine could not start it: ",
		"hint: web: mend what the engine says, and start it")
	s.says(s.want(exitDone, "why"), "could not start it: ")
}
