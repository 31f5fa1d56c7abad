package reconcile_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/memory"
	"github.com/certwright/certwright/reconcile"
)

// TestOneThingAtATime has a container of two bindings: nothing is done to it while something else is.
func TestOneThingAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.edit("  roots:\n    trust: [internal]\n    directory: /srv/roots\n",
			"  roots:\n    trust: [internal]\n    container: db\n    directory: /srv/roots\n    reload: restart\n")
		e.steady()
		e.Around = func(what string, do func() error) error {
			if what == kill || what == "POST /containers/{id}/restart" {
				time.Sleep(time.Second)
			}
			return do()
		}
		e.edit("cas:", "cas:\n  other: {local: {}}", "trust: [internal]\n    container: db", "trust: [internal, other]\n    container: db",
			"  roots:\n    trust: [internal]\n    directory: /srv/roots\n",
			"  roots:\n    trust: [internal, other]\n    container: db\n    directory: /srv/roots\n    reload: restart\n")
		var mu sync.Mutex
		under := map[string]string{} // what is done to a container
		reloads := 0
		a := e.applier()
		a.Report = func(ev reconcile.Event) {
			mu.Lock()
			defer mu.Unlock()
			r, is := ev.Step.Action.(reconcile.Reload)
			if !is {
				return
			}
			reloads++
			if other := under[r.Target.ID]; !ev.Done && other != "" {
				t.Errorf("%s, while %s is under way", r, other)
			}
			under[r.Target.ID] = ""
			if !ev.Done {
				under[r.Target.ID] = r.String()
			}
		}
		if out, err := a.Converge(t.Context(), reconcile.Scope{}); err != nil || out.Err != nil || reloads < 4 {
			t.Errorf("%v, %v, %d reloads", err, out.Err, reloads)
		}
	})
}

// TestVolumeOfCompose has a container that Compose made and the spec names by its name: the volume is that of its project.
func TestVolumeOfCompose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.create("", memory.Container{Container: reconcile.Container{
			Name: "cache", Labels: map[string]string{"com.docker.compose.project": "shop"},
			Mounts: []reconcile.Mount{{Type: "volume", Name: "shop_cache-certs", Destination: "/certs"}},
		}})
		e.edit("  roots:\n    trust: [internal]\n    directory: /srv/roots\n",
			"  cache:\n    trust: [internal]\n    container: cache\n    volume: cache-certs\n"+
				"  spare:\n    trust: [internal]\n    container: cache\n    volume: spare-certs\n")
		var got []string
		for _, s := range e.plan(reconcile.Scope{}).Steps {
			if n := s.Action.Subject(); n == "binding/cache" || n == "binding/spare" || n == "volume/shop_spare-certs" {
				got = append(got, s.Action.String())
			}
		}
		want := []string{
			"place cache in volume shop_cache-certs", "create volume shop_spare-certs", "place spare in volume shop_spare-certs",
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("-want +got:\n%s", d)
		}
	})
}

// TestHeldIdentity has an identity that cannot be read, and a trust that is yet to be made: nothing is placed by halves.
func TestHeldIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		e.edit("cas:", "cas:\n  other: {local: {}}",
			"identities:", "identities:\n  legacy: {from: {certificate: /nowhere/cert.pem, key: /nowhere/key.pem, ca: /nowhere/ca.pem}}",
			"    trust: [internal]\n    directory: /srv/roots", "    identity: legacy\n    trust: [internal, other]\n    directory: /srv/roots")
		plan := e.plan(reconcile.Scope{})
		if len(plan.Steps) != 1 || len(plan.Blocked) != 2 || plan.Blocked[1].Subject != "binding/roots" {
			t.Errorf("got:\n%s", text(plan))
		}
	})
}

// TestForgottenWish has an identity leave the spec while a wish to rotate it stands: it goes, too.
func TestForgottenWish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.edit("  client: {ca: services, usages: [client]}\n", "  client: {ca: services, usages: [client]}\n  spare: {ca: services, usages: [client]}\n")
		e.steady()
		e.wish("identity/spare")
		e.read(estateYAML)
		e.steady()
		if w := e.load().Wishes; len(w) > 0 {
			t.Errorf("left over: %v", w)
		}
	})
}

// TestLastConsumerLeft has the last binding that needs an engine leave the spec, while its container runs.
func TestLastConsumerLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		e.read("version: 1\nproject: shop\ncas: {internal: {local: {lifetime: 10y}}}\n" +
			"bindings: {roots: {trust: [internal], directory: /srv/roots}}\n")
		for _, s := range e.plan(reconcile.Scope{Prune: reconcile.PruneAll}).Steps {
			if r, is := s.Action.(reconcile.Remove); is {
				t.Errorf("%s, which a running container mounts", r)
			}
		}
	})
}
