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
			"  roots:\n    trust: [internal]\n    container: db\n    directory: /srv/roots\n    reload: {signal: USR1}\n")
		e.converge()
		e.start()
		e.converge() // db does not mount the roots, which is not what this is about
		e.Around = func(what string, do func() error) error {
			if what == kill || what == "POST /containers/{id}/restart" {
				time.Sleep(time.Second)
			}
			return do()
		}
		e.edit("cas:", "cas:\n  other: {local: {}}", "trust: [internal]\n    container: db", "trust: [internal, other]\n    container: db",
			"  roots:\n    trust: [internal]\n    directory: /srv/roots\n",
			"  roots:\n    trust: [internal, other]\n    container: db\n    directory: /srv/roots\n    reload: {signal: USR1}\n")
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

// TestMounts has containers whose mounts decide where a binding's files go, or that they cannot.
func TestMounts(t *testing.T) {
	bind := func(src, dst string) reconcile.Mount {
		return reconcile.Mount{Type: "bind", Source: src, Destination: dst}
	}
	volume := func(name, dst string) reconcile.Mount {
		return reconcile.Mount{Type: "volume", Name: name, Destination: dst}
	}
	for _, row := range []struct {
		name, place, want string
		mounts            []reconcile.Mount
	}{
		{"the nearest mount", "path: /certs/deep", "place roots in volume deep", []reconcile.Mount{volume("deep", "/certs/deep"), volume("certs", "/certs")}},
		{"in any order", "path: /certs/deep", "place roots in volume deep", []reconcile.Mount{volume("certs", "/certs"), volume("deep", "/certs/deep")}},
		{"a folder of one", "path: /certs/deep", "place roots in volume certs/deep", []reconcile.Mount{volume("certs", "/certs"), volume("other", "/certs/dee")}},
		{
			"single files", "path: /certs\n    layout: plain\n    files: {ca.pem: ca, ca.der: ca-der}", "place roots in /srv/single, written in place",
			[]reconcile.Mount{bind("/srv/single/ca.pem", "/certs/ca.pem"), bind("/srv/single/ca.der", "/certs/ca.der")},
		},
		{
			"single files of two directories", "path: /certs\n    layout: plain\n    files: {ca.pem: ca, ca.der: ca-der}",
			"/certs in x is not on a mount and would be lost with the container",
			[]reconcile.Mount{bind("/srv/single/ca.pem", "/certs/ca.pem"), bind("/srv/other/ca.der", "/certs/ca.der")},
		},
		{
			"single files of generations", "directory: /srv/single",
			"single files of /srv/single are mounted, which pins what they are now",
			[]reconcile.Mount{bind("/srv/single/ca.pem", "/ca.pem")},
		},
		{
			"memory", "path: /certs", "/certs in x is on a mount of type tmpfs, which cannot be written from outside",
			[]reconcile.Mount{{Type: "tmpfs", Destination: "/certs"}},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEstate(t)
				e.steady()
				e.create("roots", memory.Container{Container: reconcile.Container{Name: "x", Mounts: row.mounts}})
				e.edit("    trust: [internal]\n    directory: /srv/roots\n", "    trust: [internal]\n    container: x\n    "+row.place+"\n")
				var got []string
				plan := e.plan(reconcile.Scope{Prune: reconcile.PruneNone})
				for _, s := range plan.Steps {
					got = append(got, s.Action.String())
				}
				for _, r := range plan.Blocked {
					got = append(got, r.Reason)
				}
				if d := cmp.Diff([]string{row.want}, got); d != "" {
					t.Errorf("-want +got:\n%s", d)
				}
			})
		})
	}
}

// TestOneOff has a container that Compose ran once for a service: it is none of the service's.
func TestOneOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		for name, once := range map[string]string{"shop-cache-1": "False", "shop-cache-run-1": "True"} {
			e.create("roots", memory.Container{Container: reconcile.Container{Name: name, Labels: map[string]string{
				"com.docker.compose.project": "shop", "com.docker.compose.service": "cache", "com.docker.compose.oneoff": once,
			}}})
		}
		e.edit("    trust: [internal]\n    directory: /srv/roots\n", "    trust: [internal]\n    container: {compose: shop/cache}\n    directory: /srv/roots\n")
		w := e.observe()
		status := reconcile.Assess(e.spec, w, reconcile.Diff(e.spec, w, reconcile.Scope{}))
		if all := status.Bindings[4].Targets; len(all) != 1 || all[0].Name != "shop-cache-1" {
			t.Errorf("targets: %v", all)
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
