package reconcile_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certwright/certwright/reconcile"
)

// TestSeen changes what was seen of an estate at rest, and says what that makes of a binding.
func TestSeen(t *testing.T) {
	container := func(w reconcile.World, name string) *reconcile.Container {
		all := w.Engines["local"].Containers
		return &all[slices.IndexFunc(all, func(c reconcile.Container) bool { return c.Name == name })]
	}
	serve := func(w reconcile.World, key string, change func(*reconcile.Served)) {
		s := w.Served[key]
		change(&s)
		w.Served[key] = s
	}
	for _, row := range []struct {
		name    string
		binding string
		see     func(e *estate, w reconcile.World)
		want    string
	}{
		{"a container between two starts", "db", func(_ *estate, w reconcile.World) {
			container(w, "db").State = "restarting"
		}, "Waiting: db is not running (restarting)"},
		{"one that ends again and again", "db", func(e *estate, w reconcile.World) {
			at := reconcile.Location{Host: "local", Volume: "db-certs"}
			r := w.State.Places[at]
			r.At = r.At.Add(-time.Hour)
			w.State.Places[at] = r
			container(w, "db").State = "restarting"
		}, "Failed: db ends again and again, although its files are there since "},
		{"a paused one", "db", func(_ *estate, w reconcile.World) {
			container(w, "db").State = "paused"
		}, "Waiting: db is not running (paused) (unpause the container)"},
		{"one that serves what it cannot see", "web", func(_ *estate, w reconcile.World) {
			container(w, "web").Mounts = nil
		}, "Ready: web does not mount /srv/web: it would not see the next certificate (mount it"},
		{"an expired certificate beside a good one", "many", func(e *estate, w reconcile.World) {
			serve(w, "many/"+e.ids["many"][1], func(s *reconcile.Served) { s.Serial, s.NotAfter = "0a", w.Now.Add(-time.Second) })
		}, "Expired: many-1 serves a certificate that expired "},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEstate(t)
				e.steady()
				w := e.observe()
				row.see(e, w)
				for _, b := range reconcile.Assess(e.spec, w, reconcile.Diff(e.spec, w, reconcile.Scope{Since: time.Now()})).Bindings {
					if got := string(b.State) + ": " + b.Reason + " (" + b.Hint + ")"; b.Name == row.binding && !strings.HasPrefix(got, row.want) {
						t.Errorf("%s, want %s", got, row.want)
					}
				}
			})
		})
	}
}

// TestPresetByCommand has a container of nginx's image: only where that runs is it sent nginx's signal.
func TestPresetByCommand(t *testing.T) {
	for command, want := range map[string]string{
		"":            "reload (nginx) client",
		"sleep 10000": "",
		"/docker-entrypoint.sh nginx -g 'daemon off;'": "reload (nginx) client",
	} {
		synctest.Test(t, func(t *testing.T) {
			e := newEstate(t)
			e.edit("    reload: {signal: USR1}\n", "")
			e.steady()
			e.wish("identity/client")
			w := e.observe()
			all := w.Engines["local"].Containers
			i := slices.IndexFunc(all, func(c reconcile.Container) bool { return c.Name == "client" })
			all[i].Image, all[i].Command = "nginx:1.29", command
			got := ""
			for _, s := range reconcile.Diff(e.spec, w, reconcile.Scope{Since: time.Now()}).Steps {
				if r, is := s.Action.(reconcile.Reload); is && !r.How.None {
					got = r.String()
				}
			}
			if got != want {
				t.Errorf("%q: %q, want %q", command, got, want)
			}
		})
	}
}

// TestFirstEnd is about an endpoint whose chain ends before its leaf: both ends are told.
func TestFirstEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		w := e.observe()
		key := "web/" + e.ids["web"][0]
		s, ca := w.Served[key], w.State.CAs["internal"].Generations[0]
		s.NotAfter, s.Chain = ca.NotAfter.Add(time.Hour), [][]byte{{0}, {1}, ca.Certificate}
		w.Served[key] = s
		status := reconcile.Assess(e.spec, w, reconcile.Diff(e.spec, w, reconcile.Scope{Since: time.Now()}))
		i := slices.IndexFunc(status.Bindings, func(b reconcile.BindingStatus) bool { return b.Name == "web" })
		b := status.Bindings[i]
		if got := b.Targets[0]; !got.NotAfter.Equal(s.NotAfter) || !got.ChainNotAfter.Equal(ca.NotAfter) {
			t.Errorf("ends %s and %s, want %s and %s", got.NotAfter, got.ChainNotAfter, s.NotAfter, ca.NotAfter)
		}
		if b.Identity != "web" {
			t.Errorf("its identity is %q", b.Identity)
		}
	})
}
