package reconcile_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/reconcile"
)

// TestFromNothing has the whole story of a first plan, then rest.
func TestFromNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		want := `1 create CA internal: not there
2 create CA services: not there [1]
3 issue web: not issued [2]
4 issue db: not issued [2]
5 issue many: not issued [1]
6 issue client: not issued [2]
7 place web in /srv/web: not placed [3]
8 place db in volume db-certs: not placed [1 4]
9 place many in volume many-certs: not placed [5]
10 place client in /srv/client: not placed [6]
11 place roots in /srv/roots: not placed [1]
Waiting binding/web: web is not running (created)
Waiting binding/db: db is not running (created)
Waiting binding/many: many-0 is not running (created)
Waiting binding/client: client is not running (created)
`
		if d := cmp.Diff(want, text(e.plan(reconcile.Scope{}))); d != "" {
			t.Errorf("-want +got:\n%s", d)
		}
		e.steady()
		for range 20 {
			time.Sleep(time.Hour)
			e.audit()
		}
	})
}

// TestUnkept has a store that takes nothing while somebody undoes a file: it is put right, and that the store does not work is
// said, by later passes with nothing to do as well, until it does.
func TestUnkept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		time.Sleep(time.Hour)
		a := e.applier()
		a.Memory = &reconcile.Memory{}
		pass := func(when string, want error) {
			t.Helper()
			out, err := a.Converge(t.Context(), reconcile.Scope{Patient: true})
			if err != nil || !errors.Is(out.Err, want) || !out.Plan.Empty() || len(out.Failed) > 0 {
				t.Errorf("%s: %v, %v, %v, left: %v", when, err, out.Err, out.Failed, out.Plan)
			}
		}
		refuse := true
		commits := e.count("commit state", &refuse)
		e.Delete(reconcile.Location{Dir: "/srv/web"}, "cert.pem")
		pass("something to do", errFault)
		e.audit()
		pass("nothing to do", errFault)
		refuse = false
		pass("the store works", nil)
		*commits = 0
		pass("nothing to do any more", nil)
		if *commits != 0 {
			t.Errorf("%d commits, and nothing to write", *commits)
		}
	})
}
