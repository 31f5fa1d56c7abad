package main

import (
	"crypto/rand"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/mount"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// TestRestartsTakeTurns restarts three replicas that need two seconds to be healthy, and reads in the engine's own
// events that never two of them were down.
func TestRestartsTakeTurns(t *testing.T) {
	t.Parallel()
	s, all := replicas(t, "-reload", "restart", "-slow-health", "2s")
	s.up(all...)
	waitHealthy(t, all)
	seen := watchLives(t, all)
	s.want(exitDone, "rotate", "identity/web")
	s.state("Ready", "")
	for _, c := range all {
		if got, want := served(t, c.ID), placed(t, s.certs); got != want {
			t.Errorf("%s serves %s, want %s", c.Name, got, want)
		}
	}
	var died []string
	down := map[string]bool{}
	for _, e := range seen() {
		switch e.Action {
		case events.ActionDie:
			if len(down) > 0 {
				t.Errorf("%s was restarted while %v was down", e.Actor.Attributes["name"], down)
			}
			down[e.Actor.ID] = true
			died = append(died, e.Actor.Attributes["name"])
		case events.ActionHealthStatusHealthy:
			delete(down, e.Actor.ID)
		}
	}
	if want := []string{all[0].Name, all[1].Name, all[2].Name}; !slices.Equal(died, want) {
		t.Errorf("restarted %v, want %v", died, want)
	}
}

// TestRestartsStop gives three replicas a certificate that kills them: the first dies of it, and no other is touched.
func TestRestartsStop(t *testing.T) {
	t.Parallel()
	s, all := replicas(t, "-reload", "restart", "-crash-on-new", "/first")
	s.up(all...)
	waitHealthy(t, all)
	old := served(t, all[0].ID)
	seen := watchLives(t, all)

	r := s.want(exitPart, "rotate", "identity/web")
	s.says(r, all[0].Name, "exited with code 1", "this certificate is not the first: going down")
	s.state("Failed", all[0].Name+" is not running (exited)")
	s.want(exitPart, "apply") // a second try may restart the first again, and again no other
	s.want(exitPart, "status", "--exit-code")
	for _, c := range all[1:] {
		if got := served(t, c.ID); got != old {
			t.Errorf("%s serves %s, want %s", c.Name, got, old)
		}
	}
	for _, e := range seen() {
		if e.Action == events.ActionDie && e.Actor.ID != all[0].ID {
			t.Errorf("%s was touched", e.Actor.Attributes["name"])
		}
	}
}

// TestRestartsAreFew keeps restarting a server that never shows the new certificate, since it reads other files.
func TestRestartsAreFew(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.spec("directory: ./certs")
	s.want(exitDone, "apply")
	own := filepath.Join(s.dir, "own")
	copyFiles(t, s.certs, own)
	web := s.server(dockertest.Container{Name: "restarted", Start: true, Mounts: []mount.Mount{bindMount(own, "/certs"), bindMount(s.certs, "/unused")}}, "-reload", "hup")
	old := served(t, web.ID)
	s.settle = 300 * time.Millisecond
	restarts := 0
	s.around = func(what string, do func() error) error {
		if strings.HasSuffix(what, "/restart") {
			restarts++
		}
		return do()
	}
	s.spec("container: "+web.Name, "directory: ./certs", "probe: {port: 8443}", "reload: restart")
	// Every look at the clock is a second later than the one before.
	start := time.Now()
	at := start
	s.now = func() time.Time { at = at.Add(time.Second); return at }
	s.want(exitPart, "rotate", "identity/web")
	for range 5 {
		s.says(s.want(exitPart, "apply"), "Stale")
	}
	if restarts != 3 {
		t.Errorf("%d restarts, want 3", restarts)
	}
	s.says(s.want(exitPart, "apply"), "3 restarts within an hour did not bring the wanted certificate", "certwright restarts it again after")
	s.state("Stale", "3 restarts within an hour")
	at = start.Add(time.Hour + 5*time.Minute)
	s.want(exitPart, "apply")
	if restarts != 4 {
		t.Errorf("%d restarts, want a fourth an hour later", restarts)
	}
	if got := served(t, web.ID); got != old {
		t.Errorf("serves %s, want %s", got, old)
	}
}

// replicas are three servers with a health check, and a binding that may only restart them.
func replicas(t *testing.T, flags ...string) (scene, []dockertest.Running) {
	t.Helper()
	s := newScene(t)
	label := strings.ToLower(rand.Text()[:10])
	s.spec("container: {label: tier="+label+"}", "directory: ./certs", "probe: {port: 8443}", "reload: restart")
	var all []dockertest.Running
	for n := range 3 {
		all = append(all, s.server(dockertest.Container{
			Name: fmt.Sprintf("replica-%d", n+1), Labels: map[string]string{"tier": label},
			Health: dockertest.Healthy("/tlsserver", "-check", "http://127.0.0.1:8080/health"),
		}, flags...))
	}
	return s, all
}

func waitHealthy(t *testing.T, all []dockertest.Running) {
	t.Helper()
	for _, c := range all {
		dockertest.WaitHealthy(t, c.ID)
	}
}

// watchLives records when containers die and when they are healthy, until seen is called. The last of them must run
// then: a signal to it is the last event.
func watchLives(t *testing.T, all []dockertest.Running) (seen func() []events.Message) {
	t.Helper()
	const sigcont = "18"
	cli := dockertest.Engine(t)
	filter := filters.NewArgs(filters.Arg("event", "die"), filters.Arg("event", "health_status"), filters.Arg("event", "kill"))
	for _, c := range all {
		filter.Add("container", c.ID)
	}
	messages, failed := cli.Events(t.Context(), events.ListOptions{Since: fmt.Sprint(time.Now().Unix()), Filters: filter})
	record := make(chan []events.Message, 1)
	go func() {
		var all []events.Message
		defer func() { record <- all }()
		for {
			select {
			case m := <-messages:
				if m.Action != events.ActionKill {
					all = append(all, m)
				} else if m.Actor.Attributes["signal"] == sigcont {
					return
				}
			case err := <-failed:
				t.Errorf("the engine's events: %v", err)
				return
			}
		}
	}()
	return func() []events.Message {
		t.Helper()
		dockertest.Signal(t, all[len(all)-1].ID, "CONT")
		return <-record
	}
}
