package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// stackFile has a secret of its own, which comes after those of certwright by name, and before them by age. Its first
// tasks end for want of files: restarted and updated at once, a slot may be left with two tasks.
const stackFile = `services:
  api:
    image: %s
    command: [-cert, /run/secrets/cert.pem, -key, /run/secrets/key.pem, -ca, /run/secrets/ca.pem, -reload, restart]
    secrets: [own]
    deploy:
      replicas: 2
      restart_policy: {condition: none}
      update_config: {order: start-first, monitor: 1s}
secrets:
  own: {file: stack.yml}
`

// newStackScene deploys a stack, shop, whose file has a service, api, and the place of its image. There is no tls.yaml yet.
func newStackScene(t *testing.T, file string) *swarmScene {
	t.Helper()
	dockertest.Servers(t, "docker")
	s := &swarmScene{
		t: t, m: dockertest.Swarm(t), dir: t.TempDir(), at: time.Now(), name: "shop_api", args: []string{"--courier-binary", staticBinary(t)},
	}
	file = fmt.Sprintf(file, s.m.Image(t, dockertest.GoServer))
	if err := os.WriteFile(filepath.Join(s.dir, "stack.yml"), []byte(file), 0o644); err != nil {
		t.Fatal(err)
	}
	s.shell("docker stack deploy --resolve-image never -c stack.yml shop")
	t.Cleanup(func() { s.shell("docker stack rm shop") })
	all, err := s.m.Client.ServiceList(t.Context(), swarm.ServiceListOptions{Filters: filters.NewArgs(filters.Arg("name", s.name))})
	if err != nil || len(all) != 1 {
		t.Fatalf("the services of the stack are %v, %v", all, err)
	}
	s.service = all[0].ID
	return s
}

// TestStack deploys a stack as docs/swarm.md says: with an override nothing changes, and with one of before the renewal
// certwright brings the present secrets again.
func TestStack(t *testing.T) {
	t.Parallel()
	s := newStackScene(t, stackFile)
	page := map[string]string{}
	for _, b := range blocks(t, "../../docs/swarm.md") {
		page[b.info] = b.text
	}
	if err := os.WriteFile(filepath.Join(s.dir, "tls.yaml"), []byte(page["yaml tls.yaml"]), 0o644); err != nil {
		t.Fatal(err)
	}
	s.want(exitDone, "apply", "--wait", "2m")
	first := s.ready(2)

	// deploy follows the page.
	deploy := func() {
		t.Helper()
		before := s.deployed()
		s.shell(`docker() { command docker "$@" --resolve-image never --detach=false; }` + "\n" + page["sh"])
		if diff := cmp.Diff(before, s.deployed()); diff != "" {
			t.Fatalf("the override changes (-before +after)\n%s", diff)
		}
	}
	deploy()
	text, err := os.ReadFile(filepath.Join(s.dir, "override.yml"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(steady(page["yaml override.yml"], s.dir), steady(string(text), s.dir)); diff != "" {
		t.Errorf("the override is not that of the page (-page +printed)\n%s", diff)
	}
	s.ready(2)

	s.at = s.at.Add(time.Minute)
	second, now := s.rotated(first), s.deployed()
	const older = "docker stack deploy --resolve-image never --detach=false -c stack.yml -c older.yml shop"
	s.shell("mv override.yml older.yml\n" + older)
	if r, _ := s.run("", "plan", "--exit-code"); r.code != exitPending || !strings.Contains(r.out, "older secret version") {
		t.Fatalf("plan after a deploy of older names: exit %d\n%s%s", r.code, r.out, r.err)
	}
	s.at = s.at.Add(time.Minute)
	s.want(exitDone, "apply", "--wait", "2m")
	if serial := s.ready(2); serial != second {
		t.Errorf("it serves %s, want %s", serial, second)
	}
	if diff := cmp.Diff(now.Spec, s.deployed().Spec); diff != "" {
		t.Errorf("it is not what it was before the older names (-before +after)\n%s", diff)
	}
	deploy()

	// It is not rolled back to the older names any more, so nothing keeps them.
	s.want(exitDone, "apply")
	s.ready(2)
	version := s.m.Service(t, s.service).Version
	if out := s.shell("! " + older); !strings.Contains(out, "secret not found: shop-api-") || s.m.Service(t, s.service).Version != version {
		t.Errorf("names that are gone were deployed:\n%s", out)
	}

	// What the page says of versions.
	for _, row := range []struct {
		stack, override string
		merged          bool
	}{{"", "", true}, {`version: "3"`, "", true}, {`version: "3.8"`, "", false}, {`version: "3.8"`, `version: "3.8"`, true}} {
		out := s.shell(fmt.Sprintf(`
			{ echo '%s'; cat stack.yml; } >1.yml
			{ echo '%s'; cat override.yml; } >2.yml
			docker stack config -c 1.yml -c 2.yml || true`, row.stack, row.override))
		if strings.Contains(out, "mode: 256") != row.merged {
			t.Errorf("a stack file with %q and an override with %q:\n%s", row.stack, row.override, out)
		}
	}
}

// deployment is what a deploy may leave as it is.
type deployment struct {
	Spec  swarm.TaskSpec
	Tasks []string // that run
}

func (s *swarmScene) deployed() deployment {
	s.t.Helper()
	tasks, err := s.m.Client.TaskList(s.t.Context(), swarm.TaskListOptions{
		Filters: filters.NewArgs(filters.Arg("service", s.service), filters.Arg("desired-state", "running")),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	d := deployment{Spec: s.m.Service(s.t, s.service).Spec.TaskTemplate}
	for _, x := range tasks {
		d.Tasks = append(d.Tasks, x.ID)
	}
	slices.Sort(d.Tasks)
	return d
}

// shell runs a script in the scene's folder, which must succeed, and returns what it said.
func (s *swarmScene) shell(script string) string {
	s.t.Helper()
	cmd := exec.Command("sh", "-ec", script)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "DOCKER_HOST=unix://"+s.m.Socket, "CERTWRIGHT_TEST_NOW="+s.at.Format(time.RFC3339))
	out, err := cmd.CombinedOutput()
	note(string(out))
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}
