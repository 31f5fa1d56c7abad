package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// callsOfASwarm is what looking at an unchanged estate of services asks, however many there are.
var callsOfASwarm = []string{"GET /configs", "GET /containers/json", "GET /nodes", "GET /secrets", "GET /services", "GET /swarm", "GET /tasks", "GET /volumes", "HEAD /_ping"}

// TestTwoHundredServices counts what a plan asks of a Swarm with ten services and with two hundred, of three secrets each,
// and gives all of them the next certificate.
func TestTwoHundredServices(t *testing.T) {
	t.Parallel()
	m := dockertest.Swarm(t)
	proxy, err := dockertest.NewRecorder(t.TempDir(), m.Socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	s := &swarmScene{t: t, m: m, dir: t.TempDir(), at: time.Now()}
	s.m.Socket = proxy.Socket
	text := "version: 1\nproject: shop\ncas:\n  internal: {local: {lifetime: 10y}}\nidentities:\n  api: {ca: internal, names: [api.test]}\nbindings:\n"
	made, spec := 0, m.TLSServer(t, "api", 0)
	for _, n := range []int{10, 200} {
		for ; made < n; made++ {
			spec.Name = fmt.Sprintf("s%d", made)
			m.Serve(t, spec)
			text += fmt.Sprintf("  b%d: {identity: api, service: %s, secret: {}}\n", made, spec.Name)
		}
		if err := os.WriteFile(filepath.Join(s.dir, "tls.yaml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		s.want(exitDone, "apply")
		if secrets := len(m.Secrets(t)); secrets != 3*n {
			t.Errorf("%d secrets, want %d", secrets, 3*n)
		}
		before, start := len(proxy.Requests()), time.Now()
		s.want(exitDone, "plan", "--exit-code")
		t.Logf("%d services: a plan took %s", n, time.Since(start).Round(time.Millisecond))
		if d := cmp.Diff(callsOfASwarm, kinds(t, proxy.Requests()[before:])); d != "" {
			t.Errorf("%d services (-want +got)\n%s", n, d)
		}
	}
	before, start := len(proxy.Requests()), time.Now()
	s.want(exitDone, "rotate", "identity/api")
	updates := 0
	for _, q := range proxy.Requests()[before:] {
		if strings.HasPrefix(q, "POST /services/") {
			updates++
		}
	}
	t.Logf("%d updates in %s", updates, time.Since(start).Round(time.Millisecond))
	if updates != made {
		t.Errorf("%d updates of %d services", updates, made)
	}
	s.want(exitDone, "plan", "--exit-code")
}
