package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/pkg/stdcopy"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

const serviceNginx = `server {
	listen 443 ssl;
	ssl_certificate /run/secrets/cert.pem;
	ssl_certificate_key /run/secrets/key.pem;
	ssl_client_certificate /run/secrets/ca.pem;
	ssl_verify_client on;
	location / { return 200 "ok"; }
}
`

// TestServiceUnderLoad renews the certificate of nginx, two tasks that are replaced one by one, while another service of
// the same network keeps connecting. No connection fails. CERTWRIGHT_TEST_ROTATIONS says how often; each takes 20 s.
func TestServiceUnderLoad(t *testing.T) {
	t.Parallel()
	const rate = 110
	rotations := fromEnv(t, "CERTWRIGHT_TEST_ROTATIONS", 4)
	dockertest.Servers(t, "nginx")
	conf := t.TempDir()
	if err := os.WriteFile(filepath.Join(conf, "default.conf"), []byte(serviceNginx), 0o644); err != nil {
		t.Fatal(err)
	}
	s := &swarmScene{t: t, m: dockertest.Swarm(t), dir: t.TempDir(), at: time.Now()}
	network := []swarm.NetworkAttachmentConfig{{Target: s.m.Network(t)}}

	api := s.m.Spec(t, dockertest.Nginx, "api", 2)
	api.TaskTemplate.Networks = network
	api.TaskTemplate.ContainerSpec.StopSignal = "SIGQUIT" // as the official image has it: connections are finished
	api.TaskTemplate.ContainerSpec.Mounts = []mount.Mount{{Type: mount.TypeBind, Source: conf, Target: "/etc/nginx/conf.d", ReadOnly: true}}
	api.EndpointSpec = &swarm.EndpointSpec{Mode: swarm.ResolutionModeDNSRR}
	api.UpdateConfig = startFirst()
	s.name, s.service = api.Name, s.m.Serve(t, api)

	client := s.m.Spec(t, dockertest.GoClient, "client", 1, "-address", api.Name+":443", "-name", "api.test", "-rate", fmt.Sprint(rate))
	client.TaskTemplate.Networks = network
	s.m.Serve(t, client)

	s.args = []string{"--courier-binary", staticBinary(t)}
	spec := fmt.Sprintf(`version: 1
project: shop
cas:
  internal: {local: {lifetime: 10y}}
identities:
  api: {ca: internal, names: [api.test]}
  client: {ca: internal, usages: [client]}
bindings:
  api: {identity: api, service: %s, secret: {}, probe: {port: 443, clientAuth: required}}
  client: {identity: client, service: %s, secret: {}}
`, api.Name, client.Name)
	if err := os.WriteFile(filepath.Join(s.dir, "tls.yaml"), []byte(spec), 0o644); err != nil {
		t.Fatal(err)
	}
	s.want(exitDone, "apply", "--wait", "2m")
	serial := s.ready(2)

	var made, failed int
	since := -1 // so many connections were made when one failed last
	dockertest.Poll(t, time.Minute, "the client to be let in for a while", func() error {
		before := failed
		if made, failed = s.made(client.Name); since < 0 || failed > before {
			since = made
		}
		if made-since < rate {
			return fmt.Errorf("it made %d connections, %d since one failed", made, made-since)
		}
		return nil
	})
	start := time.Now()
	for range rotations {
		s.at = time.Now() // nginx has another clock than a test might
		serial = s.rotated(serial)
	}
	now, lost := s.made(client.Name)
	t.Logf("%d rotations: %d connections, %d failed, %.0f a second", rotations, now-made, lost-failed, float64(now-made)/time.Since(start).Seconds())
	if lost != failed || now-made < rotations*rate {
		t.Errorf("the client said:\n%s", s.said(client.Name))
	}
}

// made is how many connections the client of a service says it made, and how many of them failed.
func (s *swarmScene) made(service string) (made, failed int) {
	s.t.Helper()
	lines := bytes.Split(bytes.TrimSpace([]byte(s.said(service))), []byte("\n"))
	if _, err := fmt.Sscanf(string(lines[len(lines)-1]), "made %d failed %d", &made, &failed); err != nil {
		return 0, 0
	}
	return made, failed
}

// said is what the running task of a service printed.
func (s *swarmScene) said(service string) string {
	s.t.Helper()
	all, err := s.m.Client.ContainerList(s.t.Context(), container.ListOptions{Filters: filters.NewArgs(filters.Arg("label", "com.docker.swarm.service.name="+service))})
	if err != nil {
		s.t.Fatal(err)
	}
	if len(all) == 0 {
		return ""
	}
	logs, err := s.m.Client.ContainerLogs(s.t.Context(), all[0].ID, container.LogsOptions{ShowStdout: true, ShowStderr: true})
	if err != nil {
		return ""
	}
	defer logs.Close()
	var out bytes.Buffer
	if _, err := stdcopy.StdCopy(&out, &out, logs); err != nil {
		s.t.Fatal(err)
	}
	return out.String()
}

// fromEnv is how often something is done: the number in a variable, else as often as it must be.
func fromEnv(t *testing.T, name string, least int) int {
	t.Helper()
	n := os.Getenv(name)
	if n == "" {
		return least
	}
	times, err := strconv.Atoi(n)
	if err != nil || times < 1 {
		t.Fatalf("%s is %q, not how often", name, n)
	}
	return times
}
