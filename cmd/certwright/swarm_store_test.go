package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certwright/certwright/providers/docker"
	"github.com/certwright/certwright/providers/docker/dockertest"
	"github.com/certwright/certwright/providers/store"
	"github.com/certwright/certwright/reconcile"
)

const swarmPassphrase = "a passphrase of the store in the Swarm"

// inSwarm is a machine with a tls.yaml whose store is in a Swarm, and nothing else; next is another one with the same.
// Identities i0 … are placed under one root, and shared as well.
func inSwarm(t *testing.T, identities int) (first *swarmScene, next func() *swarmScene) {
	t.Helper()
	m, root := dockertest.Swarm(t), t.TempDir()
	text := "version: 1\nproject: shop\nstore: {swarm: {}, passphrase: {file: passphrase}}\ncas:\n  internal: {local: {lifetime: 10y}}\nidentities:\n"
	bindings := "bindings:\n"
	for i := range identities {
		text += fmt.Sprintf("  i%d: {ca: internal, names: [i%d.test]}\n", i, i)
		bindings += fmt.Sprintf("  i%d: {identity: i%d, directory: %s/i%d}\n", i, i, root, i)
	}
	next = func() *swarmScene {
		s := &swarmScene{t: t, m: m, dir: t.TempDir(), at: time.Now()}
		if err := os.WriteFile(filepath.Join(s.dir, "tls.yaml"), []byte(text+bindings), 0o644); err != nil {
			t.Fatal(err)
		}
		s.passphrase(swarmPassphrase)
		return s
	}
	t.Cleanup(func() { harvest(root) })
	return next(), next
}

func (s *swarmScene) passphrase(p string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, "passphrase"), []byte(p+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *swarmScene) configs() docker.Configs {
	return docker.Configs{Engine: docker.New("local", docker.Options{Endpoint: "unix://" + s.m.Socket, Getenv: func(string) string { return "" }})}
}

// stored reads the store in the Swarm, and takes in its keys, to look for them in all that was printed.
func (s *swarmScene) stored() (reconcile.State, error) {
	s.t.Helper()
	st, err := store.InSwarm(s.configs(), store.Options{Project: "shop", Passphrase: []byte(swarmPassphrase)})
	if err != nil {
		s.t.Fatal(err)
	}
	state, err := st.Load(s.t.Context())
	if err == nil {
		learnState(state)
	}
	return state, err
}

// generation is that of the store, of which there is one, in one config.
func (s *swarmScene) generation() int {
	s.t.Helper()
	if _, err := s.stored(); err != nil {
		s.t.Fatal(err)
	}
	configs := s.configs()
	heads, err := configs.List(s.t.Context(), "certwright-")
	if err != nil || len(heads) != 1 {
		s.t.Fatalf("%d configs of the store, want 1; %v", len(heads), err)
	}
	for name := range heads {
		n, err := strconv.Atoi(strings.TrimPrefix(name, "certwright-state-shop-"))
		if err != nil {
			s.t.Fatal(err)
		}
		return n
	}
	return 0
}

// serials are those of all identities, by name, and the CA's key.
func (s *swarmScene) serials() (map[string]string, string) {
	s.t.Helper()
	var d statusDocument
	r := s.want(exitDone, "status", "-o", "json")
	if err := json.Unmarshal([]byte(r.out), &d); err != nil {
		s.t.Fatalf("status: %v\n%s", err, r.out)
	}
	if len(d.CAs) != 1 || len(d.CAs[0].Generations) != 1 {
		s.t.Fatalf("there are CAs %+v, want one of one generation", d.CAs)
	}
	serials := map[string]string{}
	for _, i := range d.Identities {
		if i.Serial == nil {
			s.t.Fatalf("%s has no certificate", i.Name)
		}
		serials[i.Name] = *i.Serial
	}
	return serials, d.CAs[0].Generations[0].KeyID
}

// TestSwarmStore works from machines that have nothing but the spec, the passphrase and a connection.
func TestSwarmStore(t *testing.T) {
	t.Parallel()
	first, next := inSwarm(t, 1000)
	if r := first.want(exitDone, "status"); !strings.Contains(r.out, "not made yet") {
		t.Errorf("before the first apply: %s", r.out)
	}
	first.env = []string{"CI=true"} // what is made here is not lost with a runner
	first.want(exitDone, "apply")
	first.env = nil
	if files, err := os.ReadDir(first.dir); err != nil || len(files) != 2 {
		t.Errorf("on the machine are %v, %v", files, err)
	}
	serials, ca := first.serials()
	const unlocked = "docker swarm update --autolock"
	if r := first.want(exitDone, "status"); !strings.Contains(r.out, unlocked) {
		t.Errorf("status says nothing of autolock\n%s", r.out)
	}
	first.shell(unlocked)
	if r := first.want(exitDone, "status"); strings.Contains(r.out, unlocked) || !strings.Contains(r.out, "\nSwarm\n") {
		t.Errorf("status of a locked Swarm\n%s", r.out)
	}
	second := next()
	second.want(exitDone, "plan", "--exit-code")
	second.want(exitDone, "rotate", "identity/i0")
	now, same := first.serials()
	if now["i0"] == serials["i0"] || now["i1"] != serials["i1"] || same != ca {
		t.Errorf("serials were %v and are %v; CA %s, %s", serials, now, ca, same)
	}
	first.want(exitDone, "plan", "--exit-code")
	first.generation()

	backup := filepath.Join(t.TempDir(), "backup")
	first.want(exitDone, "backup", backup)
	const another = "another passphrase entirely"
	first.passphrase(another)
	if r := first.want(exitNothing, "apply"); !strings.Contains(r.err, "does not open with this passphrase") || !strings.Contains(r.err, "config certwright-state-shop-") {
		t.Errorf("another passphrase: %s", r.err)
	}
	if r := first.want(exitNothing, "seal"); !strings.Contains(r.err, oldPassphraseEnv+", which is not set") {
		t.Errorf("seal without the old passphrase: %s", r.err)
	}
	first.env = []string{oldPassphraseEnv + "=" + swarmPassphrase}
	first.want(exitDone, "seal")
	second.passphrase(another)
	second.want(exitDone, "plan", "--exit-code")

	// A store that is gone is no first run, and comes back from a backup.
	e := first.configs()
	heads, err := e.List(t.Context(), "certwright-state-shop-")
	if err != nil || len(heads) != 1 {
		t.Fatal(heads, err)
	}
	for name := range heads {
		if err := e.Remove(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if r := second.want(exitNothing, "apply"); !strings.Contains(r.err, "the store is lost") || !strings.Contains(r.err, "certwright restore FILE") {
		t.Errorf("a lost store: %s", r.err)
	}
	second.env = []string{backupEnv + "=" + swarmPassphrase}
	second.want(exitDone, "restore", backup)
	first.want(exitDone, "plan", "--exit-code")
	if back, same := second.serials(); back["i0"] != now["i0"] || same != ca {
		t.Errorf("restored are %v of CA %s, want %v of %s", back, same, now, ca)
	}
}

// TestSwarmStoreApplies has eight processes at work with one store at once: first all with nothing, then each renews an
// identity of its own, and all of them the same one, round after round.
func TestSwarmStoreApplies(t *testing.T) {
	t.Parallel()
	const processes = 8
	rounds := fromEnv(t, "CERTWRIGHT_TEST_ROUNDS", 3)
	first, next := inSwarm(t, processes+1)
	machines := make([]*swarmScene, processes)
	for i := range machines {
		machines[i] = next()
	}
	all := func(args func(i int) []string) {
		t.Helper()
		var wg sync.WaitGroup
		for i, m := range machines {
			wg.Go(func() {
				if r, _ := m.run("", args(i)...); r.code != exitDone {
					t.Errorf("process %d: exit %d\n%s%s", i, r.code, r.out, r.err)
				}
			})
		}
		wg.Wait()
	}
	all(func(int) []string { return []string{"apply"} })
	before, ca := first.serials()
	start, generation := time.Now(), first.generation()
	for round := range rounds {
		all(func(i int) []string { return []string{"rotate", fmt.Sprintf("identity/i%d", i)} })
		all(func(int) []string { return []string{"rotate", fmt.Sprintf("identity/i%d", processes)} })
		now, same := first.serials()
		for name, serial := range now {
			if serial == before[name] {
				t.Errorf("round %d: the renewal of %s was lost", round, name)
			}
		}
		if same != ca {
			t.Fatalf("round %d: another CA", round)
		}
		before = now
		g := first.generation()
		if g < generation+processes+1 {
			t.Errorf("round %d: generation %d after %d", round, g, generation)
		}
		generation = g
		first.want(exitDone, "plan", "--exit-code")
	}
	t.Logf("%d rounds of %d processes in %s, %d generations", rounds, 2*processes, time.Since(start).Round(time.Second), generation)
}

// TestSwarmStoreKilled ends certwright at every effect of a renewal, with a store in a Swarm. The next one goes on at
// once, and loses nothing.
func TestSwarmStoreKilled(t *testing.T) {
	t.Parallel()
	s, _ := inSwarm(t, 1)
	s.want(exitDone, "apply")
	before, ca := s.serials()
	began := time.Now()
	s.want(exitDone, "rotate", "identity/i0")
	usual := time.Since(began)
	var slowest time.Duration
	points := s.kills([]string{"rotate", "identity/i0"}, func(when, what string) {
		began := time.Now()
		s.want(exitDone, "rotate", "identity/i0")
		slowest = max(slowest, time.Since(began))
		now, same := s.serials()
		if now["i0"] == before["i0"] || same != ca {
			t.Fatalf("%s %s: serial %s, was %s; CA %s, was %s", when, what, now["i0"], before["i0"], same, ca)
		}
		before = now
		s.generation()
	})
	t.Logf("%d crash points; an undisturbed renewal took %s, the slowest after a kill %s", len(points), usual, slowest)
	if !slices.Contains(points, "POST /configs/create") || !slices.Contains(points, "DELETE /configs/{id}") {
		t.Errorf("crash points are %q", points)
	}
}

// TestSwarmStoreServices has three processes that renew the certificate of one service at once, and wait until it is served.
func TestSwarmStoreServices(t *testing.T) {
	t.Parallel()
	s := newSwarmScene(t, nil)
	written, err := os.ReadFile(filepath.Join(s.dir, "tls.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(written), "project: shop\n", "project: shop\nstore: {swarm: {}, passphrase: {file: passphrase}}\n", 1)
	var dirs []string
	for range 3 {
		s.dir = t.TempDir()
		dirs = append(dirs, s.dir)
		if err := os.WriteFile(filepath.Join(s.dir, "tls.yaml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		s.passphrase(swarmPassphrase)
	}
	bin := staticBinary(t) // by the clock of the wall: they wait for each other
	all := func(args ...string) {
		t.Helper()
		var wg sync.WaitGroup
		for _, dir := range dirs {
			wg.Go(func() {
				cmd := exec.Command("nsenter", append([]string{"--net=/run/netns/" + s.m.Namespace, bin, "-f", filepath.Join(dir, "tls.yaml"), "--host", "unix://" + s.m.Socket}, args...)...)
				out, err := cmd.CombinedOutput()
				note(string(out))
				if err != nil {
					t.Errorf("%v: %v\n%s", args, err, out)
				}
			})
		}
		wg.Wait()
	}
	all("apply", "--wait", "2m")
	s.at = time.Now()
	before := s.ready(2)
	for range 2 {
		all("rotate", "identity/api", "--wait", "2m")
		s.at = time.Now()
		now := s.ready(2)
		if now == before {
			t.Error("the renewals were lost")
		}
		before = now
		if _, err := s.stored(); err != nil {
			t.Error(err)
		}
	}
}
