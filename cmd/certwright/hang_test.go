package main

import (
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/mount"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// hanging is a way to an engine that lets calls through, and after so many of them takes each and answers none.
type hanging struct {
	socket string

	mu   sync.Mutex
	left int      // calls that are let through; all while it is below zero
	hung []string // that were not
}

func newHanging(t *testing.T, engine string) *hanging {
	t.Helper()
	to, err := dockertest.NewRecorder(t.TempDir(), engine)
	if err != nil {
		t.Fatal(err)
	}
	h := &hanging{socket: filepath.Join(t.TempDir(), "engine.sock"), left: -1}
	in, err := net.Listen("unix", h.socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if h.passes(q) {
			to.Handler.ServeHTTP(w, q)
			return
		}
		<-q.Context().Done()
	})}
	go func() { _ = server.Serve(in) }()
	t.Cleanup(func() { _, _ = server.Close(), to.Close() })
	return h
}

func (h *hanging) passes(q *http.Request) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.left == 0 {
		h.hung = append(h.hung, q.Method+" "+q.URL.Path)
		return false
	}
	h.left = max(h.left-1, -1)
	return true
}

// after lets so many calls through from now on, all if it is below zero, and gives those that were not answered before.
func (h *hanging) after(n int) (hung []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	hung, h.left, h.hung = h.hung, n, nil
	return hung
}

// TestHostThatHangs has an engine that answers its lists, or more, and then nothing: the other host does not wait for it, one
// question of each look finds it out, and status names that.
func TestHostThatHangs(t *testing.T) {
	t.Parallel()
	hosts := dockertest.Hosts(t, 2)
	way := newHanging(t, hosts[1].Socket)
	s := &hostScene{t: t, hosts: hosts, dir: t.TempDir(), env: []string{"DOCKER_HOST=unix:///nonexistent.sock"}}
	var bindings strings.Builder
	for i := range 3 {
		fmt.Fprintf(&bindings, "  also%d: {identity: web, host: h1, volume: also%[1]d}\n", i)
	}
	s.write("tls.yaml", `version: 1
project: hangs
hosts:
  h0: {endpoint: "unix://`+hosts[0].Socket+`"}
  h1: {endpoint: "unix://`+way.socket+`"}
cas:
  internal: {local: {lifetime: 1y}}
identities:
  web: {ca: internal, names: [web.test]}
bindings:
  h0: {identity: web, host: h0, container: web, volume: certs, reload: {signal: HUP}, probe: {port: 8443}}
  h1: {identity: web, host: h1, container: web, volume: certs, reload: {signal: HUP}, probe: {port: 8443}}
`+bindings.String())
	s.want(exitDone, "apply")
	for _, h := range hosts {
		h.Run(t, h.Server(t, "web", 8443, mount.Mount{Type: mount.TypeVolume, Source: "certs"}))
	}
	s.want(exitDone, "apply", "--wait", "1m")
	ready := map[string]string{"h0": "Ready", "h1": "Ready"}
	s.states(ready)
	well := s.renews("web", "8443", exitDone, hosts)

	for lists, row := range map[int]string{3: "GET /info", 4: "", 8: ""} { // a ping and two lists; more
		way.after(lists)
		took := s.renews("web", "8443", exitPart, hosts[:1])
		if most := 2*well + 5*time.Second; took > most {
			t.Errorf("after %d calls h0 takes %s, want %s at most", lists, took, most)
		}
		way.after(lists)
		began := time.Now()
		s.states(map[string]string{"h0": "Ready", "h1": "Failed: engine h1 at unix://" + way.socket + " does not answer: no answer in time to " + row})
		// What follows the question is the farewell to a courier.
		if took, hung := time.Since(began), way.after(-1); took > 25*time.Second || len(hung) == 0 || len(hung) > 3 {
			t.Errorf("after %d calls status took %s, and asked it for %v", lists, took, hung)
		}
		s.run("apply")
		s.states(ready)
	}
}
