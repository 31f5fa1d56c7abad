package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// TestServiceFollows has secrets of no service, as docs/swarm.md says: a stack mounts them where it likes, and gets the next
// version of each.
func TestServiceFollows(t *testing.T) {
	t.Parallel()
	dockertest.Servers(t, "docker")
	s := &swarmScene{t: t, m: dockertest.Swarm(t), dir: t.TempDir(), at: time.Now(), args: []string{"--courier-binary", staticBinary(t)}}
	script := ""
	for _, b := range blocks(t, "../../docs/swarm.md") {
		switch b.info {
		case "yaml follow.yaml":
			s.file("tls.yaml", b.text)
			s.file("follow.yaml", b.text)
		case "yaml stack follow.yml":
			s.file("follow.yml", strings.Replace(b.text, "image: shop/api", "image: "+s.m.Image(t, dockertest.GoServer)+`
    command: [-cert, /run/secrets/server.crt, -key, /run/secrets/server.key, -reload, restart]
    deploy: {replicas: 2, update_config: {order: start-first, monitor: 1s}}`, 1))
		case "sh follow":
			script = `docker() { command docker "$@" --resolve-image never --detach=false; }` + "\n" + b.text
		}
	}
	s.want(exitDone, "apply")
	s.state("Waiting", "waits for a service that mounts its secrets")
	s.shell(script)
	t.Cleanup(func() { s.shell("docker stack rm shop") })
	all, err := s.m.Client.ServiceList(t.Context(), swarm.ServiceListOptions{Filters: filters.NewArgs(filters.Arg("name", "shop_api"))})
	if err != nil || len(all) != 1 {
		t.Fatalf("the services of the stack are %v, %v", all, err)
	}
	s.service = all[0].ID
	before := s.ready(2)

	s.at = s.at.Add(time.Minute)
	after := s.rotated(before)
	for _, r := range s.m.Service(t, s.service).Spec.TaskTemplate.ContainerSpec.Secrets {
		if r.File.Name == "server.key" && r.File.Mode != 0o400 || r.File.Name != "server.key" && r.File.Name != "server.crt" {
			t.Errorf("it mounts %s as %+v", r.SecretName, r.File)
		}
	}
	now := s.deployed()
	s.shell(script)
	if diff := cmp.Diff(now, s.deployed()); diff != "" {
		t.Errorf("the names of now change something (-before +after)\n%s", diff)
	}
	s.want(exitDone, "apply") // it is not rolled back to the older names any more, so nothing keeps them
	if serial := s.ready(2); serial != after {
		t.Errorf("it serves %s, want %s", serial, after)
	}
}

func (s *swarmScene) file(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}
