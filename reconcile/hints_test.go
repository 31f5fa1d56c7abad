package reconcile_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certwright/certwright/providers/memory"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// TestEndedProbeClient has the client that the probe knocks as end: that is not the server's fault.
func TestEndedProbeClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.edit("probe: {port: 443, clientAuth: required}", "probe: {port: 443, clientAuth: required, identity: client}",
			"usages: [client]}", "usages: [client], lifetime: 1d}")
		e.steady()
		time.Sleep(25 * time.Hour)
		s := e.state("web", time.Now())
		if s.State != reconcile.Failed || s.Reason != "the probe's client certificate (identity client) has ended" || s.Hint != "run `certwright apply`" {
			t.Errorf("%s (%s), hint %q", s.State, s.Reason, s.Hint)
		}
		e.converge()
		e.audit()
	})
}

// TestHintsOfABroughtCA has the files of a CA that was brought along end and go.
func TestHintsOfABroughtCA(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, g, _ := bring(t)
		hint := func() string {
			t.Helper()
			for _, r := range e.plan(reconcile.Scope{}).Blocked {
				if r.Subject == "ca/company" {
					return r.Hint
				}
			}
			t.Error("CA company is not blocked")
			return ""
		}
		for _, c := range e.spec.CAs {
			if c.Name == "company" {
				if err := os.Rename(c.Local.Certificate, c.Local.Certificate+".away"); err != nil {
					t.Fatal(err)
				}
			}
		}
		if got := hint(); !strings.Contains(got, "bring its files back") {
			t.Errorf("gone: hint %q", got)
		}
		for _, c := range e.spec.CAs {
			if c.Name == "company" {
				if err := os.Rename(c.Local.Certificate+".away", c.Local.Certificate); err != nil {
					t.Fatal(err)
				}
			}
		}
		time.Sleep(time.Until(g.NotAfter) + time.Hour)
		if got := hint(); !strings.Contains(got, "put a renewed certificate of the same key into ") || !strings.Contains(got, "docs/tls-yaml.md") {
			t.Errorf("ended: hint %q", got)
		}
	})
}

// TestHintOfContest says what ends a contest at once.
func TestHintOfContest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		for range 6 {
			time.Sleep(10 * time.Second)
			e.Edit(rootsPlace, "ca.pem", []byte("mine\n"))
			e.converge()
		}
		if s := e.state("roots", time.Now()); s.State != reconcile.Contested || !strings.Contains(s.Hint, "`certwright adopt roots` does at once") {
			t.Errorf("%s (%s), hint %q", s.State, s.Reason, s.Hint)
		}
	})
}

// TestLostStoreNamesAll names every place that holds files of a store that is gone.
func TestLostStoreNamesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		e.LoseStore()
		_, err := e.applier().Converge(t.Context(), reconcile.Scope{})
		want := "/srv/web, volume db-certs, volume many-certs, /srv/client, /srv/roots hold files of project shop"
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	})
}

// TestHintOfRestarting has a container that the engine starts again and again: it is not to be started.
func TestHintOfRestarting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		w := e.observe()
		for i, c := range w.Engines["local"].Containers {
			if c.Name == "web" {
				w.Engines["local"].Containers[i].State = "restarting"
			}
		}
		for _, r := range reconcile.Diff(e.spec, w, reconcile.Scope{Since: time.Now()}).Waiting {
			if r.Subject == "binding/web" && r.Hint != "look at its logs" {
				t.Errorf("%s, hint %q", r.Reason, r.Hint)
			}
		}
	})
}

// refusing has one server of a world refuse every connection.
type refusing struct {
	reconcile.Prober
	server string
}

func (r refusing) Probe(ctx context.Context, to reconcile.ProbeRequest) reconcile.Served {
	if to.ServerName == r.server {
		return reconcile.Served{At: to.Now, Err: "connection refused"}
	}
	return r.Prober.Probe(ctx, to)
}

// TestCrashing has a server that crashes again and again, with the files that it has: what is said of it is the same at every look.
func TestCrashing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		id := e.ids["db"][0]
		look := func() string {
			t.Helper()
			p := e.applier().Providers
			p.Prober = refusing{e.World, "db"}
			w, err := reconcile.Observe(t.Context(), p, e.spec, reconcile.Look{Couriers: true, Probe: true, Now: time.Now()})
			if err != nil {
				t.Fatal(err)
			}
			plan := reconcile.Diff(e.spec, w, reconcile.Scope{Since: time.Now()})
			for _, b := range reconcile.Assess(e.spec, w, plan).Bindings {
				if b.Name == "db" {
					return string(b.State) + ": " + b.Reason + " (" + b.Hint + ")\n" + text(plan)
				}
			}
			return ""
		}
		const reason = "db ends again and again, although its files are there since 2000-01-01T00:00:00Z"
		const want = "Failed: " + reason + " (look at its logs)\nFailed binding/db: " + reason + "\n"
		for i := range 40 {
			time.Sleep(2 * time.Second)
			if err := e.Crash(id, i%2); err != nil {
				t.Fatal(err)
			}
			if got := look(); got != want {
				t.Fatalf("%d: between two starts: %s", i, got)
			}
			time.Sleep(3 * time.Second)
			if err := e.Start(id); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			if got := look(); got != want {
				t.Fatalf("%d: while it runs: %s", i, got)
			}
		}
		// One that is well is no more said so of, nor one that was stopped.
		if s := e.state("db", time.Now()); s.State != reconcile.Ready {
			t.Errorf("%s (%s)", s.State, s.Reason)
		}
		time.Sleep(10 * time.Second)
		if got := look(); !strings.HasPrefix(got, "Failed: db does not answer on port 443: connection refused") {
			t.Errorf("it runs: %s", got)
		}
	})
}

// TestCrashedWithoutFiles has a server that its engine starts again for want of its files, which have just come.
func TestCrashedWithoutFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		id := e.ids["db"][0]
		_ = e.Start(id) // which says that it has no files
		if err := e.Crash(id, 1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		e.converge()
		if s := e.state("db", time.Now()); s.State != reconcile.Waiting {
			t.Errorf("%s (%s)", s.State, s.Reason)
		}
		time.Sleep(time.Second) // it ran since before that, and did not see them
		if err := e.Crash(id, 1); err != nil {
			t.Fatal(err)
		}
		if s := e.state("db", time.Now()); s.State != reconcile.Waiting {
			t.Errorf("%s (%s)", s.State, s.Reason)
		}
	})
}

// TestHintOfSilence has a server that takes connections and does not answer, as one that was stopped does.
func TestHintOfSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		w := e.observe()
		w.Served["web/"+e.ids["web"][0]] = reconcile.Served{Err: "no answer to the TLS handshake within 5s"}
		plan := reconcile.Diff(e.spec, w, reconcile.Scope{Since: time.Now()})
		if s := reconcile.Assess(e.spec, w, plan).Bindings[0]; !strings.HasSuffix(s.Hint, "; or restart it") {
			t.Errorf("%s (%s), hint %q", s.State, s.Reason, s.Hint)
		}
	})
}

// TestMatrixOfAWorseServer has a server let a client in and show a certificate that the client would refuse.
func TestMatrixOfAWorseServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		c, err := e.Container(e.ids["web"][0])
		if err != nil || c.Server.Behaviour != memory.Reloads || c.Server.ClientAuth != spec.ClientAuthRequired {
			t.Fatalf("%+v, %v", c.Server, err)
		}
		s, w := e.spec, e.observe()
		for i := range s.Bindings {
			if s.Bindings[i].Name == "web" {
				s.Bindings[i].Probe.ServerName = "another"
			}
		}
		edges := reconcile.Matrix(t.Context(), e.applier().Providers, s, w, []string{"web"}, true)
		if len(edges) == 0 {
			t.Fatal("no edges")
		}
		for _, edge := range edges {
			if words := edge.Words(); !strings.HasPrefix(words, "let in, but the client would refuse the server: x509") || edge.Answer != reconcile.LetIn {
				t.Errorf("%s → %s: %s", edge.Client, edge.Server, words)
			}
		}
	})
}

// TestNothingTellsIt has a server that is told of nothing: the hint names what its image takes, and a restart where nobody knows it.
func TestNothingTellsIt(t *testing.T) {
	for image, want := range map[string]string{"nginx:1.27": "`reload: nginx`", "somebody/server": "`reload: restart`"} {
		synctest.Test(t, func(t *testing.T) {
			e := newEstate(t)
			e.edit("directory: /srv/web\n    reload: {signal: HUP}", "directory: /srv/web\n    reload: none")
			e.steady()
			begin := time.Now()
			e.wish("identity/web")
			e.converge()
			w := e.observe()
			all := w.Engines["local"].Containers
			for i := range all {
				all[i].Image, all[i].Command = image, ""
			}
			plan := reconcile.Diff(e.spec, w, reconcile.Scope{Since: begin})
			if len(plan.Blocked) != 1 || plan.Blocked[0].State != reconcile.Stale || !strings.Contains(plan.Blocked[0].Hint, want) {
				t.Errorf("%s: %s\n%+v", image, text(plan), plan.Blocked)
			}
		})
	}
}

// TestSignalThatEnds has a server that ends of the signal that was to reload it. What to give it instead is said while it is down, and
// by lint when it runs again.
func TestSignalThatEnds(t *testing.T) {
	for image, want := range map[string]string{"somebody/server": "`reload: restart`, or what has it read its files", "postgres:16": "`reload: restart`, or what has it read its files", "redis:7": "`reload: redis`"} {
		t.Run(image, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEstate(t)
				e.steady()
				e.behave("web", memory.Dies)
				e.converge()
				begin := time.Now()
				e.wish("identity/web")
				e.converge()
				looked := func() reconcile.World {
					w := e.observe()
					for i, c := range w.Engines["local"].Containers {
						if c.Name == "web" {
							w.Engines["local"].Containers[i].Image = image
						}
					}
					return w
				}
				w := looked()
				hint := ""
				for _, r := range reconcile.Diff(e.spec, w, reconcile.Scope{Since: begin}).Blocked {
					hint += r.Hint
				}
				if want := "HUP ends it: let " + want + " be its way, and start it; `docker logs web` has what it said last"; hint != want {
					t.Errorf("hint %q, want %q", hint, want)
				}
				e.start()
				w = looked()
				said := ""
				for _, f := range reconcile.Lint(e.spec, w) {
					if strings.Contains(f.Reason, "web ended when it was sent HUP the last time") {
						said = f.Hint
					}
				}
				if wanted := !strings.HasPrefix(image, "redis"); (said == want) != wanted {
					t.Errorf("lint says %q", said) // of Redis it says so already by its image
				}
			})
		})
	}
}

// TestHintsOfPlaces has places of all kinds that cannot be read: what helps is said of each.
func TestHintsOfPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		e.withStores()
		e.edit("bindings:\n", "bindings:\n"+batch, "path: /certs", "path: /certs/tls")
		e.converge()
		w := e.observe()
		folder := reconcile.Location{Host: "local", Dir: "/srv/client", Machine: true, Sub: "tls"}
		const root, stands = "let root of the engine's machine read ", "a file stands there, or above it, "
		for at, is := range map[reconcile.Location]struct{ binding, denied, between string }{
			rootsPlace:                          {"roots", "run certwright as a user that may ", stands},
			{Host: "local", Volume: "db-certs"}: {"db", root, stands},
			folder:                              {"client", root, "below a mount no link is followed: "},
			inStore(e.ids["batch"][0]):          {"batch", "let root of the container ", stands},
		} {
			for err, want := range map[string]string{
				"open /x: permission denied":                 is.denied,
				"fchown: operation not permitted":            is.denied,
				"certutil: Permission denied":                is.denied,
				"open /x: too many levels of symbolic links": "the links on the way ",
				"mkdir /x: read-only file system":            "its file system is read-only",
				"open /x: not a directory":                   is.between,
			} {
				was, there := w.Places[at]
				if !there {
					t.Fatalf("%s is no place of %s", at, is.binding)
				}
				w.Places[at] = reconcile.PlaceState{Err: err}
				status := reconcile.Assess(e.spec, w, reconcile.Diff(e.spec, w, reconcile.Scope{Since: time.Now()}))
				w.Places[at] = was
				i := slices.IndexFunc(status.Bindings, func(b reconcile.BindingStatus) bool { return b.Name == is.binding })
				if b := status.Bindings[i]; b.State != reconcile.Blocked || b.Reason != err || !strings.HasPrefix(b.Hint, want) {
					t.Errorf("%s: %s: %s (%s), hint %q, want %s", at, err, b.State, b.Reason, b.Hint, want)
				}
			}
		}
	})
}

// TestHintOfAPlaceNotWritten has a place that can be read and not written.
func TestHintOfAPlaceNotWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		x := &troubled{write: only("roots", errors.New("mkdir /srv/roots: permission denied"))}
		for _, patient := range []bool{false, true} {
			out, err := x.applier(e).Converge(t.Context(), reconcile.Scope{Patient: patient})
			if err != nil && patient {
				t.Fatal(err)
			}
			w := e.observe()
			status := reconcile.Assess(e.spec, w, out.Plan)
			i := slices.IndexFunc(status.Bindings, func(b reconcile.BindingStatus) bool { return b.Name == "roots" })
			const want = "run certwright as a user that may read and write there; a running watch tries again "
			if b := status.Bindings[i]; b.State != reconcile.Failed || !strings.HasPrefix(b.Hint, want) {
				t.Errorf("patient %t: %s (%s), hint %q", patient, b.State, b.Reason, b.Hint)
			}
		}
	})
}

// TestHintOfAnEarlyClock has a clock that is behind what a server shows, and a server that is at fault itself.
func TestHintOfAnEarlyClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		for behind, want := range map[time.Duration]string{
			0:              "compare the identity's names",
			48 * time.Hour: "set the clock of this machine; if it is right now, and was not then, `certwright rotate identity/db`",
		} {
			w := e.observe()
			w.Now = w.Now.Add(-behind)
			key := "db/" + e.ids["db"][0]
			served := w.Served[key]
			served.Untrusted = "not valid before tomorrow"
			w.Served[key] = served
			said := ""
			for _, r := range reconcile.Diff(e.spec, w, reconcile.Scope{}).Blocked {
				if r.Subject == "binding/db" {
					said = r.Hint
				}
			}
			if !strings.HasPrefix(said, want) {
				t.Errorf("%s behind: hint %q, want %q", behind, said, want)
			}
		}
	})
}
