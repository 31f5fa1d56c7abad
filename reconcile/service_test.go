package reconcile_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/memory"
	"github.com/certwright/certwright/reconcile"
)

const serviceYAML = `
version: 1
project: shop
cas:
  internal: {local: {lifetime: 10y}}
identities:
  api: {ca: internal, names: [api]}
bindings:
  api:
    identity: api
    service: shop_api
    secret: {mode: "0400", owner: "999"}
    files: {ca.pem: ca, a-very-long-name-of-a-file-that-nobody-would-ever-want+.pem: key}
`

var errCut = errors.New("cut")

// swarm is a manager that does at once what it is asked, or says why not. What is real is tested with real ones.
type swarm struct {
	mu      sync.Mutex
	now     reconcile.Swarm
	refuses string            // what becomes of updates: Swarm's message when it rolls them back
	fails   error             // what Update answers before it does anything
	holds   map[string][]byte // what is in secrets, by id
	before  *reconcile.Secret // somebody makes it before the next one is made
	made    []reconcile.NewSecret
	updates int
	lists   int
	next    string // the root when the rotation is over
	under   int    // updates under way
	most    int    // at once
	// The networks outposts were sent to, and how often they were taken back.
	outposts []string
	recalled int

	effects   func() reconcile.Around // around what changes the Swarm itself; may be nil
	rotations int
	stays     string // a node that does not get on
}

func (s *swarm) service() *reconcile.Service { return &s.now.Services[0] }

func (s *swarm) drop(name string) {
	s.now.Secrets = slices.DeleteFunc(s.now.Secrets, func(x reconcile.Secret) bool { return x.Name == name })
}

func (s *swarm) named(target string) string {
	for _, r := range s.service().Secrets {
		if strings.HasPrefix(r.Target, target) {
			return r.Name
		}
	}
	return ""
}

func (s *swarm) Swarm(context.Context, string) reconcile.Swarm {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lists++
	now := s.now
	now.Services, now.Secrets = slices.Clone(now.Services), slices.Clone(now.Secrets)
	return now
}

func (s *swarm) CreateSecret(_ context.Context, _ string, n reconcile.NewSecret) error {
	if s.before != nil {
		s.now.Secrets, s.before = append(s.now.Secrets, *s.before), nil
		return nil // the name is taken
	}
	s.made = append(s.made, n)
	if s.holds == nil {
		s.holds = map[string][]byte{}
	}
	made := reconcile.Secret{SecretKind: n.SecretKind, ID: n.Word() + "-" + n.Name, Name: n.Name, Labels: n.Labels}
	if n.Config {
		made.Data = n.Data
	}
	s.holds[made.ID] = n.Data
	s.now.Secrets = append(s.now.Secrets, made)
	return nil
}

func (s *swarm) LabelSecret(_ context.Context, _ string, want reconcile.Secret, data []byte) (bool, error) {
	i := slices.IndexFunc(s.now.Secrets, func(x reconcile.Secret) bool { return x.ID == want.ID })
	switch {
	case i < 0 || len(data) == 0:
		return false, errors.New("there is nothing to compare")
	case !bytes.Equal(s.holds[want.ID], data):
		return false, nil
	case s.now.Secrets[i].Version != want.Version:
		return false, errors.New("somebody was faster")
	}
	want.Version++
	s.now.Secrets[i] = want
	return true, nil
}

func (s *swarm) Update(_ context.Context, _ string, u reconcile.ServiceUpdate) error {
	s.mu.Lock() // services are updated side by side
	defer s.mu.Unlock()
	s.updates++
	s.under++
	s.most = max(s.most, s.under)
	s.mu.Unlock()
	time.Sleep(time.Second)
	s.mu.Lock()
	s.under--
	if s.fails != nil {
		return s.fails
	}
	svc := &s.now.Services[slices.IndexFunc(s.now.Services, func(x reconcile.Service) bool { return x.ID == u.ID })]
	if s.refuses != "" {
		svc.Update, svc.Message = "rollback_completed", s.refuses
		return errors.New(s.refuses)
	}
	svc.Previous, svc.Update = svc.Secrets, "completed"
	kept := slices.DeleteFunc(slices.Clone(svc.Secrets), func(r reconcile.SecretRef) bool { return slices.Contains(u.Take, r) })
	svc.Secrets = append(kept, u.Give...)
	return nil
}

func (s *swarm) Outposts(_ context.Context, _ string, networks []string) (map[string]string, func(), error) {
	at := map[string]string{}
	for _, n := range networks {
		if s.fails == nil {
			at[n] = "outpost-" + n
		}
		s.outposts = append(s.outposts, n)
	}
	return at, func() { s.recalled++ }, s.fails
}

func (s *swarm) RemoveSecret(_ context.Context, _ string, r reconcile.Secret) error {
	s.now.Secrets = slices.DeleteFunc(s.now.Secrets, func(x reconcile.Secret) bool { return x.SecretKind == r.SecretKind && x.ID == r.ID })
	return nil
}

// newServiceEstate is an estate with one service at rest.
func newServiceEstate(t *testing.T) (*estate, *swarm) {
	t.Helper()
	e := newEstate(t)
	e.read(serviceYAML)
	s := &swarm{now: reconcile.Swarm{
		Services: []reconcile.Service{{ID: "svc", Name: "shop_api", Replicas: 2, StartsFirst: true}},
		Tasks:    []reconcile.Task{{ID: "t1", Service: "svc", Running: true}, {ID: "t2", Service: "svc", Running: true}},
	}}
	e.swarm = s
	if out := e.converge(); out.Err != nil || s.updates != 1 {
		t.Fatalf("%d updates, %v", s.updates, out.Err)
	}
	if got := text(e.plan(reconcile.Scope{})); got != "" {
		t.Fatalf("the plan of an estate at rest:\n%s", got)
	}
	return e, s
}

// pushes has another process record that it is about to update the service.
func (e *estate) pushes(at time.Time) {
	st := e.load()
	load := st.Loads["api/svc"]
	load.Proved, load.At = false, at
	st.Loads["api/svc"] = load
	e.commit(st)
}

// TestServiceDiff has a row for each reason that a plan gives about a service.
func TestServiceDiff(t *testing.T) {
	const (
		update   = "1 update service shop_api: "
		unmarked = "1 place api in secrets of service shop_api: secret is not marked as ours: ca.pem\n"
	)
	for _, row := range []struct {
		name string
		do   func(e *estate, s *swarm)
		want string
	}{
		{"no manager", func(_ *estate, s *swarm) { s.now = reconcile.Swarm{Err: "no manager"} }, "Waiting binding/api: waits for the Swarm: no manager\n"},
		{"no service", func(_ *estate, s *swarm) { s.now.Services = nil }, "Waiting binding/api: waits for service shop_api\n"},
		{
			"renewal", func(*estate, *swarm) { time.Sleep(21 * 24 * time.Hour) },
			"1 issue api: expires soon\n2 place api in secrets of service shop_api: follows its certificate [1]\n3 update service shop_api: follows its files [2]\n",
		},
		{
			"secret is gone", func(_ *estate, s *swarm) { s.drop(s.named("ca.pem")) },
			"1 place api in secrets of service shop_api: no secret holds what ca.pem should\n2 update service shop_api: follows its files [1]\n",
		},
		{
			"secret left the service", func(_ *estate, s *swarm) { s.service().Secrets = s.service().Secrets[1:] },
			update + "ca.pem is not mounted\n",
		},
		{
			"deployed with an older one", func(_ *estate, s *swarm) {
				s.now.Secrets = append(s.now.Secrets, reconcile.Secret{ID: "old", Name: "shop-api-ca.pem-000000000000", Labels: s.now.Secrets[0].Labels})
				s.service().Secrets[0] = reconcile.SecretRef{ID: "old", Name: "shop-api-ca.pem-000000000000", Target: "ca.pem", Mode: 0o400, UID: 999, GID: 999}
			},
			update + "older secret version: ca.pem\n",
		},
		{"marks are gone", func(_ *estate, s *swarm) { s.now.Secrets[0].Labels = nil }, unmarked},
		{
			"marks of another binding", func(_ *estate, s *swarm) {
				s.now.Secrets[0].Labels = maps.Clone(s.now.Secrets[0].Labels)
				s.now.Secrets[0].Labels["certwright.binding"] = "other"
			},
			unmarked,
		},
		{
			"marks are gone, under way", func(_ *estate, s *swarm) {
				s.now.Secrets[0].Labels, s.service().Update = nil, "updating"
			},
			unmarked + "Waiting binding/api: waits for the update of service shop_api that is under way\n",
		},
		{
			"marks are gone, not mounted", func(_ *estate, s *swarm) {
				s.now.Secrets[0].Labels, s.service().Secrets = nil, s.service().Secrets[1:]
			},
			unmarked + "2 update service shop_api: follows its files [1]\n",
		},
		{
			"marks are gone, renewal", func(_ *estate, s *swarm) {
				s.now.Secrets[0].Labels = nil
				time.Sleep(21 * 24 * time.Hour)
			},
			"1 issue api: expires soon\n2 place api in secrets of service shop_api: follows its certificate [1]\n3 update service shop_api: follows its files [2]\n",
		},
		{
			"another of the same name", func(_ *estate, s *swarm) { s.now.Secrets[0].ID = "new" },
			update + "its secret is gone: ca.pem\n",
		},
		{
			"rolled back to one that is gone", func(_ *estate, s *swarm) {
				s.service().Secrets[0].ID, s.service().Secrets[0].Name = "old", "shop-api-ca.pem-000000000000"
			},
			update + "its secret is gone: ca.pem\n",
		},
		{
			"deployed without any, renewal", func(_ *estate, s *swarm) {
				s.service().Secrets = nil
				time.Sleep(21 * 24 * time.Hour)
			},
			"1 issue api: expires soon\n2 place api in secrets of service shop_api: follows its certificate [1]\n3 update service shop_api: follows its files [2]\n",
		},
		{"mode", func(_ *estate, s *swarm) { s.service().Secrets[0].Mode = 0o444 }, update + "mode differs: ca.pem\n"},
		{"user", func(_ *estate, s *swarm) { s.service().Secrets[0].UID = 0 }, update + "owner differs: ca.pem\n"},
		{"group", func(_ *estate, s *swarm) { s.service().Secrets[0].GID = 0 }, update + "owner differs: ca.pem\n"},
		{
			"file left the spec", func(e *estate, _ *swarm) {
				e.read(strings.Replace(serviceYAML, "ca.pem: ca, ", "", 1))
			},
			update + "ca.pem left the spec\n",
		},
		{
			"mounted by others", func(_ *estate, s *swarm) {
				s.now.Secrets = append(s.now.Secrets, reconcile.Secret{ID: "x", Name: "theirs"})
				s.service().Secrets[0] = reconcile.SecretRef{ID: "x", Name: "theirs", Target: "ca.pem"}
			},
			"Blocked binding/api: service shop_api mounts a secret theirs as ca.pem that was not made by certwright\n",
		},
		{
			"mounted by another installation", func(_ *estate, s *swarm) {
				s.now.Secrets[0].Labels = map[string]string{"certwright.project": "shop", "certwright.installation": "other", "certwright.binding": "api"}
				s.now.Secrets[0].Name += "-theirs"
				s.service().Secrets[0].Name = s.now.Secrets[0].Name
			},
			"Blocked binding/api: service shop_api mounts a secret %s-theirs as ca.pem that was not made by certwright\n",
		},
		{
			"mounted by others, adopted", func(e *estate, s *swarm) {
				s.now.Secrets = append(s.now.Secrets, reconcile.Secret{ID: "x", Name: "theirs"})
				s.service().Secrets[0] = reconcile.SecretRef{ID: "x", Name: "theirs", Target: "ca.pem"}
				e.adopt("api")
			},
			update + "somebody else's secret: ca.pem\n",
		},
		{"under way", func(_ *estate, s *swarm) { s.service().Update = "updating" }, "Waiting binding/api: waits for the update of service shop_api that is under way\n"},
		{
			"another under way", func(_ *estate, s *swarm) {
				s.service().Update, s.service().Secrets = "updating", s.service().Secrets[1:]
			},
			"Stale binding/api: service shop_api has other secrets, and an update of it is under way\n",
		},
		{
			"going back", func(_ *estate, s *swarm) {
				s.service().Update, s.service().Secrets = "rollback_started", s.service().Secrets[1:]
			},
			"Stale binding/api: service shop_api has other secrets, and an update of it is under way\n",
		},
		{
			"paused", func(_ *estate, s *swarm) { s.service().Update, s.service().Message = "paused", "task died" },
			"Failed binding/api: Swarm has paused the update of shop_api: task died\n",
		},
		{"some tasks are down", func(_ *estate, s *swarm) { s.now.Tasks = s.now.Tasks[1:] }, "Waiting binding/api: 1 of 2 tasks of service shop_api run\n"},
		{
			"tasks are down since they were updated", func(_ *estate, s *swarm) {
				s.now.Tasks = nil
				time.Sleep(3 * time.Minute)
			},
			"Failed binding/api: 0 of 2 tasks of service shop_api run\n",
		},
		{
			"no task of a global service", func(_ *estate, s *swarm) { s.now.Tasks, s.service().Replicas = nil, -1 },
			"Waiting binding/api: 0 tasks of service shop_api run\n",
		},
		{
			"a task of a global service is down", func(_ *estate, s *swarm) {
				s.service().Replicas = -1
				s.now.Tasks = []reconcile.Task{{ID: "t1", Service: "svc", Slot: "n1", Wanted: true, Running: true}, {ID: "t2", Service: "svc", Slot: "n2", Wanted: true}}
			},
			"Waiting binding/api: 1 of 2 tasks of service shop_api run\n",
		},
		{
			"a global service leaves a node", func(_ *estate, s *swarm) {
				s.service().Replicas = -1
				s.now.Tasks = []reconcile.Task{{ID: "t1", Service: "svc", Slot: "n1", Wanted: true, Running: true}, {ID: "t2", Service: "svc", Slot: "n2"}}
			},
			"",
		},
		{
			"another process is at it", func(e *estate, s *swarm) {
				s.service().Secrets = s.service().Secrets[1:]
				e.pushes(time.Now())
			},
			"Waiting binding/api: another certwright may be updating service shop_api\n",
		},
		{
			"another process is at it, whose clock is ahead", func(e *estate, s *swarm) {
				s.service().Secrets = s.service().Secrets[1:]
				e.pushes(time.Now().Add(2 * time.Second))
			},
			"Waiting binding/api: another certwright may be updating service shop_api\n",
		},
		{
			"another process was at it", func(e *estate, s *swarm) {
				s.service().Secrets = s.service().Secrets[1:]
				e.pushes(time.Now().Add(-5 * time.Second))
			},
			update + "ca.pem is not mounted\n",
		},
		{"no task is wanted", func(_ *estate, s *swarm) { s.now.Tasks, s.service().Replicas = nil, 0 }, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, s := newServiceEstate(t)
				first := s.named("ca.pem")
				row.do(e, s)
				got := text(e.plan(reconcile.Scope{}))
				if diff := cmp.Diff(strings.ReplaceAll(row.want, "%s", first), got); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
			})
		})
	}
}

// TestServiceMarks puts labels back that somebody took from a secret, and leaves the service in peace.
func TestServiceMarks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, s := newServiceEstate(t)
		was := s.now.Secrets[0].Labels
		s.now.Secrets[0].Labels = map[string]string{"theirs": "1", "certwright.binding": "other"}
		s.updates, s.made = 0, nil
		if out := e.converge(); out.Err != nil || s.updates != 0 || len(s.made) != 0 || !out.Plan.Empty() || len(out.Plan.Blocked) > 0 {
			t.Errorf("%d updates, %d secrets made, %v, left is\n%s", s.updates, len(s.made), out.Err, text(out.Plan))
		}
		want := maps.Clone(was)
		want["theirs"] = "1"
		if diff := cmp.Diff(want, s.now.Secrets[0].Labels); diff != "" {
			t.Errorf("the labels (-want +got)\n%s", diff)
		}
		// It goes with its time, as all of ours do.
		for range 2 {
			e.wish("identity/api")
			e.converge()
		}
		if slices.ContainsFunc(s.now.Secrets, func(x reconcile.Secret) bool { return x.Labels["theirs"] != "" }) {
			t.Errorf("left are %v", s.now.Secrets)
		}
	})
}

// TestServiceSquatted has somebody make a secret under a name of ours before we do. It is given to no service.
func TestServiceSquatted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, at := range []string{"before the look", "after the look"} {
			e, s := newServiceEstate(t)
			name := s.named("ca.pem")
			squat := reconcile.Secret{ID: "squat", Name: name}
			s.drop(name)
			s.service().Secrets, s.updates = s.service().Secrets[1:], 0
			if at == "before the look" {
				s.now.Secrets = append(s.now.Secrets, squat)
			} else {
				s.before = &squat
			}
			out := e.converge()
			want := "secret " + name + " was not made by certwright, and does not hold what ca.pem should: " +
				"take it from its services and remove it with `docker secret rm " + name + "`"
			if s.updates != 0 || out.Err == nil || !strings.Contains(out.Err.Error(), want) {
				t.Errorf("%s: %d updates, %v", at, s.updates, out.Err)
			}
			if i := slices.IndexFunc(s.now.Secrets, isNamed(name)); i < 0 || s.now.Secrets[i].ID != squat.ID || len(s.now.Secrets[i].Labels) > 0 {
				t.Errorf("%s: the secrets are %v", at, s.now.Secrets)
			}
			s.drop(name)
			if out := e.converge(); out.Err != nil || s.updates != 1 || !out.Plan.Empty() {
				t.Errorf("%s: once it is gone: %v, %d updates, left is\n%s", at, out.Err, s.updates, text(out.Plan))
			}
		}
	})
}

// TestServiceInterrupts asks when a plan says that an update interrupts.
func TestServiceInterrupts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, s := newServiceEstate(t)
		s.service().Secrets[0].Mode = 0o444
		for _, row := range []struct {
			replicas int
			first    bool
			want     bool
		}{{2, true, false}, {1, true, true}, {2, false, true}, {-1, true, true}} {
			s.service().Replicas, s.service().StartsFirst = row.replicas, row.first
			if got := e.plan(reconcile.Scope{}).Steps[0].Action.Interrupts(); got != row.want {
				t.Errorf("%d replicas, start first %v: interrupts %v", row.replicas, row.first, got)
			}
		}
	})
}

// TestServiceCollects removes a version when nothing needs it any more: no spec, no spec of before, and no task.
func TestServiceCollects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, s := newServiceEstate(t)
		for range 2 {
			e.wish("identity/api")
			e.converge()
		}
		if len(s.now.Secrets) != 4 { // of two files the present and the one before
			t.Fatalf("there are %d secrets: %v", len(s.now.Secrets), s.now.Secrets)
		}
		for _, x := range s.now.Secrets {
			if len(x.Name) > 64 {
				t.Errorf("%s has %d characters", x.Name, len(x.Name))
			}
		}
		old := s.service().Previous
		plan := func(want string) {
			t.Helper()
			if diff := cmp.Diff(want, text(e.plan(reconcile.Scope{}))); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		}
		s.service().Previous = nil
		s.now.Tasks[0].Secrets = old
		plan("")
		s.now.Tasks[0].Secrets = nil
		s.now.Services = append(s.now.Services, reconcile.Service{ID: "other", Name: "other", Secrets: old})
		plan("")
		s.now.Services = s.now.Services[:1]
		theirs := s.now.Secrets[0].Labels
		s.now.Secrets = append(s.now.Secrets, reconcile.Secret{ID: "x", Name: "shop-api-ca.pem-000000000000"})
		slices.SortFunc(old, func(a, b reconcile.SecretRef) int {
			return slices.IndexFunc(s.now.Secrets, isNamed(a.Name)) - slices.IndexFunc(s.now.Secrets, isNamed(b.Name))
		})
		removed := "1 remove secret " + old[0].Name + ": an older version that nothing uses\n2 remove secret " + old[1].Name + ": an older version that nothing uses\n"
		plan(removed)
		if got := text(e.plan(reconcile.Scope{Prune: reconcile.PruneNone})); got != "" {
			t.Errorf("without pruning:\n%s", got)
		}
		s.now.Secrets = append(s.now.Secrets[:len(s.now.Secrets)-1], reconcile.Secret{ID: "y", Name: "of a binding that left", Labels: map[string]string{
			"certwright.project": theirs["certwright.project"], "certwright.installation": theirs["certwright.installation"], "certwright.binding": "gone",
		}})
		plan(removed + "3 remove secret of a binding that left: left the spec, and nothing uses it\n")
	})
}

func isNamed(name string) func(reconcile.Secret) bool {
	return func(s reconcile.Secret) bool { return s.Name == name }
}

// TestServiceIsNotPushed tries a version that Swarm rolled back once more within the hour, and not in the same run.
func TestServiceIsNotPushed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, s := newServiceEstate(t)
		s.refuses, s.updates = "update rolled back: task failed", 0
		e.wish("identity/api")
		for range 5 {
			out := e.converge()
			if len(out.Plan.Blocked) != 1 || out.Plan.Blocked[0].State != reconcile.Failed || out.Plan.Blocked[0].Reason != s.refuses {
				t.Fatalf("blocked is %+v", out.Plan.Blocked)
			}
			time.Sleep(time.Minute)
		}
		if s.updates != 2 {
			t.Errorf("%d updates within the hour, want 2", s.updates)
		}
		if next := e.plan(reconcile.Scope{}).Next; next.IsZero() || next.After(time.Now().Add(time.Hour)) {
			t.Errorf("the next look is at %s", next)
		}
		time.Sleep(time.Hour)
		e.converge()
		if s.updates != 3 {
			t.Errorf("%d updates after the hour, want 3", s.updates)
		}
		// Another version is another matter.
		s.refuses = ""
		e.wish("identity/api")
		if out := e.converge(); !out.Plan.Empty() || len(out.Plan.Blocked) > 0 {
			t.Errorf("left is\n%s", text(out.Plan))
		}
	})
}

// TestLastServiceLeft removes the secrets of the only binding that had a service, once the service does without.
func TestLastServiceLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, s := newServiceEstate(t)
		before, _, _ := strings.Cut(serviceYAML, "  api:\n    identity")
		e.read(before + "  other: {trust: [internal], directory: /srv/roots}\n")
		if e.converge(); len(s.now.Secrets) != 2 {
			t.Errorf("%d secrets while the service has them", len(s.now.Secrets))
		}
		s.now.Services, s.now.Tasks = nil, nil
		if e.converge(); len(s.now.Secrets) != 0 {
			t.Errorf("left are %v", s.now.Secrets)
		}
		if st := e.load(); len(st.Places) != 1 || len(st.Loads) != 0 {
			t.Errorf("the store keeps %v and %v", st.Places, st.Loads)
		}
	})
}

// TestServiceOfAHostThatLeft has a host leave the spec with its service: the key of what is still in use there stays, since the host
// may come back.
func TestServiceOfAHostThatLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, s := newServiceEstate(t)
		here := serviceYAML + "  other: {trust: [internal], directory: /srv/roots}\n"
		there := strings.NewReplacer("cas:", "hosts: {core: {context: core}}\ncas:", "service: shop_api", "service: shop_api\n    host: core").Replace(here)
		e.SetEngine("core", memory.Engine{})
		e.read(there)
		e.converge()
		key := e.load().Identities["api"].Serial
		before, _, _ := strings.Cut(here, "identities:")
		e.read(before + "bindings:\n  other: {trust: [internal], directory: /srv/roots}\n")
		away := s.now
		s.now = reconcile.Swarm{Err: "the spec has no such host any more"}
		e.SetEngine("core", memory.Engine{Down: s.now.Err})
		if out := e.converge(); len(out.Plan.Waiting) == 0 {
			t.Errorf("nothing is said of what is left there:\n%s", text(out.Plan))
		}
		s.now = away
		e.SetEngine("core", memory.Engine{})
		e.read(there)
		e.converge()
		if got := e.load().Identities["api"].Serial; got != key {
			t.Errorf("it has another certificate: %s, and had %s", got, key)
		}
	})
}

// TestServiceLists asks the Swarm as often for thirty services as for one.
func TestServiceLists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, n := range []int{1, 30} {
			e := newEstate(t)
			text := "version: 1\nproject: shop\ncas:\n  internal: {local: {}}\nidentities:\n  api: {ca: internal, names: [api]}\nbindings:\n"
			s := &swarm{}
			for i := range n {
				text += fmt.Sprintf("  b%d: {identity: api, service: s%d, secret: {}}\n", i, i)
				s.now.Services = append(s.now.Services, reconcile.Service{ID: fmt.Sprint("id", i), Name: fmt.Sprint("s", i)})
			}
			e.read(text)
			e.swarm = s
			e.converge()
			e.wish("identity/api")
			s.updates, s.lists = 0, 0
			// A pass that has something to do, one that has not, and one list of what was made in between.
			if out := e.converge(); s.updates != n || s.lists != 3 || out.Err != nil {
				t.Errorf("%d services: %d updates, %d lists, %v", n, s.updates, s.lists, out.Err)
			}
			if want := min(n, 16); s.most != want {
				t.Errorf("%d services: %d updates at once, want %d", n, s.most, want)
			}
		}
	})
}

// TestServiceWasFaster does not count an update that did not come about, and counts one of which nobody knows.
func TestServiceWasFaster(t *testing.T) {
	for _, row := range []struct {
		fails error
		want  int
	}{{reconcile.ErrNotUpdated, 6}, {errCut, 2}} { // six: the first run tries it for another reason, too
		synctest.Test(t, func(t *testing.T) {
			e, s := newServiceEstate(t)
			s.fails, s.updates = row.fails, 0
			e.wish("identity/api")
			for range 5 {
				e.converge()
				time.Sleep(time.Minute)
			}
			if s.updates != row.want {
				t.Errorf("%v: %d updates, want %d", row.fails, s.updates, row.want)
			}
			s.fails = nil
			time.Sleep(time.Hour)
			if out := e.converge(); len(out.Plan.Blocked) > 0 {
				t.Errorf("%v: left is\n%s", row.fails, text(out.Plan))
			}
		})
	}
}

// TestServiceKilledInUpdate has a process that dies after it recorded an update: that counts, too.
func TestServiceKilledInUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, s := newServiceEstate(t)
		s.updates = 0
		e.wish("identity/api")
		for range 5 {
			ctx, cancel := context.WithCancel(t.Context())
			a := e.applier()
			a.Swarms = killer{s, cancel}
			_, _ = a.Converge(ctx, reconcile.Scope{})
			time.Sleep(time.Minute)
		}
		if got := e.state("api", time.Now()); s.updates != 2 || got.State != reconcile.Failed || !strings.Contains(got.Reason, "cut short") {
			t.Errorf("%d updates, then %s (%s)", s.updates, got.State, got.Reason)
		}
	})
}

// killer ends the run in the middle of an update.
type killer struct {
	*swarm
	end context.CancelFunc
}

func (k killer) Update(ctx context.Context, _ string, _ reconcile.ServiceUpdate) error {
	k.updates++
	k.end()
	return ctx.Err()
}

// TestServiceLostStore makes no second CA where the Swarm has secrets of a store that is gone.
func TestServiceLostStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s := newServiceEstate(t)
		other := newEstate(t)
		other.read(serviceYAML)
		other.swarm = s
		_, err := reconcile.Observe(t.Context(), other.applier().Providers, other.spec, reconcile.Look{Now: time.Now()})
		if !errors.Is(err, reconcile.ErrLostStore) {
			t.Errorf("without its store: %v", err)
		}
	})
}

// TestServiceOfAnotherInstallation takes over what another store's certwright made, once that is asked for.
func TestServiceOfAnotherInstallation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, s := newServiceEstate(t)
		for i := range s.now.Secrets {
			labels := maps.Clone(s.now.Secrets[i].Labels)
			labels["certwright.installation"] = "other"
			s.now.Secrets[i].Labels, s.now.Secrets[i].Name = labels, "theirs-"+s.now.Secrets[i].Name
			s.service().Secrets[i].Name = s.now.Secrets[i].Name
		}
		if got := e.state("api", time.Now()); got.State != reconcile.Blocked {
			t.Fatalf("%s (%s)", got.State, got.Reason)
		}
		e.adopt("api")
		if out := e.converge(); out.Err != nil || len(out.Plan.Blocked) > 0 || len(e.load().Wishes) > 0 {
			t.Errorf("%v, left is\n%s, the wishes are %v", out.Err, text(out.Plan), e.load().Wishes)
		}
		if len(s.now.Secrets) != 4 { // theirs stay
			t.Errorf("the secrets are %v", s.now.Secrets)
		}
	})
}

// TestServiceFiles looks at owners, names and what is in secrets.
func TestServiceFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for user, want := range map[string]reconcile.Owner{"": {}, "70": {UID: 70, GID: 70}, "70:71": {UID: 70, GID: 71}, "postgres": {}} {
			e := newEstate(t)
			e.read(strings.Replace(serviceYAML, `, owner: "999"`, "", 1))
			s := &swarm{now: reconcile.Swarm{Services: []reconcile.Service{{ID: "svc", Name: "shop_api", User: user}}}}
			e.swarm = s
			e.converge()
			if r := s.service().Secrets[0]; (reconcile.Owner{UID: r.UID, GID: r.GID}) != want {
				t.Errorf("user %q: owner %d:%d", user, r.UID, r.GID)
			}
		}
		e := newEstate(t)
		e.read(strings.Replace(serviceYAML, "ca.pem: ca,", "ca.pem: ca, chain.pem: chain, same.pem: ca,", 1))
		s := &swarm{now: reconcile.Swarm{Services: []reconcile.Service{{ID: "svc", Name: "shop_api"}}}}
		e.swarm = s
		e.converge()
		names := map[string]bool{}
		for _, n := range s.made {
			names[n.Name] = true
			if len(n.Data) == 0 {
				t.Errorf("%s is empty, which Swarm refuses", n.Name)
			}
		}
		if len(names) != 4 {
			t.Errorf("the names are %v", names)
		}
	})
}

// TestServiceOnTheWire has tasks that mount what they should, and show something else.
func TestServiceOnTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, s := newServiceEstate(t)
		e.read(strings.Replace(serviceYAML, "    secret:", "    probe: {port: 443}\n    secret:", 1))
		serial := e.load().Identities["api"].Serial
		for _, row := range []struct {
			served [2]reconcile.Served
			health string
			want   reconcile.BindingState
			reason string
		}{
			{[2]reconcile.Served{{Serial: serial}, {Serial: serial}}, "", reconcile.Ready, ""},
			{[2]reconcile.Served{{Serial: serial}, {Serial: "01"}}, "", reconcile.Stale, "api.2 serves 01, not " + serial},
			{[2]reconcile.Served{{Serial: serial}, {Err: "refused"}}, "", reconcile.Failed, "api.2 does not answer on port 443: refused"},
			{[2]reconcile.Served{{Serial: serial}, {Err: "refused"}}, "starting", reconcile.Waiting, "api.2 is starting"},
			{[2]reconcile.Served{{Serial: serial}, {Serial: serial, Untrusted: "wrong name"}}, "", reconcile.Failed, "api.2 serves the wanted certificate, but a client would refuse it: wrong name"},
			{[2]reconcile.Served{{Serial: serial}, {Unreachable: true}}, "", reconcile.Unverified, "it cannot be probed from here"},
		} {
			w := e.observe()
			engine := w.Engines["local"]
			engine.Containers = nil
			for i, id := range []string{"c1", "c2"} {
				engine.Containers = append(engine.Containers, reconcile.Container{
					Host: "local", ID: id, Name: fmt.Sprintf("api.%d", i+1), State: "running", Health: row.health,
					Labels: map[string]string{"com.docker.swarm.task.id": s.now.Tasks[i].ID},
				})
				w.Served["api/"+id] = row.served[i]
			}
			w.Engines["local"] = engine
			plan := reconcile.Diff(e.spec, w, reconcile.Scope{Since: time.Now()})
			got := reconcile.Assess(e.spec, w, plan).Bindings[0]
			if got.State != row.want || got.Reason != row.reason {
				t.Errorf("%s (%s), want %s (%s)", got.State, got.Reason, row.want, row.reason)
			}
			engine.Containers = engine.Containers[:1] // the other task runs elsewhere
			w.Engines["local"] = engine
			w.Served["api/"+s.now.Tasks[1].ID] = reconcile.Served{Unreachable: true, Err: "no way"}
			got = reconcile.Assess(e.spec, w, reconcile.Diff(e.spec, w, reconcile.Scope{Since: time.Now()})).Bindings[0]
			if got.State != reconcile.Unverified || got.Reason != "1 of its tasks run on other nodes and cannot be probed from here: no way" {
				t.Errorf("with a task elsewhere: %s (%s)", got.State, got.Reason)
			}
		}
	})
}

// TestServiceHalfway has a task that an update has not come to, which may serve what it has; the one that was replaced
// may not.
func TestServiceHalfway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, s := newServiceEstate(t)
		e.read(strings.Replace(serviceYAML, "    secret:", "    probe: {port: 443}\n    secret:", 1))
		serial := e.load().Identities["api"].Serial
		s.service().Update = "updating"
		s.now.Tasks[0].Secrets = s.service().Secrets
		for _, row := range []struct {
			replaced, older string // what they serve
			want            string
		}{
			{serial, "01", "Waiting binding/api: waits for the update of service shop_api that is under way\n"},
			{"01", "01", "Stale binding/api: api.1 serves 01, not " + serial + "\nWaiting binding/api: waits for the update of service shop_api that is under way\n"},
		} {
			w := e.observe()
			engine := w.Engines["local"]
			for i, serves := range []string{row.replaced, row.older} {
				c := reconcile.Container{
					Host: "local", ID: fmt.Sprintf("c%d", i+1), Name: fmt.Sprintf("api.%d", i+1), State: "running",
					Labels: map[string]string{"com.docker.swarm.task.id": s.now.Tasks[i].ID},
				}
				engine.Containers = append(engine.Containers, c)
				w.Served["api/"+c.ID] = reconcile.Served{Serial: serves}
			}
			w.Engines["local"] = engine
			if diff := cmp.Diff(row.want, text(reconcile.Diff(e.spec, w, reconcile.Scope{Since: time.Now()}))); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		}
	})
}

// TestServiceContested leaves a service in peace that somebody else keeps giving other secrets.
func TestServiceContested(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, s := newServiceEstate(t)
		s.updates = 0
		for range 7 {
			s.service().Secrets = s.service().Secrets[:1]
			e.converge()
			time.Sleep(time.Minute)
		}
		s.service().Secrets = s.service().Secrets[:1]
		got := e.state("api", time.Now())
		if s.updates != 4 || got.State != reconcile.Contested {
			t.Errorf("%d updates, %s (%s)", s.updates, got.State, got.Reason)
		}
		time.Sleep(10 * time.Minute)
		if e.converge(); s.updates != 5 {
			t.Errorf("%d updates in the end", s.updates)
		}
	})
}

// TestServiceFileLeaves has a file leave the spec: it leaves the service in one update, and nothing is left to do.
func TestServiceFileLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, s := newServiceEstate(t)
		e.read(strings.Replace(serviceYAML, "ca.pem: ca, ", "", 1))
		out := e.converge()
		if left := s.service().Secrets; out.Err != nil || s.updates != 2 || !out.Plan.Empty() || len(left) != 1 || left[0].Target == "ca.pem" {
			t.Errorf("%d updates, %v, it mounts %+v, left is\n%s", s.updates, out.Err, left, text(out.Plan))
		}
	})
}

// TestServiceUnnamedTakesConfigs has a binding that names no service: one that mounts its secrets is given configs in their
// place.
func TestServiceUnnamedTakesConfigs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, s := newServiceEstate(t)
		e.read(strings.NewReplacer("    service: shop_api\n", "", `{mode: "0400", owner: "999"}`, "{}", `{mode: "0444"}`, "{}").Replace(configYAML))
		out := e.converge()
		if out.Err != nil || s.updates != 2 || !out.Plan.Empty() || s.mounted().Target != "ca.pem" {
			t.Errorf("%d updates, %v, left is\n%s", s.updates, out.Err, text(out.Plan))
		}
	})
}
