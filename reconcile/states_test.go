package reconcile_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certwright/certwright/providers/memory"
	"github.com/certwright/certwright/reconcile"
)

// state is where a binding stands now, in a run that began at since.
func (e *estate) state(binding string, since time.Time) reconcile.BindingStatus {
	e.t.Helper()
	w := e.observe()
	plan := reconcile.Diff(e.spec, w, reconcile.Scope{Since: since})
	for _, b := range reconcile.Assess(e.spec, w, plan).Bindings {
		if b.Name == binding {
			return b
		}
	}
	e.t.Fatalf("no binding %s", binding)
	return reconcile.BindingStatus{}
}

// behave replaces a binding's first container by one whose server behaves so.
func (e *estate) behave(binding string, b memory.Behaviour) {
	e.t.Helper()
	id := e.ids[binding][0]
	c, err := e.Container(id)
	if err != nil {
		e.t.Fatal(err)
	}
	if err := e.Destroy(id); err != nil {
		e.t.Fatal(err)
	}
	c.Server.Behaviour = b
	e.ids[binding][0] = e.Run(c)
}

// TestTheWireIsBelieved has servers of every kind after a renewal: what they serve counts, not what they were told.
func TestTheWireIsBelieved(t *testing.T) {
	for _, row := range []struct {
		binding   string
		behaviour memory.Behaviour
		want      reconcile.BindingState
		restarts  int
		reason    string
	}{
		{"web", memory.Reloads, reconcile.Ready, 0, ""},
		{"web", memory.Notices, reconcile.Ready, 0, ""},
		{"web", memory.Restarts, reconcile.Stale, 0, "not reloaded: web serves "},
		{"web", memory.Lies, reconcile.Stale, 0, "not reloaded: web serves "},
		{"web", memory.Dies, reconcile.Failed, 0, "web is not running (exited)"},
		{"db", memory.Restarts, reconcile.Ready, 1, ""},
		{"db", memory.Lies, reconcile.Stale, 1, "not reloaded: db serves "},
		{"db", memory.Crashes, reconcile.Failed, 1, "db is not running (exited)"},
		{"many", memory.Restarts, reconcile.Ready, 1, ""},
		{"many", memory.Lies, reconcile.Stale, 1, "not reloaded: many-0 serves "},
	} {
		t.Run(row.binding+" "+string(row.behaviour), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEstate(t)
				e.steady()
				e.behave(row.binding, row.behaviour)
				e.converge()
				begin := time.Now()
				e.wish("identity/" + row.binding)
				e.converge()
				got := e.state(row.binding, begin)
				if row.binding == "web" && got.State == reconcile.Stale && !strings.HasPrefix(got.Hint, "look at its logs (`docker logs web`)") {
					t.Errorf("hint %q", got.Hint) // a restart would end what still serves
				}
				if got.State != row.want || !strings.HasPrefix(got.Reason, row.reason) {
					t.Errorf("%s (%s), want %s (%s…)", got.State, got.Reason, row.want, row.reason)
				}
				c, err := e.Container(e.ids[row.binding][0])
				if err != nil || c.Restarts != row.restarts {
					t.Errorf("%d restarts, %v, want %d", c.Restarts, err, row.restarts)
				}
				if err := e.Check(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestWaveStops has three replicas of which the first does not come up on its new certificate: the others are left
// alone, in this run and in the next, until it is well again.
func TestWaveStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		e.behave("many", memory.Crashes)
		e.converge()
		e.wish("identity/many")
		e.converge()
		e.converge()
		for _, id := range e.ids["many"][1:] {
			if c, err := e.Container(id); err != nil || c.Restarts != 0 {
				t.Errorf("%s was restarted %d times, %v", c.Name, c.Restarts, err)
			}
		}
		if s := e.state("many", time.Now()); s.State != reconcile.Failed || !strings.HasPrefix(s.Reason, "many-0 is not running (exited): ") {
			t.Errorf("%s (%s), want Failed", s.State, s.Reason)
		}
		e.behave("many", memory.Restarts)
		e.converge()
		e.audit()
	})
}

// TestRestartsAreBounded applies again and again against a server that no restart helps.
func TestRestartsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		e.behave("db", memory.Lies)
		e.converge()
		e.wish("identity/db")
		count := func() int {
			c, err := e.Container(e.ids["db"][0])
			if err != nil {
				t.Fatal(err)
			}
			return c.Restarts
		}
		var begin time.Time
		for range 10 {
			begin = time.Now()
			e.converge()
		}
		if got := count(); got != 3 {
			t.Errorf("%d restarts in an hour, want 3", got)
		}
		if s := e.state("db", begin); s.State != reconcile.Stale || !strings.HasPrefix(s.Reason, "3 restarts within an hour") {
			t.Errorf("%s (%s)", s.State, s.Reason)
		}
		time.Sleep(61 * time.Minute)
		e.converge()
		if got := count(); got != 4 {
			t.Errorf("%d restarts after an hour, want 4", got)
		}
	})
}

// TestRestartsOfTheDead ends each run at its restart: those count as well.
func TestRestartsOfTheDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		e.behave("db", memory.Lies)
		e.converge()
		e.wish("identity/db")
		for range 8 {
			dead := false
			e.Around = func(what string, do func() error) error {
				if dead {
					return errFault
				}
				dead = what == "POST /containers/{id}/restart"
				return do()
			}
			e.converge()
			time.Sleep(time.Second)
		}
		if c, err := e.Container(e.ids["db"][0]); err != nil || c.Restarts != 3 {
			t.Errorf("%d restarts in an hour, %v, want 3", c.Restarts, err)
		}
	})
}

// TestRestartsThatHelped has a consumer that nothing is seen of: a restart that succeeded is none to be counted.
func TestRestartsThatHelped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.edit("reload: {signal: USR1}", "reload: restart")
		e.steady()
		for range 5 {
			e.wish("identity/client")
			e.converge()
			e.audit()
		}
	})
}

// TestUntriedCA has a CA that cannot sign when it is read back: nothing is issued by it.
func TestUntriedCA(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		a := e.applier()
		a.Authority = untried{a.Authority}
		failed := map[string]bool{}
		a.Report = func(ev reconcile.Event) {
			failed[ev.Step.Action.Subject()] = ev.Err != nil || failed[ev.Step.Action.Subject()]
		}
		if _, err := a.Converge(t.Context(), reconcile.Scope{}); err != nil || !failed["ca/internal"] || len(e.load().Identities) > 0 {
			t.Errorf("%v, %v", err, failed)
		}
		e.steady()
		e.wish("identity/web")
		if out, err := a.Converge(t.Context(), reconcile.Scope{}); err != nil || out.Failed["identity/web"] == "" {
			t.Errorf("%v, %v", err, out.Failed)
		}
		e.converge()
		e.audit()
	})
}

type untried struct{ reconcile.Authority }

func (untried) Check(reconcile.Generation, time.Time) error { return errFault }

// TestContested has another writer that undoes what was placed: after three times in ten minutes it is left in peace.
func TestContested(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		// Right after it was recorded another process of ours may be writing it: that is nobody's doing.
		e.Edit(rootsPlace, "ca.pem", []byte("not there yet\n"))
		e.converge()
		if row := e.observe().State.Places[rootsPlace]; len(row.Reverts) != 0 {
			t.Errorf("a place that is being written was reverted: %+v", row)
		}
		time.Sleep(5 * time.Second)
		written := 0
		for range 20 {
			e.Edit(rootsPlace, "ca.pem", []byte("mine\n"))
			written += len(e.converge().Done)
			time.Sleep(time.Second)
		}
		if written != 4 {
			t.Errorf("written %d times, want 4", written)
		}
		if s := e.state("roots", time.Now()); s.State != reconcile.Contested {
			t.Errorf("%s (%s), want Contested", s.State, s.Reason)
		}
		e.adopt("roots") // whoever asks for it means now
		if out := e.converge(); len(out.Done) != 1 {
			t.Errorf("%d steps of adopt, want 1", len(out.Done))
		}
		e.Edit(rootsPlace, "ca.pem", []byte("mine\n"))
		time.Sleep(11 * time.Minute)
		if out := e.converge(); len(out.Done) != 1 {
			t.Errorf("%d steps after ten minutes, want 1", len(out.Done))
		}
		e.audit()
	})
}

// TestFullDisk has a place that cannot be written, however often that is tried: nobody else is to blame.
func TestFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		refuse := true
		e.count("stage in /srv/roots", &refuse)
		for range 8 {
			e.converge()
			time.Sleep(time.Second)
		}
		if s := e.state("roots", time.Now()); s.State != reconcile.Failed || s.Reason != "place roots in /srv/roots: struck" {
			t.Errorf("%s (%s), want Failed, with the error", s.State, s.Reason)
		}
		refuse = false
		e.steady()
	})
}

// TestEditsAreNoContest has a spec that is edited again and again: what differs then is not someone else's doing.
func TestEditsAreNoContest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		for range 4 {
			e.edit("cas:", "cas:\n  other: {local: {}}", "    trust: [internal]\n    directory: /srv/roots", "    trust: [internal, other]\n    directory: /srv/roots")
			e.converge()
			e.read(estateYAML)
			e.converge()
		}
		e.audit()
	})
}

// TestAnotherInstallation has places of a certwright with another store, for a project of the same name.
func TestAnotherInstallation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		e.LoseStore()
		e.commit(reconcile.State{Project: "shop"})
		e.converge()
		for _, b := range []string{"web", "db", "many", "client", "roots"} {
			if s := e.state(b, time.Now()); s.State != reconcile.Blocked || !strings.HasPrefix(s.Reason, "it holds files of another certwright") {
				t.Errorf("%s is %s (%s), want Blocked", b, s.State, s.Reason)
			}
		}
		if err := e.Check(); err != nil {
			t.Error(err)
		}
	})
}

// TestDownForLong has a server that died of its reload: an hour later it is just one that does not run.
func TestDownForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		e.behave("web", memory.Dies)
		e.converge()
		e.wish("identity/web")
		e.converge()
		for _, want := range []reconcile.BindingState{reconcile.Failed, reconcile.Waiting} {
			if s := e.state("web", time.Now()); s.State != want {
				t.Errorf("%s (%s), want %s", s.State, s.Reason, want)
			}
			time.Sleep(61 * time.Minute)
		}
	})
}

// TestTheWireFails has a server that serves the wanted certificate, and shows something else on the wire that is wrong.
func TestTheWireFails(t *testing.T) {
	for _, row := range []struct {
		name string
		edit func(c *reconcile.Container, s *reconcile.Served)
		want reconcile.BindingState
		said string
	}{
		{"nothing", func(*reconcile.Container, *reconcile.Served) {}, reconcile.Ready, ""},
		{
			"a chain that does not verify", func(_ *reconcile.Container, s *reconcile.Served) { s.Untrusted = "x509: no" },
			reconcile.Failed, "web serves the wanted certificate, but a client would refuse it: x509: no",
		},
		{
			"no certificate is let in", func(_ *reconcile.Container, s *reconcile.Served) { s.Without = reconcile.LetIn },
			reconcile.Failed, "web lets clients in without a certificate",
		},
		{
			"a foreign one is let in", func(_ *reconcile.Container, s *reconcile.Served) { s.Foreign = reconcile.LetIn },
			reconcile.Failed, "web lets in clients with a certificate of a foreign CA",
		},
		{
			"a good one is refused", func(_ *reconcile.Container, s *reconcile.Served) { s.Accepted = reconcile.Refused },
			reconcile.Failed, "web refuses the client certificate it should accept",
		},
		{
			"no answer", func(_ *reconcile.Container, s *reconcile.Served) { *s = reconcile.Served{Err: "refused"} },
			reconcile.Failed, "web does not answer on port 443: refused",
		},
		{
			"no answer yet", func(c *reconcile.Container, s *reconcile.Served) {
				c.Health, *s = "starting", reconcile.Served{Err: "refused"}
			},
			reconcile.Waiting, "web is starting",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEstate(t)
				e.steady()
				w := e.observe()
				key := "web/" + e.ids["web"][0]
				served, all := w.Served[key], w.Engines["local"].Containers
				i := slices.IndexFunc(all, func(c reconcile.Container) bool { return c.Name == "web" })
				row.edit(&all[i], &served)
				w.Served[key] = served
				plan := reconcile.Diff(e.spec, w, reconcile.Scope{Since: time.Now()})
				s := reconcile.Assess(e.spec, w, plan)
				if b := s.Bindings[0]; b.State != row.want || b.Reason != row.said {
					t.Errorf("%s (%s), want %s (%s)", b.State, b.Reason, row.want, row.said)
				}
				if !plan.Empty() || s.Converged != row.want.Settled() || *s.Bindings[0].Served != (row.want == reconcile.Ready) {
					t.Errorf("converged: %t, served: %t, with the plan:\n%s", s.Converged, *s.Bindings[0].Served, text(plan))
				}
			})
		})
	}
}

// TestPausedConsumer has containers that come back for their files: these are not cleared.
func TestPausedConsumer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		e.edit("  client:\n    identity: client\n    container: client\n    path: /certs\n    reload: {signal: USR1}\n", "")
		for _, row := range []struct {
			state string
			steps int
		}{{"paused", 0}, {"restarting", 0}, {"exited", 1}} {
			w := e.observe()
			all := w.Engines["local"].Containers
			all[slices.IndexFunc(all, func(c reconcile.Container) bool { return c.Name == "client" })].State = row.state
			if plan := reconcile.Diff(e.spec, w, reconcile.Scope{Since: time.Now()}); len(plan.Steps) != row.steps {
				t.Errorf("%s:\n%s", row.state, text(plan))
			}
		}
	})
}

// TestLostSignal has an unprobed consumer whose signal got lost with the process that sent it: the next run sends it.
func TestLostSignal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		sent, dead := 0, false
		e.wish("identity/client")
		e.Around = func(what string, do func() error) error {
			if dead || what == "POST /containers/{id}/kill" {
				dead = true
				return errFault
			}
			return do()
		}
		e.converge()
		e.Around = func(what string, do func() error) error {
			if what == "POST /containers/{id}/kill" {
				sent++
			}
			return do()
		}
		e.converge()
		e.converge()
		if sent != 1 {
			t.Errorf("the signal was sent %d times by the next two runs, want once", sent)
		}
	})
}

// TestLostStore has files of ours and no store: nothing is made anew.
func TestLostStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		e.LoseStore()
		effects := 0
		e.Around = func(_ string, do func() error) error { effects++; return do() }
		_, err := e.applier().Converge(t.Context(), reconcile.Scope{})
		if err == nil || !strings.Contains(err.Error(), reconcile.ErrLostStore.Error()) || effects > 0 {
			t.Errorf("error %v after %d effects", err, effects)
		}
	})
}

// TestOddStore has a state that this program never wrote: it is refused, or does no harm, and nothing panics.
func TestOddStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		st := e.load()
		st.Owners["nobody's"] = reconcile.Owner{}
		e.commit(st)
		e.wish("identity/web")
		e.converge()
		st = e.load()
		st.CAs["other"] = reconcile.CA{Generations: []reconcile.Generation{{ID: 1, State: "odd"}}}
		e.commit(st)
		if _, err := e.applier().Converge(t.Context(), reconcile.Scope{}); err == nil || err.Error() != "the store is damaged: CA other has no active generation" {
			t.Error(err)
		}
	})
}

// TestNoCouriers has an engine that is reached through couriers only, and none may be started: what cannot be seen
// is neither wrong nor proved.
func TestNoCouriers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.SetEngine("local", memory.Engine{Remote: true})
		e.steady()
		w, plan := e.withoutCouriers()
		if !plan.Empty() || len(plan.Blocked) > 0 {
			t.Errorf("the plan is not empty:\n%s", text(plan))
		}
		for _, b := range reconcile.Assess(e.spec, w, plan).Bindings {
			if b.State != reconcile.Unverified {
				t.Errorf("%s is %s (%s), want Unverified", b.Name, b.State, b.Reason)
			}
			if seen := b.Name == "web" || b.Name == "roots"; (b.Placed != nil) != seen {
				t.Errorf("%s is placed: %v, want it known: %t", b.Name, b.Placed, seen)
			}
		}
	})
}

// withoutCouriers looks by reading only.
func (e *estate) withoutCouriers() (reconcile.World, reconcile.Plan) {
	e.t.Helper()
	w, err := reconcile.Observe(e.t.Context(), e.applier().Providers, e.spec, reconcile.Look{Probe: true, Now: time.Now()})
	if err != nil {
		e.t.Fatal(err)
	}
	return w, reconcile.Diff(e.spec, w, reconcile.Scope{Since: time.Now()})
}

// TestMovedOutOfSight has a binding move to where only a courier reaches, and none may be started: the files of before
// stay, as the new ones were not placed.
func TestMovedOutOfSight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.SetEngine("local", memory.Engine{Remote: true})
		e.steady()
		e.AddVolume("local", "anchors", nil)
		e.edit("directory: /srv/roots", "volume: anchors")
		if _, plan := e.withoutCouriers(); !plan.Empty() {
			t.Errorf("the plan is not empty:\n%s", text(plan))
		}
	})
}

// TestOwners has users that are looked up in the container: the spec's must be there, a preset's may be missing.
func TestOwners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.edit(`owner: "999:999"`, "owner: nobody-here")
		plan := e.plan(reconcile.Scope{})
		if len(plan.Blocked) != 1 || plan.Blocked[0].Subject != "binding/db" || !strings.HasPrefix(plan.Blocked[0].Reason, "owner nobody-here: ") {
			t.Errorf("an unknown owner:\n%s", text(plan))
		}
		e.edit(`owner: "999:999"`, "", "reload: [{signal: HUP}, restart]", "reload: [postgres, restart]")
		e.steady()
		if f := e.observe().Places[dbPlace].Files["key.pem"]; f.UID != 999 || f.GID != 999 {
			t.Errorf("the key is owned by %d:%d, want the container's own user", f.UID, f.GID)
		}
	})
}

// TestOwnerStays renews a certificate while the container that reads it is away, or its engine: it can read the next one.
func TestOwnerStays(t *testing.T) {
	for name, leaves := range map[string]func(e *estate, id string){
		"the container": func(e *estate, id string) { _ = e.Destroy(id) },
		"the engine":    func(e *estate, _ string) { e.SetEngine("local", memory.Engine{Down: "it is restarted"}) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEstate(t)
				e.create("roots", memory.Container{
					Container: reconcile.Container{Name: "x", Mounts: []reconcile.Mount{{Type: "bind", Source: "/srv/roots", Destination: "/certs"}}},
					User:      reconcile.Owner{UID: 101, GID: 102},
				})
				e.edit("    trust: [internal]\n    directory: /srv/roots\n", "    identity: client\n    container: x\n    directory: /srv/roots\n")
				e.steady()
				before := e.observe().Places[rootsPlace].Files["key.pem"]
				leaves(e, e.ids["roots"][0])
				e.wish("identity/client")
				e.converge()
				if f := e.observe().Places[rootsPlace].Files["key.pem"]; f.UID != 101 || f.GID != 102 || f.Holds == before.Holds {
					t.Errorf("the key is owned by %d:%d; renewed: %t", f.UID, f.GID, f.Holds != before.Holds)
				}
			})
		})
	}
}

// TestAdoptIsNotForEver has a wish to adopt that found nothing in the way: what comes a day later is left alone.
func TestAdoptIsNotForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		e.adopt("roots")
		e.converge()
		time.Sleep(25 * time.Hour)
		e.ForeignFile(rootsPlace, "ca.pem", []byte("theirs"))
		e.converge()
		if s := e.state("roots", time.Now()); s.State != reconcile.Blocked {
			t.Errorf("%s (%s), want Blocked", s.State, s.Reason)
		}
		if err := e.Check(); err != nil {
			t.Error(err)
		}
	})
}

// TestOnly has one binding applied alone, from nothing: what it stands on comes along.
func TestOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		want := `1 create CA internal: not there
2 create CA services: not there [1]
3 issue web: not issued [2]
4 place web in /srv/web: not placed [3]
Waiting binding/web: web is not running (created)
`
		if got := text(e.plan(reconcile.Scope{Only: []string{"web"}})); got != want {
			t.Errorf("the plan:\n%s", got)
		}
	})
}

// TestOnlyKeepsToItsPlaces has a binding that is applied alone and wants another's place.
func TestOnlyKeepsToItsPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		e.edit("directory: /srv/roots", "directory: /srv/client\n    files: {roots.pem: ca}")
		plan := e.plan(reconcile.Scope{Only: []string{"roots"}})
		if !plan.Empty() || len(plan.Blocked) != 1 || plan.Blocked[0].Reason != "/srv/client is also the place of binding client" {
			t.Errorf("the plan:\n%s", text(plan))
		}
	})
}

// TestNothingIsClearedUnseen has a binding that left the spec while its engine is away.
func TestNothingIsClearedUnseen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		e.wish("identity/web")
		e.converge()
		e.edit(estateYAML[strings.Index(estateYAML, "  web:\n    identity"):strings.Index(estateYAML, "  db:\n    identity")], "")
		e.SetEngine("local", memory.Engine{Down: "it is away"})
		for _, s := range e.plan(reconcile.Scope{}).Steps {
			t.Errorf("%s: %s", s.Action, s.Reason)
		}
	})
}

// TestStartedAgain has a container that was stopped while its certificate was renewed: it started with the new one,
// and nothing is left to do.
func TestStartedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		e.wish("identity/db")
		e.converge() // the container now has a record
		time.Sleep(time.Hour)
		if err := e.Stop(e.ids["db"][0]); err != nil {
			t.Fatal(err)
		}
		e.wish("identity/db")
		e.converge()
		e.start()
		e.audit()
	})
}

// TestUnmounted has a consumer without a probe that cannot see its files.
func TestUnmounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.edit("path: /certs\n    reload: {signal: USR1}", "directory: /srv/elsewhere\n    reload: none")
		e.converge()
		e.start()
		e.converge()
		s := e.state("client", time.Now())
		if s.State != reconcile.Waiting || s.Reason != "client does not mount /srv/elsewhere" || s.Hint == "" {
			t.Errorf("%s (%s), hint %q", s.State, s.Reason, s.Hint)
		}
	})
}

// TestElsewhere has a server that mounts another folder and serves what is there: that is the cause, not the reload.
func TestElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		e.edit("directory: /srv/web", "directory: /srv/elsewhere")
		e.wish("identity/web")
		e.converge()
		s := e.state("web", time.Now())
		if s.State != reconcile.Stale || !strings.HasPrefix(s.Reason, "web does not mount /srv/elsewhere") || !strings.HasPrefix(s.Hint, "mount it") {
			t.Errorf("%s (%s), hint %q", s.State, s.Reason, s.Hint)
		}
	})
}

// TestNobodyListensYet has a server that is started before there is a certificate: it ends for want of its files, and the
// engine would not start it again if it was sent a signal meanwhile.
func TestNobodyListensYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		w := e.observe()
		all := w.Engines["local"].Containers
		for i, c := range all {
			if c.Name == "web" {
				all[i].State = "running"
				w.Served[reconcile.TargetKey("web", c)] = reconcile.Served{Err: "connection refused"}
			}
		}
		placed := false
		for _, s := range reconcile.Diff(e.spec, w, reconcile.Scope{Since: time.Now()}).Steps {
			switch a := s.Action.(type) {
			case reconcile.Place:
				placed = placed || a.Binding == "web"
			case reconcile.Reload:
				t.Errorf("%s: %s", a, s.Reason)
			}
		}
		if !placed {
			t.Error("nothing is placed")
		}
	})
}

// TestPlacedByHalves has two containers with a place each: somebody's file stands in the one, nobody answers in the
// other. That this one fails does not make the first one placed.
func TestPlacedByHalves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		for _, name := range []string{"half-0", "half-1"} {
			e.create("client", memory.Container{Container: reconcile.Container{
				Name: name, Labels: map[string]string{"tier": "halves"},
				Mounts: []reconcile.Mount{{Type: "bind", Source: "/srv/" + name, Destination: "/certs"}},
			}})
		}
		e.edit("identity: client\n    container: client\n    path: /certs\n    reload: {signal: USR1}",
			"identity: web\n    container: {label: tier=halves}\n    path: /certs\n    reload: none\n    probe: {port: 443}")
		e.start()
		e.converge()
		e.ForeignFile(reconcile.Location{Host: "local", Dir: "/srv/half-0"}, "ca.pem", []byte("theirs"))
		if s := e.state("client", time.Now()); s.State != reconcile.Failed || *s.Placed {
			t.Errorf("%s (%s), placed %t, want Failed and not placed", s.State, s.Reason, *s.Placed)
		}
	})
}

// TestDoubt has replicas whose client checks did not all come to an end.
func TestDoubt(t *testing.T) {
	asked := reconcile.Served{Without: reconcile.Refused, Foreign: reconcile.Refused, Accepted: reconcile.LetIn}
	noClient, noAnswer, noForeign, nobody := asked, asked, asked, asked
	noClient.Accepted, noClient.NoClient, noClient.ClientErr = reconcile.NotAsked, true, "there is no client"
	noAnswer.Accepted, noAnswer.ClientErr = reconcile.NotAsked, "timed out"
	noForeign.Foreign, noForeign.ClientErr = reconcile.NotAsked, "timed out"
	nobody.Without, nobody.ClientErr = reconcile.NotAsked, "timed out"
	for _, row := range []struct {
		name  string
		first reconcile.Served
		last  reconcile.Served
		want  reconcile.BindingState
		said  string
	}{
		{"all", asked, asked, reconcile.Ready, ""},
		{"no client to be let in", noClient, asked, reconcile.Ready, "there is no client"},
		{"no answer to the client to be let in", asked, noAnswer, reconcile.Unverified, "whom many-2 lets in could not be found out: timed out"},
		{"no foreign one, after no client", noClient, noForeign, reconcile.Unverified, "whom many-2 lets in could not be found out: timed out"},
		{"none without a certificate", nobody, asked, reconcile.Unverified, "whom many-0 lets in could not be found out: timed out"},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEstate(t)
				e.steady()
				e.edit("    reload: restart\n    probe: {port: 443}", "    reload: restart\n    probe: {port: 443, clientAuth: required}")
				w := e.observe()
				for i, answer := range []reconcile.Served{row.first, asked, row.last} {
					key := "many/" + e.ids["many"][i]
					s := w.Served[key]
					s.Without, s.Foreign, s.Accepted = answer.Without, answer.Foreign, answer.Accepted
					s.NoClient, s.ClientErr = answer.NoClient, answer.ClientErr
					w.Served[key] = s
				}
				for _, b := range reconcile.Assess(e.spec, w, reconcile.Diff(e.spec, w, reconcile.Scope{Since: time.Now()})).Bindings {
					if b.Name == "many" && (b.State != row.want || b.Reason != row.said) {
						t.Errorf("%s (%s), want %s (%s)", b.State, b.Reason, row.want, row.said)
					}
				}
			})
		})
	}
}

// TestNoClient has a server whose good client is yet to be issued: only refusal is checked, and that is said.
func TestNoClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		e.edit("bindings:", "  caller: {ca: services, usages: [client]}\nbindings:", "clientAuth: required", "clientAuth: required, identity: caller")
		if s := e.state("web", time.Now()); s.State != reconcile.Ready || !strings.Contains(s.Reason, "only refusal was checked") {
			t.Errorf("%s (%s), want Ready with a doubt", s.State, s.Reason)
		}
		// It is a part of what proves the binding, also where that is applied alone.
		want := "1 issue caller: not issued\n"
		if got := text(e.plan(reconcile.Scope{Only: []string{"web"}})); got != want {
			t.Errorf("with --only web:\n%s", got)
		}
		e.converge()
		e.audit()
	})
}

// TestMovedPlaceFails has a path whose mount moved: the files of before go only when the new ones are there.
func TestMovedPlaceFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		e.edit("directory: /srv/roots", "directory: /srv/other")
		want := "1 place roots in /srv/other: not placed\n2 remove the files of roots from /srv/roots: the binding has another place now [1]\n"
		if got := text(e.plan(reconcile.Scope{})); got != want {
			t.Errorf("plan:\n%s", got)
		}
	})
}

// TestNext has bindings that watch gets on with by itself, each at a time of its own: that is what comes next, and not the
// first of all of them, nor nothing.
func TestNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		for _, b := range []string{"web", "db"} {
			e.behave(b, memory.Lies)
			e.converge()
			e.wish("identity/" + b)
		}
		for range 5 {
			e.converge()
			time.Sleep(10 * time.Second)
			e.Delete(reconcile.Location{Dir: "/srv/client"}, "cert.pem")
		}
		pass := func() (next, hint map[string]string) {
			t.Helper()
			out, err := e.applier().Converge(t.Context(), reconcile.Scope{Patient: true})
			if err != nil {
				t.Fatal(err)
			}
			next, hint = map[string]string{}, map[string]string{}
			for _, b := range reconcile.Assess(e.spec, out.World, out.Plan).Bindings {
				next[b.Name], hint[b.Name] = reconcile.Why(e.spec, out.World, out.Plan, b).Next, b.Hint
			}
			return next, hint
		}
		next, hint := pass()
		for binding, says := range map[string]string{"db": "certwright restarts it again after ", "client": "certwright writes there again after "} {
			when, is := strings.CutPrefix(next[binding], "nothing before ")
			if !is || !strings.Contains(hint[binding], says+when) {
				t.Errorf("%s: %q, and %q", binding, next[binding], hint[binding])
			}
		}
		when, err := time.Parse(time.RFC3339, strings.TrimPrefix(next["web"], "nothing before "))
		if err != nil || time.Until(when) < 0 || time.Until(when) > 5*time.Minute || next["web"] == next["db"] || next["web"] == next["client"] {
			t.Errorf("web: %q", next["web"])
		}
		e.SetEngine("local", memory.Engine{Down: "it is away"})
		if next, _ := pass(); next["many"] != "nothing before it answers: a running watch asks again and again" {
			t.Errorf("many: %q", next["many"])
		}
	})
}
