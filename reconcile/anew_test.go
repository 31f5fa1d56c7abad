package reconcile_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certwright/certwright/reconcile"
)

// TestMadeAnew deletes the directories of running containers: what is placed there again they do not see before they
// are restarted. Where the ladder has a restart, and there is something to load, it is made.
func TestMadeAnew(t *testing.T) {
	for binding, dir := range map[string]string{"web": "/srv/web", "client": "/srv/client"} {
		synctest.Test(t, func(t *testing.T) {
			e := newEstate(t)
			e.steady()
			time.Sleep(time.Minute)
			e.DeletePlace(reconcile.Location{Host: "local", Dir: dir})
			if plan := text(e.plan(reconcile.Scope{})); strings.Contains(plan, "send") {
				t.Errorf("a signal cannot help:\n%s", plan)
			}
			if s := e.state(binding, time.Now()); s.Hint != "run `certwright apply`, and then restart "+binding {
				t.Errorf("while it is gone: %s (%s), hint %q", s.State, s.Reason, s.Hint)
			}
			e.converge()
			for range 2 {
				s := e.state(binding, time.Now())
				if s.State != reconcile.Stale || !strings.Contains(s.Reason, "the directory was made anew since the container started") || s.Hint != "restart "+binding {
					t.Errorf("%s (%s), hint %q", s.State, s.Reason, s.Hint)
				}
				w := e.observe()
				why := reconcile.Why(e.spec, w, reconcile.Diff(e.spec, w, reconcile.Scope{Since: time.Now()}), s)
				if l := why.Layers[3]; l.Name != "mounted" || !strings.Contains(l.Text, "the directory was made anew since the container started: restart "+binding) {
					t.Errorf("why: %+v", why.Layers)
				}
				e.converge()
			}
			if err := e.Start(e.ids[binding][0]); err != nil {
				t.Fatal(err)
			}
			e.converge()
			e.audit()
		})
	}
}

// TestMadeAnewWithARestart has a ladder that ends in a restart.
func TestMadeAnewWithARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.edit("directory: /srv/web\n    reload: {signal: HUP}", "directory: /srv/web\n    reload: [{signal: HUP}, restart]")
		e.steady()
		time.Sleep(time.Minute)
		e.DeletePlace(webPlace)
		if plan, want := text(e.plan(reconcile.Scope{})), "1 place web in /srv/web: not placed\n2 restart web: follows its files [1]\n"; plan != want {
			t.Errorf("plan:\n%s, want\n%s", plan, want)
		}
		e.converge()
		e.audit()
	})
}
