package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/swarm"
	"github.com/google/go-cmp/cmp"
)

// configStack has a root that nobody can write to, and a config of its own beside those of certwright.
const configStack = `services:
  api:
    image: %s
    command: [-cert, /run/secrets/cert.pem, -key, /run/secrets/key.pem, -ca, /run/secrets/ca.pem, -reload, restart]
    read_only: true
    configs: [own]
    deploy:
      replicas: 2
      restart_policy: {condition: none}
      update_config: {order: start-first, monitor: 1s}
configs:
  own: {file: stack.yml}
`

// configOverride is what `compose` prints, with HASH for what is hashed.
const configOverride = `services:
  api:
    secrets:
      - source: shop-api-key.pem
        target: key.pem
        uid: "0"
        gid: "0"
        mode: 0400
    configs:
      - source: shop-api-ca.pem
        target: /run/secrets/ca.pem
        uid: "0"
        gid: "0"
        mode: 0644
      - source: shop-api-cert.pem
        target: /run/secrets/cert.pem
        uid: "0"
        gid: "0"
        mode: 0644
secrets:
  shop-api-key.pem:
    external: true
    name: shop-api-key.pem-HASH
configs:
  shop-api-ca.pem:
    external: true
    name: shop-api-ca.pem-HASH
  shop-api-cert.pem:
    external: true
    name: shop-api-cert.pem-HASH
`

const deepConfigs = `
Secrets
  api  key.pem  shop-api-key.pem-HASH  as wanted

Configs
  api  ca.pem    shop-api-ca.pem-HASH    %s
  api  cert.pem  shop-api-cert.pem-HASH  as wanted
`

var hashed = regexp.MustCompile(`-[0-9a-f]{12}\b`)

// TestServiceConfigs has a service of a stack that takes what is not secret from configs: it is renewed, rolled back,
// deployed with the override, meddled with, and cleaned up after.
func TestServiceConfigs(t *testing.T) {
	t.Parallel()
	s := newStackScene(t, configStack)
	s.beside = ", config: {}"
	s.write("")
	s.want(exitDone, "apply", "--wait", "2m")
	serial := s.ready(2)

	// kinds says which files are of which kind, and checks that nothing of a key is in a config.
	kinds := func() (secrets, configs []string) {
		t.Helper()
		for _, name := range s.m.Secrets(t) {
			secrets = append(secrets, hashed.ReplaceAllString(name, ""))
		}
		for _, name := range s.m.Configs(t) {
			configs = append(configs, hashed.ReplaceAllString(name, ""))
			c, _, err := s.m.Client.ConfigInspectWithRaw(t.Context(), name)
			if err != nil || strings.Contains(string(c.Spec.Data), "PRIVATE KEY") {
				t.Errorf("%s holds a key, or cannot be read: %v", name, err)
			}
		}
		slices.Sort(secrets)
		slices.Sort(configs)
		return slices.Compact(secrets), slices.Compact(configs)
	}
	if secrets, configs := kinds(); !slices.Equal(secrets, []string{"shop-api-key.pem"}) || !slices.Equal(configs, []string{"shop-api-ca.pem", "shop-api-cert.pem", "shop_own"}) {
		t.Errorf("the secrets are %v, the configs %v", secrets, configs)
	}

	// The override changes nothing.
	printed := s.want(exitDone, "compose", "shop").out
	if diff := cmp.Diff(configOverride, hashed.ReplaceAllString(printed, "-HASH")); diff != "" {
		t.Errorf("the override (-want +got)\n%s", diff)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "override.yml"), []byte(printed), 0o644); err != nil {
		t.Fatal(err)
	}
	before := s.deployed()
	s.shell("docker stack deploy --resolve-image never --detach=false -c stack.yml -c override.yml shop")
	if diff := cmp.Diff(before, s.deployed()); diff != "" {
		t.Errorf("the override changes (-before +after)\n%s", diff)
	}

	// Certificate and key change in one update, which can be rolled back.
	for range 2 {
		s.at = s.at.Add(time.Minute)
		serial = s.rotated(serial)
	}
	if n := s.versions(); n["ca.pem"] != 2 || n["cert.pem"] != 2 || n["key.pem"] != 2 {
		t.Errorf("the versions are %v, want the present ones and those before", n)
	}
	now := s.mounted()
	s.rollback()
	if r := s.want(exitPending, "plan", "--exit-code"); !strings.Contains(r.out, "older config version: ca.pem") {
		t.Errorf("plan after a rollback:\n%s", r.out)
	}
	s.at = s.at.Add(time.Minute)
	s.want(exitDone, "apply", "--wait", "2m")
	if got := s.ready(2); got != serial || !slices.Equal(now, s.mounted()) {
		t.Errorf("it serves %s with %v, want %s with %v", got, s.mounted(), serial, now)
	}

	s.meddledConfigs()

	// Without `config` all of it is secret again, and in the end no config of ours is left.
	s.beside = ""
	s.write("")
	s.at = s.at.Add(time.Minute)
	s.want(exitDone, "apply", "--wait", "2m")
	s.ready(2)
	s.at = s.at.Add(time.Minute)
	s.rotated(serial)
	if _, configs := kinds(); !slices.Equal(configs, []string{"shop_own"}) {
		t.Errorf("the configs are %v", configs)
	}
}

// meddledConfigs has somebody take the labels from a config, forge it, and take it from the service.
func (s *swarmScene) meddledConfigs() {
	t := s.t
	t.Helper()
	c := s.m.Service(t, s.service).Spec.TaskTemplate.ContainerSpec
	name := c.Configs[slices.IndexFunc(c.Configs, func(r *swarm.ConfigReference) bool { return r.File.Name == "/run/secrets/ca.pem" })].ConfigName
	read := func() swarm.Config {
		t.Helper()
		is, _, err := s.m.Client.ConfigInspectWithRaw(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return is
	}
	deep := func(code int, verdict string) {
		t.Helper()
		_, said, _ := strings.Cut(hashed.ReplaceAllString(s.want(code, "verify", "--deep").out, "-HASH"), "\nSecrets\n")
		if diff := cmp.Diff(fmt.Sprintf(deepConfigs, verdict), "\nSecrets\n"+said); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
	was, version := read(), s.m.Service(t, s.service).Version
	deep(exitDone, "as wanted")
	if now := read(); now.Version != was.Version {
		t.Errorf("reading changed version %v to %v", was.Version, now.Version)
	}
	for _, when := range []string{"", "before", "after", "lost"} {
		is := read()
		is.Spec.Labels = map[string]string{"theirs": "1"}
		if err := s.m.Client.ConfigUpdate(t.Context(), is.ID, is.Version, is.Spec); err != nil {
			t.Fatal(err)
		}
		s.state("Progressing", "config is not marked as ours: ca.pem")
		if when != "" {
			if _, what := s.run("1."+when+".POST /configs", "apply"); what != "POST /configs/{id}/update" {
				t.Fatalf("%s: struck was %q", when, what)
			}
		}
		s.at = s.at.Add(time.Minute)
		s.want(exitDone, "apply")
		s.ready(2)
		want := maps.Clone(was.Spec.Labels)
		want["theirs"] = "1"
		if diff := cmp.Diff(want, read().Spec.Labels); diff != "" || s.m.Service(t, s.service).Version != version {
			t.Errorf("%s: the service is at version %v, was at %v; the labels (-want +got)\n%s", when, s.m.Service(t, s.service).Version, version, diff)
		}
	}

	// Swarm lets no config go that a service has, so a forged one comes when it is not mounted.
	unmount := func() {
		t.Helper()
		svc := s.m.Service(t, s.service)
		c := svc.Spec.TaskTemplate.ContainerSpec
		c.Configs = slices.DeleteFunc(c.Configs, func(r *swarm.ConfigReference) bool { return r.ConfigName == name })
		if _, err := s.m.Client.ServiceUpdate(t.Context(), svc.ID, svc.Version, svc.Spec, swarm.ServiceUpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		s.settled()
		if err := s.m.Client.ConfigRemove(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	unmount()
	forged := was.Spec
	forged.Data = append(slices.Clone(forged.Data), '\n')
	if _, err := s.m.Client.ConfigCreate(t.Context(), forged); err != nil {
		t.Fatal(err)
	}
	s.at = s.at.Add(time.Minute)
	r := s.want(exitPart, "apply")
	want := "config " + name + " was not made by certwright, and does not hold what ca.pem should: " +
		"take it from its services and remove it with `docker config rm " + name + "`"
	if !strings.Contains(r.out+r.err, want) {
		t.Errorf("a forged config:\n%s%s", r.out, r.err)
	}
	if r := s.want(exitPart, "verify", "--deep"); !strings.Contains(r.out, name+"    NOT AS WANTED: it holds something else\n") ||
		!strings.Contains(r.out, "  hint: take "+name+" from its service (`docker service update --config-rm "+name+" SERVICE`), remove it (`docker config rm "+name+"`)") {
		t.Errorf("verify --deep:\n%s", r.out)
	}
	if err := s.m.Client.ConfigRemove(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	s.at = s.at.Add(time.Minute)
	s.want(exitDone, "apply", "--wait", "2m")
	s.ready(2)
}
