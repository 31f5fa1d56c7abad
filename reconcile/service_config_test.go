package reconcile_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/reconcile"
)

var (
	configYAML = strings.Replace(serviceYAML, "    files:", "    config: {mode: \"0444\"}\n    files:", 1)
	isConfig   = reconcile.SecretKind{Config: true}
)

// newConfigEstate is an estate with one service at rest, whose ca.pem is a config and whose key is a secret.
func newConfigEstate(t *testing.T) (*estate, *swarm) {
	t.Helper()
	e, s := newServiceEstate(t)
	e.read(configYAML)
	if out := e.converge(); out.Err != nil || s.updates != 2 {
		t.Fatalf("%d updates, %v", s.updates, out.Err)
	}
	if got := text(e.plan(reconcile.Scope{})); got != "" {
		t.Fatalf("the plan of an estate at rest:\n%s", got)
	}
	return e, s
}

// config is the config that is listed.
func (s *swarm) config() *reconcile.Secret {
	return &s.now.Secrets[slices.IndexFunc(s.now.Secrets, func(x reconcile.Secret) bool { return x.Config })]
}

// mounted is the config that the service mounts.
func (s *swarm) mounted() *reconcile.SecretRef {
	all := s.service().Secrets
	return &all[slices.IndexFunc(all, func(x reconcile.SecretRef) bool { return x.Config })]
}

// TestServiceConfigs makes configs of the files that hold no key, takes both at once, and goes back to secrets.
func TestServiceConfigs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, s := newServiceEstate(t)
		secret := s.named("ca.pem")
		e.read(configYAML)
		want := "1 place api in secrets of service shop_api: no config holds what ca.pem should\n2 update service shop_api: follows its files [1]\n"
		if diff := cmp.Diff(want, text(e.plan(reconcile.Scope{}))); diff != "" {
			t.Errorf("the plan (-want +got)\n%s", diff)
		}
		s.made = nil
		if out := e.converge(); out.Err != nil || s.updates != 2 || !out.Plan.Empty() || len(s.made) != 1 {
			t.Fatalf("%d updates, made are %v, %v, left is\n%s", s.updates, s.made, out.Err, text(out.Plan))
		}
		labels := map[string]string{
			"certwright.project": "shop", "certwright.installation": e.load().Installation, "certwright.binding": "api", "certwright.file": "ca.pem",
		}
		made := s.made[0]
		if diff := cmp.Diff(labels, made.Labels); diff != "" || !made.Config || made.Name != secret || !strings.Contains(string(made.Data), "CERTIFICATE") {
			t.Errorf("made is %+v, the labels (-want +got)\n%s", made, diff)
		}
		slices.SortFunc(s.service().Secrets, func(a, b reconcile.SecretRef) int { return strings.Compare(b.Target, a.Target) })
		key := s.service().Secrets[1]
		if diff := cmp.Diff([]reconcile.SecretRef{
			{SecretKind: isConfig, ID: "config-" + secret, Name: secret, Target: "ca.pem", Mode: 0o444, UID: 999, GID: 999},
			{ID: "secret-" + key.Name, Name: key.Name, Target: key.Target, Mode: 0o400, UID: 999, GID: 999},
		}, s.service().Secrets); diff != "" {
			t.Errorf("the service mounts (-want +got)\n%s", diff)
		}

		// The service may be rolled back to the secret of that name; then nothing needs it.
		if !slices.ContainsFunc(s.now.Secrets, func(x reconcile.Secret) bool { return !x.Config && x.Name == secret }) {
			t.Error("the secret is gone, and the service before has it")
		}
		s.service().Previous = nil
		want = "1 remove secret " + secret + ": an older version that nothing uses\n"
		if diff := cmp.Diff(want, text(e.plan(reconcile.Scope{}))); diff != "" {
			t.Errorf("the plan then (-want +got)\n%s", diff)
		}
		e.read(serviceYAML)
		if out := e.converge(); out.Err != nil || s.updates != 3 || !out.Plan.Empty() || slices.ContainsFunc(s.service().Secrets, func(r reconcile.SecretRef) bool { return r.Config }) {
			t.Errorf("%d updates, %v, the service has %v, left is\n%s", s.updates, out.Err, s.service().Secrets, text(out.Plan))
		}
		s.service().Previous = nil
		want = "1 remove config " + secret + ": an older version that nothing uses\n"
		plan := e.plan(reconcile.Scope{})
		if diff := cmp.Diff(want, text(plan)); diff != "" {
			t.Fatalf("the plan in the end (-want +got)\n%s", diff)
		}
		if a := plan.Steps[0].Action; a.Subject() != "config/"+secret || a.Kind() != "remove-config" {
			t.Errorf("it is a %s of %s", a.Kind(), a.Subject())
		}
		if e.converge(); len(s.now.Secrets) != 2 {
			t.Errorf("left are %v", s.now.Secrets)
		}
	})
}

// TestServiceConfigDiff has a row for each reason that a plan gives about a config.
func TestServiceConfigDiff(t *testing.T) {
	const (
		update = "1 update service shop_api: "
		place  = "1 place api in secrets of service shop_api: "
		follow = "2 update service shop_api: follows its files [1]\n"
	)
	theirs := reconcile.SecretRef{SecretKind: isConfig, ID: "x", Name: "theirs", Target: "ca.pem"}
	for _, row := range []struct {
		name string
		do   func(e *estate, s *swarm)
		want string
	}{
		{"left the service", func(_ *estate, s *swarm) {
			s.service().Secrets = slices.DeleteFunc(s.service().Secrets, func(r reconcile.SecretRef) bool { return r.Config })
		}, update + "ca.pem is not mounted\n"},
		{"gone", func(_ *estate, s *swarm) {
			s.now.Secrets = slices.DeleteFunc(s.now.Secrets, func(x reconcile.Secret) bool { return x.Config })
		}, place + "no config holds what ca.pem should\n" + follow},
		{"another of the same name", func(_ *estate, s *swarm) { s.config().ID = "new" }, update + "its config is gone: ca.pem\n"},
		{"marks are gone", func(_ *estate, s *swarm) { s.config().Labels = nil }, place + "config is not marked as ours: ca.pem\n"},
		{"forged", func(_ *estate, s *swarm) { s.config().Data = []byte("forged") }, place + "config holds something else: ca.pem\n"},
		{"forged without marks", func(_ *estate, s *swarm) {
			s.config().Labels, s.config().Data = nil, append(s.config().Data, '\n')
		}, place + "config holds something else: ca.pem\n"},
		{"deployed with an older one", func(_ *estate, s *swarm) {
			old := *s.config()
			old.ID, old.Name = "old", "shop-api-ca.pem-000000000000"
			s.now.Secrets = append(s.now.Secrets, old)
			s.mounted().ID, s.mounted().Name = old.ID, old.Name
		}, update + "older config version: ca.pem\n"},
		{"deployed with the secret", func(_ *estate, s *swarm) {
			secret := *s.config()
			secret.ID, secret.SecretKind = "secret-"+secret.Name, reconcile.SecretKind{}
			s.mounted().ID, s.mounted().SecretKind = secret.ID, secret.SecretKind
		}, update + "it is to be a config: ca.pem\n"},
		{"deployed with one too many", func(_ *estate, s *swarm) {
			more := *s.config()
			more.ID = "more"
			s.now.Secrets = append(s.now.Secrets, more)
			i := slices.IndexFunc(s.service().Secrets, func(r reconcile.SecretRef) bool { return !r.Config })
			target := s.service().Secrets[i].Target
			s.service().Secrets = append(s.service().Secrets, reconcile.SecretRef{SecretKind: isConfig, ID: "more", Name: more.Name, Target: target})
		}, update + "mounted as a config too: a-very-long-name-of-a-file-that-nobody-would-ever-want+.pem\n"},
		{"mode", func(_ *estate, s *swarm) { s.mounted().Mode = 0o400 }, update + "mode differs: ca.pem\n"},
		{
			"mounted by others", func(_ *estate, s *swarm) { *s.mounted() = theirs },
			"Blocked binding/api: service shop_api mounts a config theirs as ca.pem that was not made by certwright\n",
		},
		{"mounted by others, adopted", func(e *estate, s *swarm) {
			*s.mounted() = theirs
			e.adopt("api")
		}, update + "somebody else's config: ca.pem\n"},
		{"mounted by others elsewhere", func(_ *estate, s *swarm) {
			elsewhere := theirs
			elsewhere.Target = "/etc/ca.pem"
			s.service().Secrets = append(s.service().Secrets, elsewhere)
		}, ""},
		{
			"file left the spec", func(e *estate, _ *swarm) { e.read(strings.Replace(configYAML, "ca.pem: ca, ", "", 1)) },
			update + "ca.pem left the spec\n",
		},
		{
			"renewal", func(*estate, *swarm) { time.Sleep(21 * 24 * time.Hour) },
			"1 issue api: expires soon\n2 place api in secrets of service shop_api: follows its certificate [1]\n3 update service shop_api: follows its files [2]\n",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, s := newConfigEstate(t)
				row.do(e, s)
				if diff := cmp.Diff(row.want, text(e.plan(reconcile.Scope{}))); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
			})
		})
	}
}

// TestServiceConfigMarks puts labels back that somebody took from a config, if it holds what it should, and says how to be
// rid of it if it does not. The service is left in peace.
func TestServiceConfigMarks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, s := newConfigEstate(t)
		was := s.config().Labels
		s.config().Labels, s.updates = nil, 0
		if out := e.converge(); out.Err != nil || s.updates != 0 || !out.Plan.Empty() {
			t.Errorf("%d updates, %v, left is\n%s", s.updates, out.Err, text(out.Plan))
		}
		if diff := cmp.Diff(was, s.config().Labels); diff != "" {
			t.Errorf("the labels (-want +got)\n%s", diff)
		}

		good := s.config().Data
		s.config().Data = []byte("forged")
		version := s.config().Version
		name := s.config().Name
		want := "config " + name + " was not made by certwright, and does not hold what ca.pem should: " +
			"take it from its services and remove it with `docker config rm " + name + "`"
		if out := e.converge(); s.updates != 0 || out.Err == nil || !strings.Contains(out.Err.Error(), want) || s.config().Version != version {
			t.Errorf("%d updates, %v, version %d", s.updates, out.Err, s.config().Version)
		}
		if got := deep(e, e.observe(), nil); !strings.HasPrefix(got, "ca.pem other\n") {
			t.Errorf("compared:\n%s", got)
		}
		s.config().Data = good
		if got := deep(e, e.observe(), nil); !strings.HasPrefix(got, "ca.pem as wanted\n") || s.config().Version != version {
			t.Errorf("compared, at version %d and then %d:\n%s", version, s.config().Version, got)
		}
	})
}

// TestServiceConfigsCollected keeps the version before of a config, as of a secret, and no other.
func TestServiceConfigsCollected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, s := newConfigEstate(t)
		first := s.mounted().Name
		count := func() (n int, there bool) {
			for _, x := range s.now.Secrets {
				if x.Config {
					n, there = n+1, there || x.Name == first
				}
			}
			return n, there
		}
		for i, kept := range []bool{true, true, false} { // a task may still need it after the second
			e.wish("identity/api")
			s.now.Tasks[0].Secrets = nil
			if i == 1 {
				s.now.Tasks[0].Secrets = []reconcile.SecretRef{{SecretKind: isConfig, ID: "config-" + first, Name: first}}
			}
			e.converge()
			if n, there := count(); there != kept || n != []int{2, 3, 2}[i] {
				t.Errorf("after rotation %d there are %d configs, the first one among them: %v", i+1, n, there)
			}
		}
	})
}

// TestServiceConfigsAlone is a binding of trust alone: it has no secret at all.
func TestServiceConfigsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		before, _, _ := strings.Cut(serviceYAML, "  api:\n    identity")
		e.read(before + "  api: {trust: [internal], service: shop_api, config: {}}\n")
		s := &swarm{now: reconcile.Swarm{Services: []reconcile.Service{{ID: "svc", Name: "shop_api", User: "70"}}}}
		e.swarm = s
		if out := e.converge(); out.Err != nil || !out.Plan.Empty() || len(s.service().Secrets) != 1 {
			t.Fatalf("%v, the service has %v, left is\n%s", out.Err, s.service().Secrets, text(out.Plan))
		}
		if r := s.mounted(); r.Target != "ca.pem" || r.Mode != 0o644 || r.UID != 70 || r.GID != 70 {
			t.Errorf("mounted is %+v", r)
		}
		// It is no first run for somebody who lost the store.
		other := newEstate(t)
		other.read(before + "  api: {trust: [internal], service: shop_api, config: {}}\n")
		other.swarm = s
		if _, err := reconcile.Observe(t.Context(), other.applier().Providers, other.spec, reconcile.Look{Now: time.Now()}); err == nil || !strings.Contains(err.Error(), "the store is lost") {
			t.Errorf("without its store: %v", err)
		}
	})
}

// TestConfigNames has projects of any length: what is made must be found again in the list.
func TestConfigNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for n := 1; n <= 63; n++ {
			e := newEstate(t)
			project := strings.Repeat("p", n)
			e.read("version: 1\nproject: " + project + "\ncas:\n  c: {local: {}}\nbindings:\n  b: {trust: [c], service: s, config: {}, files: {f: ca}}\n")
			s := &swarm{}
			e.swarm = s
			e.converge()
			if len(s.made) != 1 {
				t.Fatalf("a project of %d letters: made are %d", n, len(s.made))
			}
			if name := s.made[0].Name; !strings.HasPrefix(name, reconcile.ConfigNames(project)) || len(name) > 64 {
				t.Errorf("a project of %d letters: made is %s, listed is %s", n, name, reconcile.ConfigNames(project))
			}
		}
	})
}
