package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"

	"github.com/certwright/certwright/providers/docker/dockertest"
	"github.com/certwright/certwright/reconcile"
)

// TestWatchFailsOver runs watch as a service of three managers, with its store in the Swarm. The node it runs on loses its
// cable, then its power, and comes back: another one goes on, nothing is issued but what is due, and nothing expires.
func TestWatchFailsOver(t *testing.T) {
	t.Parallel()
	dockertest.Servers(t, "docker")
	dockertest.Reserve(t, 3) // beside those of its own: a minute is measured
	nodes := dockertest.SwarmOf(t, 3)
	first := nodes[0]
	for _, n := range nodes[1:] {
		n.Image(t, dockertest.Own)
		n.Image(t, dockertest.GoServer)
	}
	api := first.TLSServer(t, "api", 1)
	first.Serve(t, api)
	const life = 90 * time.Second
	s := &swarmScene{t: t, m: first, dir: t.TempDir(), at: time.Now()}
	for _, b := range blocks(t, "../../docs/watch.md") {
		text := strings.NewReplacer(
			"names: [api]", "names: [api.test], lifetime: "+life.String(), "service: shop_api", "service: "+api.Name,
			"image: certwright", "image: "+first.Image(t, dockertest.Own), `"watch"]`, `"watch", "--interval", "5s"]`,
		).Replace(b.text)
		if kind, name, _ := strings.Cut(b.info, " "); kind == "yaml" {
			if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		} else if kind == "sh" {
			if err := os.WriteFile(filepath.Join(s.dir, "deploy"), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.shell("printf '%s' '" + swarmPassphrase + "' | docker secret create certwright-passphrase -")
	s.shell(`git() { echo 1a2b3c4; }
		docker() { command docker "$@" --resolve-image never; }
		. ./deploy`)
	t.Cleanup(func() { s.shell("docker stack rm certwright") })
	id := strings.TrimSpace(s.shell("docker service inspect --format '{{.ID}}' certwright_watch"))

	seen := &issues{t: t, life: life}
	var before reconcile.State
	dockertest.Poll(t, 2*time.Minute, "the first certificate to be issued", func() error {
		st, err := s.stored()
		before = st
		if err == nil && st.Identities["api"].Serial == "" {
			err = errors.New("there is none")
		}
		return err
	})
	seen.add(before)
	old := s.runsOn(id, nodes, "")
	rest := slices.DeleteFunc(slices.Clone(nodes), func(n dockertest.Manager) bool { return n.Hostname == old.Hostname })
	s.m = rest[0]

	cut := time.Now()
	old.Cut(t)
	now := s.runsOn(id, rest, old.Hostname)
	took := time.Since(cut)
	t.Logf("watch runs on %s %s after %s was cut off", now.Hostname, took.Round(time.Second), old.Hostname)
	if took > time.Minute {
		t.Error("that is more than a minute")
	}
	old.Kill()
	serial := before.Identities["api"].Serial
	dockertest.Poll(t, 2*life, "a renewal by the other one", func() error {
		st, err := s.stored()
		if err != nil {
			return err
		}
		seen.add(st)
		if st.Identities["api"].Serial == serial {
			return errors.New("it has the same certificate")
		}
		return nil
	})
	old.Start(t)
	old.Mend(t)
	s.m.Await(t, old.Hostname, swarm.NodeStateReady)
	s.runsOn(id, nodes, "nowhere")
	st, err := s.stored()
	if err != nil {
		t.Fatal(err)
	}
	seen.add(st)
	if a, b := before.CAs["internal"].Generations, st.CAs["internal"].Generations; len(b) != 1 || a[0].KeyID != b[0].KeyID {
		t.Errorf("there are %d generations of the CA", len(b))
	}
	t.Logf("%d certificates", len(seen.all))
}

// issues are the certificates a store has had.
type issues struct {
	t    *testing.T
	life time.Duration
	all  []reconcile.Issued
}

// add checks that the certificate of a state has not expired, and is no earlier than it was due.
func (is *issues) add(st reconcile.State) {
	is.t.Helper()
	now := st.Identities["api"]
	if !time.Now().Before(now.NotAfter) {
		is.t.Errorf("%s has expired", now.Serial)
	}
	if n := len(is.all); n == 0 || is.all[n-1].Serial != now.Serial {
		if n > 0 && now.IssuedAt.Sub(is.all[n-1].IssuedAt) < is.life*6/10 {
			is.t.Errorf("%s was issued %s after the one before: not due", now.Serial, now.IssuedAt.Sub(is.all[n-1].IssuedAt))
		}
		is.all = append(is.all, now)
	}
}

// runsOn waits until a service's task runs on one of some nodes, and says on which. Tasks on a node that is not one of them
// do not count.
func (s *swarmScene) runsOn(service string, nodes []dockertest.Manager, but string) dockertest.Manager {
	s.t.Helper()
	var found dockertest.Manager
	dockertest.Poll(s.t, 2*time.Minute, "the service to run somewhere else than "+but, func() error {
		listed, err := s.m.Client.NodeList(s.t.Context(), swarm.NodeListOptions{})
		if err != nil {
			return err
		}
		tasks, err := s.m.Client.TaskList(s.t.Context(), swarm.TaskListOptions{Filters: filters.NewArgs(filters.Arg("service", service), filters.Arg("desired-state", "running"))})
		if err != nil {
			return err
		}
		for _, task := range tasks {
			for _, n := range listed {
				i := slices.IndexFunc(nodes, func(m dockertest.Manager) bool { return m.Hostname == n.Description.Hostname })
				if task.NodeID == n.ID && i >= 0 && task.Status.State == swarm.TaskStateRunning {
					found = nodes[i]
					return nil
				}
			}
		}
		return fmt.Errorf("%d tasks, none runs", len(tasks))
	})
	return found
}
