package reconcile_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/reconcile"
)

// narrow notes what is asked of the world.
type narrow struct {
	reconcile.Engines
	reconcile.Places
	lists int
	read  []reconcile.Location
}

func (n *narrow) List(ctx context.Context, host string) reconcile.EngineState {
	n.lists++
	return n.Engines.List(ctx, host)
}

func (n *narrow) Read(ctx context.Context, queries []reconcile.PlaceQuery, couriers bool) []reconcile.PlaceContent {
	for _, q := range queries {
		n.read = append(n.read, q.At)
	}
	return n.Places.Read(ctx, queries, couriers)
}

// TestPart heals one binding, and neither looks at others nor forgets what is known of them. Where nobody knows whether
// there was a store, it looks at all: it may be lost.
func TestPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		loads := e.load().Loads
		if len(loads) == 0 {
			t.Fatal("there are no records of loads")
		}
		roots := reconcile.Location{Host: "local", Dir: "/srv/roots"}
		if !e.Edit(roots, "ca.pem", []byte("other")) || !e.Edit(reconcile.Location{Host: "local", Dir: "/srv/web"}, "ca.pem", []byte("other")) {
			t.Fatal("there is nothing to edit")
		}
		a, n := e.applier(), &narrow{Engines: e.World, Places: e.World}
		a.Engines, a.Places = n, n
		a.Known = true
		out, err := a.Converge(t.Context(), reconcile.Scope{Only: []string{"roots"}})
		if err != nil || out.Err != nil || len(out.Done) != 1 {
			t.Fatalf("%v, %v, %v", out.Done, out.Err, err)
		}
		if d := cmp.Diff([]reconcile.Location{roots, roots}, n.read); d != "" || n.lists != 0 {
			t.Errorf("it listed the engine %d times, and read -want +got:\n%s", n.lists, d)
		}
		if is := reconcile.Assess(e.spec, out.World, out.Plan).Bindings; len(is) != 1 || is[0].Name != "roots" || !is[0].State.Settled() {
			t.Errorf("it says where others stand: %v", is)
		}
		if d := cmp.Diff(loads, e.load().Loads); d != "" {
			t.Errorf("records of loads: -before +after\n%s", d)
		}
		if plan := e.plan(reconcile.Scope{}); len(plan.Steps) == 0 || plan.Steps[0].Action.Subject() != "binding/web" {
			t.Errorf("web is to be healed still:\n%s", text(plan))
		}
		e.converge()
		e.audit()

		e.LoseStore()
		for _, known := range []bool{false, true} {
			a.Known = known
			if _, err := a.Converge(t.Context(), reconcile.Scope{Only: []string{"roots"}}); err == nil {
				t.Errorf("a store that is lost was made anew, known to have been there: %t", known)
			}
		}
	})
}

// TestPlaced has the bindings by where their files are.
func TestPlaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		at := func(dir, volume string) reconcile.Location {
			return reconcile.Location{Host: "local", Dir: dir, Volume: volume}
		}
		client := at("/srv/client", "")
		client.Machine = true
		want := map[reconcile.Location][]string{
			at("/srv/web", ""): {"web"}, client: {"client"}, at("/srv/roots", ""): {"roots"}, at("", "db-certs"): {"db"}, at("", "many-certs"): {"many"},
		}
		if d := cmp.Diff(want, reconcile.Placed(e.spec, e.observe())); d != "" {
			t.Errorf("-want +got\n%s", d)
		}
	})
}
