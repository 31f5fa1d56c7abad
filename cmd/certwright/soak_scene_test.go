package main

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// soak is a watch, two servers on an engine of its own, and clients of both.
type soak struct {
	t             *testing.T
	rand          *rand.Rand
	m             dockertest.Manager
	w             *watched
	nginx, server *soaked
	more, other   bool // nginx has one more name; there is a third binding
	renamed       int  // how often the names of nginx changed
}

const soakNginx = `server {
	listen 443 ssl;
	ssl_certificate /certs/cert.pem;
	ssl_certificate_key /certs/key.pem;
}
`

// newSoak starts all of it, and waits until it has settled. Watch finds the engine as that of its user's Docker context: one
// that a flag or DOCKER_HOST names has to be there for anything to be done.
func newSoak(t *testing.T, order *rand.Rand) *soak {
	t.Helper()
	dockertest.Servers(t, "docker", "nginx")
	s := &soak{t: t, rand: order, m: dockertest.Swarm(t)}
	conf, config := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(conf, "default.conf"), []byte(soakNginx), 0o644); err != nil {
		t.Fatal(err)
	}
	s.nginx = s.serve("nginx", 443, dockertest.Nginx, container.Config{}, bindMount(conf, "/etc/nginx/conf.d"))
	s.server = s.serve("server", 8443, dockertest.GoServer, container.Config{User: "101:101", Cmd: []string{"-reload", "hup"}})

	s.w = newWatch(t, s.spec(), "--listen", soakListen)
	s.w.cmd.Env = append(s.w.cmd.Env, "DOCKER_CONFIG="+config, "DOCKER_HOST=", "DOCKER_CONTEXT=")
	use := exec.Command("sh", "-ec", "docker context create soak --docker host=unix://"+s.m.Socket+" && docker context use soak")
	use.Env = s.w.cmd.Env
	if out, err := use.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	enter := exec.Command("nsenter", append([]string{"--net=/run/netns/" + s.m.Namespace}, s.w.cmd.Args...)...)
	s.w.cmd.Path, s.w.cmd.Args = enter.Path, enter.Args
	s.w.start()
	s.nginx.start()
	s.server.start()
	s.settled("the start")
	return s
}

// spec is tls.yaml as the edits have left it.
func (s *soak) spec() string {
	names, identity, binding := "nginx.test", "", ""
	if s.more {
		names += ", more.test"
	}
	if s.other {
		identity, binding = "\n  other: {ca: internal, names: [other.test]}", "\n  other: {identity: other, directory: ./other}"
	}
	return fmt.Sprintf(`version: 1
project: soak
defaults: {identity: {lifetime: %s}}
cas:
  internal: {local: {lifetime: 10y}}
identities:
  nginx: {ca: internal, names: [%s]}
  server: {ca: internal, names: [server.test]}%s
bindings:
  nginx: {identity: nginx, container: nginx, directory: %s, probe: {port: 443}}
  server: {identity: server, container: server, directory: %s, reload: {signal: HUP}, probe: {port: 8443}}%s
`, soakLife, names, identity, s.nginx.certs, s.server.certs, binding)
}

const soakListen = "127.0.0.1:9320" // in the network of the engine, where nobody else is

// usage is what watch says of itself.
type usage struct {
	memory, goroutines, files float64 // MiB, numbers
	converged                 bool
}

func (u usage) String() string {
	return fmt.Sprintf("%.1f MiB, %.0f goroutines, %.0f files, converged: %t", u.memory, u.goroutines, u.files, u.converged)
}

// use asks watch.
func (s *soak) use() usage {
	s.t.Helper()
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, address string) (net.Conn, error) { return s.m.Dial(ctx, address) },
	}}
	answer, err := client.Get("http://" + soakListen + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	said := map[string]float64{}
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		var name string
		var value float64
		if n, _ := fmt.Sscan(lines.Text(), &name, &value); n == 2 {
			said[name] = value
		}
	}
	return usage{said["process_resident_memory_bytes"] / (1 << 20), said["go_goroutines"], said["process_open_fds"], said["certwright_converged"] == 1}
}
