package main

import (
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// TestUnknownImage sends nothing to a server that nobody knows.
func TestUnknownImage(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		probe []string
		code  int
		state string
	}{
		"with a probe":    {[]string{"probe: {port: 8443}"}, exitPart, "Stale"},
		"without a probe": {nil, exitDone, "Unverified"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			effects := s.record()
			web := s.server(dockertest.Container{Name: "unknown"}, "-reload", "hup") // it would reload, and log it
			s.spec(append(c.probe, "container: "+web.Name, "directory: ./certs")...)
			s.want(exitDone, "apply")
			dockertest.Start(t, web.ID)
			old, started := served(t, web.ID), dockertest.Inspect(t, web.ID).State.StartedAt
			s.want(exitDone, "apply")

			s.want(c.code, "rotate", "identity/web")
			s.want(c.code, "apply")
			s.state(c.state, "")
			if got := served(t, web.ID); got != old || got == placed(t, s.certs) {
				t.Errorf("serves %s, want the old %s", got, old)
			}
			if log := dockertest.Logs(t, web.ID); strings.Contains(log, "reloaded") {
				t.Errorf("it was signalled:\n%s", log)
			}
			if got := dockertest.Inspect(t, web.ID).State.StartedAt; got != started {
				t.Errorf("restarted at %s", got)
			}
			if got := effects(); len(got) > 0 {
				t.Errorf("sent to the engine: %v", got)
			}
		})
	}
}

// TestExecReload runs a command in the container, as argv, and reports how it ended.
func TestExecReload(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	c := presetServers["nginx"]
	id, lines := s.preset(c)
	s.spec(append(lines, "reload: {exec: [nginx, -s, reload]}")...)
	s.want(exitDone, "apply")
	dockertest.Start(t, id)
	s.want(exitDone, "apply", "--wait", "1m")
	s.renewed(id, c)

	for command, want := range map[string]string{
		`[sh, -c, "echo no such luck >&2; exit 7"]`: "exit code 7: no such luck",
		`[ls, "$HOME; exit 0"]`:                     "exit code 2: ls: cannot access '$HOME; exit 0'",
		`[no-such-command]`:                         "executable file not found",
	} {
		s.spec(append(lines, "reload: {exec: "+command+"}")...)
		old := served(t, id)
		s.says(s.want(exitPart, "rotate", "identity/web"), "Stale", want)
		s.state("Stale", want)
		s.says(s.want(exitDone, "why", "web"), want)
		s.want(exitPart, "status", "--exit-code")
		if got := served(t, id); got != old {
			t.Errorf("serves %s, want the old %s", got, old)
		}
	}
	s.spec(append(lines, "reload: {exec: [nginx, -s, reload]}")...)
	s.want(exitDone, "apply")
	s.state("Ready", "")
}

// TestHTTPReload asks a server over HTTP, and over its own TLS, to read its files again.
func TestHTTPReload(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	web := s.server(dockertest.Container{Name: "asked"}, "-reload", "http")
	lines := []string{"container: " + web.Name, "directory: ./certs", "probe: {port: 8443}"}
	s.spec(append(lines, `reload: {http: {url: "http://web.test:8080/reload"}}`)...)
	s.up(web)
	s.renewed(web.ID, presetServer{})
	s.spec(append(lines, `reload: {http: {method: PUT, url: "https://web.test:8443/reload", body: "now, please"}}`)...)
	s.renewed(web.ID, presetServer{})
	if log := dockertest.Logs(t, web.ID); log != "reloaded by POST \"\"\nreloaded by PUT \"now, please\"\n" {
		t.Errorf("the server was asked:\n%s", log)
	}
	s.spec(append(lines, `reload: {http: {method: GET, url: "http://web.test:8080/reload"}}`)...)
	s.says(s.want(exitPart, "rotate", "identity/web"), "Stale", "405 Method Not Allowed: ask with POST or PUT")
	s.state("Stale", "405 Method Not Allowed")
}

// TestLadder goes from what does not help to what does, cheapest first, and no further than it must.
func TestLadder(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	effects := s.record()
	web := s.server(dockertest.Container{Name: "ladder"}, "-reload", "lying")
	s.spec("container: "+web.Name, "directory: ./certs", "probe: {port: 8443}",
		`reload: [{signal: HUP}, {exec: [/tlsserver, -check, "http://127.0.0.1:8080/health"]}, restart]`)
	s.up(web)
	effects()
	old := served(t, web.ID)
	s.want(exitDone, "rotate", "identity/web")
	if got := strings.Join(effects(), ", "); got != "kill, exec, restart" {
		t.Errorf("tried %s", got)
	}
	s.state("Ready", "")
	if got := served(t, web.ID); got == old || got != placed(t, s.certs) {
		t.Errorf("serves %s, want %s", got, placed(t, s.certs))
	}
	s.want(exitDone, "plan", "--exit-code")
}

// TestRestartWaitsForHealth ends an apply no earlier than the restarted server's health check passes.
func TestRestartWaitsForHealth(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	effects := s.record()
	web := s.server(dockertest.Container{
		Name: "healthy", Health: dockertest.Healthy("/tlsserver", "-check", "http://127.0.0.1:8080/health"),
	}, "-reload", "restart", "-slow-health", "2s")
	s.spec("container: "+web.Name, "directory: ./certs", "probe: {port: 8443}", "reload: restart")
	s.up(web)
	dockertest.WaitHealthy(t, web.ID)
	effects()
	s.want(exitDone, "rotate", "identity/web")
	end := time.Now()
	state := dockertest.Inspect(t, web.ID).State
	if state.Health.Status != "healthy" {
		t.Errorf("the apply ended when the container was %s", state.Health.Status)
	}
	started, err := time.Parse(time.RFC3339Nano, state.StartedAt)
	if err != nil || end.Sub(started) < 2*time.Second {
		t.Errorf("the apply ended %s after the restart: %v", end.Sub(started), err)
	}
	if got := effects(); len(got) != 1 || got[0] != "restart" {
		t.Errorf("did %v", got)
	}
	s.state("Ready", "")
}

// record keeps what the program does to consumers from now on: kill, exec and restart. The list begins anew each
// time it is read.
func (s *scene) record() (effects func() []string) {
	var seen []string
	s.around = func(what string, do func() error) error {
		switch verb := strings.TrimPrefix(what, "POST /containers/{id}/"); verb {
		case "kill", "exec", "restart":
			seen = append(seen, verb)
		}
		return do()
	}
	return func() []string {
		all := seen
		seen = nil
		return all
	}
}
