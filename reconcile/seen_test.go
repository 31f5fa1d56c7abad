package reconcile_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certwright/certwright/providers/memory"
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
	// ends has the first container of a binding end, and looks anew.
	ends := func(binding string, how reconcile.Ending) func(*estate, reconcile.World) {
		return func(e *estate, w reconcile.World) {
			_ = e.End(e.ids[binding][0], how)
			seen := e.observe()
			w.Engines["local"] = seen.Engines["local"]
			maps.Copy(w.Endings, seen.Endings)
		}
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
		{"one that stays, whatever its server is told", "many", func(e *estate, w reconcile.World) {
			id := e.ids["many"][1]
			serve(w, "many/"+id, func(s *reconcile.Served) { s.Serial, s.NotAfter = "0a", w.Now.Add(-time.Second) })
			w.State.Loads["many/"+id] = reconcile.Load{Binding: "many", Target: id, Rung: 9, Error: "it shows 0a still"}
		}, "Expired: many-1 serves a certificate that expired 1999-12-31T23:59:59Z; the last try: it shows 0a still (look at the server's logs and configuration"},
		{"a server on its loopback", "db", func(e *estate, w reconcile.World) {
			serve(w, "db/"+e.ids["db"][0], func(s *reconcile.Served) { s.Within = true })
		}, "Ready: db listens on its loopback alone: nobody but itself reaches it (have it listen on "},
		{"one in no network", "db", func(e *estate, w reconcile.World) {
			container(w, "db").Network = "none"
			serve(w, "db/"+e.ids["db"][0], func(s *reconcile.Served) { s.Within = true })
		}, "Ready: db is in no network: nobody but itself reaches it (give it a network"},
		{"one on its loopback, beside a proxy", "db", func(e *estate, w reconcile.World) {
			container(w, "client").Network = "container:" + e.ids["db"][0]
			serve(w, "db/"+e.ids["db"][0], func(s *reconcile.Served) { s.Within = true })
		}, "Ready:  ()"},
		{"a server that ended", "db", ends("db", reconcile.Ending{Code: 1}), "Failed: db is not running (exited): it ended with code 1 at 2000-01-01T00:00:00Z (`docker logs db` says why"},
		{"one that crashed", "db", ends("db", reconcile.Ending{Code: 139}), "Failed: db is not running (exited): it was ended by SEGV (code 139) at "},
		{"one without memory", "db", ends("db", reconcile.Ending{Code: 137, OOM: true}), "Failed: db is not running (exited): it ran out of memory and was ended (code 137) at 2000-01-01T00:00:00Z (give it more memory"},
		{"one that could not be started", "db", ends("db", reconcile.Ending{Code: 127, Error: "no such file", Stopped: true}), "Failed: db is not running (exited): it ended with code 127 at 2000-01-01T00:00:00Z, and the engine could not start it: no such file ("},
		{"one of two replicas that ended", "many", ends("many", reconcile.Ending{Code: 2}), "Failed: many-0 is not running (exited): it ended with code 2 at "},
		{"a stopped server", "db", ends("db", reconcile.Ending{Code: 143}), "Waiting: db is not running (exited): it was ended by TERM (code 143) at 2000-01-01T00:00:00Z (start the container)"},
		{"a killed server", "db", ends("db", reconcile.Ending{Code: 137}), "Waiting: db is not running (exited): it was ended by KILL (code 137) at "},
		{"one with a stop signal of its own", "db", ends("db", reconcile.Ending{Code: 131, StopSignal: "SIGQUIT"}), "Waiting: db is not running (exited): it was ended by QUIT (code 131) at "},
		{"one with a stop signal by number", "db", ends("db", reconcile.Ending{Code: 128 + 37, StopSignal: "37"}), "Waiting: db is not running (exited): it ended with code 165 at "},
		{"one that got another signal", "db", ends("db", reconcile.Ending{Code: 129}), "Failed: db is not running (exited): it was ended by HUP (code 129) at "},
		{"one that was stopped, and says 1 then", "db", ends("db", reconcile.Ending{Code: 1, Stopped: true}), "Waiting: db is not running (exited): it ended with code 1 at "},
		{"one that ended with its engine", "db", ends("db", reconcile.Ending{Code: 255}), "Waiting: db is not running (exited): it ended with its engine, or with code 255 at "},
		{"one that ended well", "db", ends("db", reconcile.Ending{}), "Waiting: db is not running (exited) (start the container)"},
		{"a client that ended", "client", ends("client", reconcile.Ending{Code: 1}), "Waiting: client is not running (exited) (start the container)"},
		{"a server that ended before it had its files", "db", func(e *estate, w reconcile.World) {
			ends("db", reconcile.Ending{Code: 1})(e, w)
			how := w.Endings[e.ids["db"][0]]
			how.At = how.At.Add(-time.Second)
			w.Endings[e.ids["db"][0]] = how
		}, "Waiting: db is not running (exited): it ended with code 1 at 1999-12-31T23:59:59Z, before it had its files (start the container)"},
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

// TestEndedBeforeItsFiles has a server end for want of its files: it waits to be started for as long as nobody does, however often they
// are written meanwhile.
func TestEndedBeforeItsFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		if err := e.End(e.ids["db"][0], reconcile.Ending{Code: 1}); err != nil {
			t.Fatal(err)
		}
		versions := map[int]bool{}
		for range 4 {
			time.Sleep(25 * 24 * time.Hour)
			e.converge()
			w := e.observe()
			versions[w.State.Places[reconcile.Location{Host: "local", Volume: "db-certs"}].Version] = true
			status := reconcile.Assess(e.spec, w, reconcile.Diff(e.spec, w, reconcile.Scope{Since: time.Now()}))
			i := slices.IndexFunc(status.Bindings, func(b reconcile.BindingStatus) bool { return b.Name == "db" })
			const want = "db is not running (exited): it ended with code 1 at 2000-01-01T00:00:00Z, before it had its files"
			if b := status.Bindings[i]; b.State != reconcile.Waiting || b.Reason != want {
				t.Errorf("it is %s: %s", b.State, b.Reason)
			}
		}
		if len(versions) < 2 {
			t.Error("its files were not renewed")
		}
	})
}

// TestNeverStarted has a server that never ran, and whose start was tried: what the engine says of that is told, and nothing where it
// says nothing.
func TestNeverStarted(t *testing.T) {
	for why, want := range map[string]string{
		"":             "Waiting: late is not running (created) (start the container)",
		"no such file": "Failed: late is not running (created): the engine could not start it: no such file (mend what the engine says, and start it)",
	} {
		synctest.Test(t, func(t *testing.T) {
			e := newEstate(t)
			e.edit("container: db\n", "container: late\n")
			id := e.Create(memory.Container{Container: reconcile.Container{
				Name: "late", Tried: true, Mounts: []reconcile.Mount{{Type: "volume", Name: "db-certs", Destination: "/certs"}},
			}})
			e.converge()
			w := e.observe()
			if why != "" {
				w.Endings[id] = reconcile.Ending{Code: 127, Error: why}
			}
			status := reconcile.Assess(e.spec, w, reconcile.Diff(e.spec, w, reconcile.Scope{Since: time.Now()}))
			i := slices.IndexFunc(status.Bindings, func(b reconcile.BindingStatus) bool { return b.Name == "db" })
			if b := status.Bindings[i]; string(b.State)+": "+b.Reason+" ("+b.Hint+")" != want {
				t.Errorf("%s: %s (%s), want %s", b.State, b.Reason, b.Hint, want)
			}
		})
	}
}
