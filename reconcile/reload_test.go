package reconcile_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certwright/certwright/providers/memory"
	"github.com/certwright/certwright/reconcile"
)

const kill = "POST /containers/{id}/kill"

// moreTrust gives a binding's servers another CA to trust. The certificate they serve stays.
func (e *estate) moreTrust(binding string) {
	e.t.Helper()
	old, more := "identity: "+binding+"\n    trust: [internal]", "identity: "+binding+"\n    trust: [internal, other]"
	if binding != "db" {
		old = "identity: " + binding + "\n"
		more += "\n"
	}
	e.edit("cas:", "cas:\n  other: {local: {}}", old, more)
}

// count counts an effect, and refuses it while refuse is true.
func (e *estate) count(effect string, refuse *bool) *int {
	n := new(int)
	e.Around = func(what string, do func() error) error {
		if what != effect {
			return do()
		}
		*n++
		if *refuse {
			return errFault
		}
		return do()
	}
	return n
}

// TestTrustThatWasNotLoaded has a server that cannot be told of its new trust. It serves the same certificate before
// and after, so the wire says nothing: only a rung that succeeded does.
func TestTrustThatWasNotLoaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		begin, refuse := time.Now(), true
		e.count(kill, &refuse)
		e.moreTrust("web")
		out := e.converge()
		if s := e.state("web", begin); s.State != reconcile.Stale || *s.Loaded || !strings.Contains(s.Reason, errFault.Error()) {
			t.Errorf("%s (%s), loaded %t, want Stale", s.State, s.Reason, *s.Loaded)
		}
		if len(out.Plan.Blocked) != 1 {
			t.Errorf("nothing is said:\n%s", text(out.Plan))
		}
		refuse = false
		time.Sleep(time.Second)
		if out := e.converge(); len(out.Done) != 1 {
			t.Errorf("the next run did %d steps, want the reload", len(out.Done))
		}
		e.audit()
	})
}

// TestLadderForTrust has a ladder whose first rung fails when only trust changed: the next one is taken.
func TestLadderForTrust(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		refuse := true
		e.count(kill, &refuse)
		e.moreTrust("db")
		e.converge()
		if c, err := e.Container(e.ids["db"][0]); err != nil || c.Restarts != 1 {
			t.Errorf("%d restarts, %v, want one", c.Restarts, err)
		}
		e.audit()
	})
}

// TestReloadThatShowedLate has a server that took longer than a rung has: once it serves what it should, there is
// nothing left to do, in this run or another.
func TestReloadThatShowedLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		e.olderServed("web")
		if s := e.state("web", time.Now()); s.State != reconcile.Stale {
			t.Fatalf("%s (%s), want Stale", s.State, s.Reason)
		}
		if err := e.Start(e.ids["web"][0]); err != nil {
			t.Fatal(err)
		}
		e.audit()
	})
}

// TestRungsThatReadTheSame has a ladder of two requests of which none helps: both are made.
func TestRungsThatReadTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.edit("reload: {signal: HUP}", "reload: [{exec: [sh, -c, one]}, {exec: [sh, -c, two]}]")
		e.steady()
		e.behave("web", memory.Lies)
		e.converge()
		refuse := true
		sent := e.count("POST /exec/{id}/start", &refuse)
		e.wish("identity/web")
		e.converge() // with its files
		time.Sleep(time.Second)
		*sent = 0
		e.converge()
		if *sent != 2 {
			t.Errorf("%d requests, want 2", *sent)
		}
	})
}

// slow is a wire on which servers do not answer before a time.
type slow struct {
	reconcile.Prober
	until *time.Time
}

func (s slow) Probe(ctx context.Context, r reconcile.ProbeRequest) reconcile.Served {
	if time.Now().Before(*s.until) {
		return reconcile.Served{Err: "connection refused"}
	}
	return s.Prober.Probe(ctx, r)
}

// TestSlowRestart has servers that take longer to come up than a restart is waited for. Only their trust changed, so that
// the wire shows the same before and after: each is restarted once.
func TestSlowRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		e.moreTrust("many")
		var up time.Time
		e.Around = func(what string, do func() error) error {
			if what == "POST /containers/{id}/restart" {
				up = time.Now().Add(time.Minute)
			}
			return do()
		}
		for range 8 {
			a := e.applier()
			a.Prober = slow{e.World, &up}
			if _, err := a.Converge(t.Context(), reconcile.Scope{}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Minute)
		}
		for _, id := range e.ids["many"] {
			if c, err := e.Container(id); err != nil || c.Restarts != 1 {
				t.Errorf("%s was restarted %d times, %v", c.Name, c.Restarts, err)
			}
		}
		e.audit()
	})
}

// TestDeathBetweenTrustAndReload ends the process after the places were written and before anything was reloaded.
// The servers started after their files were placed, so that no reload of theirs was ever recorded.
func TestDeathBetweenTrustAndReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		e.diesBeforeReload()
	})
}

// TestDeathAfterAStart is the same, of a server whose last load was a start of its own: the record is about older files.
func TestDeathAfterAStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		e.wish("identity/web")
		e.converge() // the container now has a record
		time.Sleep(time.Hour)
		if err := e.Stop(e.ids["web"][0]); err != nil {
			t.Fatal(err)
		}
		e.wish("identity/web")
		e.converge()
		e.start()
		time.Sleep(time.Hour)
		e.diesBeforeReload()
	})
}

// diesBeforeReload gives the web server more trust and ends the process before it is told. The next run tells it.
func (e *estate) diesBeforeReload() {
	e.t.Helper()
	dead := false
	e.Around = func(_ string, do func() error) error {
		if dead {
			return errFault
		}
		return do()
	}
	e.moreTrust("web")
	a := e.applier()
	a.Report = func(ev reconcile.Event) {
		if _, is := ev.Step.Action.(reconcile.Reload); is {
			dead = true
		}
	}
	_, _ = a.Converge(e.t.Context(), reconcile.Scope{})
	if !dead {
		e.t.Fatal("it came to no reload")
	}
	refuse := false
	sent := e.count(kill, &refuse)
	e.converge()
	if *sent != 1 {
		e.t.Errorf("the signal was sent %d times by the next run, want once", *sent)
	}
	e.audit()
}

// TestWaveStopsAtASignal has replicas that die of the signal they are sent: one does, in this run and in the next, and
// the others go on serving.
func TestWaveStopsAtASignal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.edit("reload: restart", "reload: {signal: HUP}")
		e.steady()
		for i, id := range e.ids["many"] {
			c, err := e.Container(id)
			if err != nil {
				t.Fatal(err)
			}
			if err := e.Destroy(id); err != nil {
				t.Fatal(err)
			}
			c.Server.Behaviour = memory.Dies
			e.ids["many"][i] = e.Run(c)
		}
		e.converge()
		e.wish("identity/many")
		e.converge()
		time.Sleep(time.Second)
		e.converge()
		for i, id := range e.ids["many"] {
			if c, err := e.Container(id); err != nil || c.Running() != (i > 0) {
				t.Errorf("%s is %s, %v", c.Name, c.State, err)
			}
		}
		if s := e.state("many", time.Now()); s.State != reconcile.Failed {
			t.Errorf("%s (%s), want Failed", s.State, s.Reason)
		}
	})
}

// TestRestartOfNoUse has a container that does not mount the place: a restart would interrupt it and change nothing.
func TestRestartOfNoUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.edit("  roots:\n    trust: [internal]\n    directory: /srv/roots\n",
			"  roots:\n    trust: [internal]\n    container: db\n    directory: /srv/roots\n    reload: [{signal: HUP}, restart]\n")
		e.converge()
		e.start()
		refuse := false
		restarts := e.count("POST /containers/{id}/restart", &refuse)
		e.edit("cas:", "cas:\n  other: {local: {}}", "  roots:\n    trust: [internal]\n    directory: /srv/roots\n",
			"  roots:\n    trust: [internal, other]\n    container: db\n    directory: /srv/roots\n    reload: restart\n")
		out := e.converge()
		if n := *restarts; n != 0 {
			t.Errorf("%d restarts", n)
		}
		if s := e.state("roots", time.Now()); s.State != reconcile.Stale || !strings.Contains(s.Reason, "db does not mount /srv/roots") || s.Hint == "" {
			t.Errorf("%s (%s), hint %q; %v", s.State, s.Reason, s.Hint, out.Err)
		}
	})
}

// TestFilesThatMend has a server that serves nothing after it was made to load files that are no pair. The files that mend it
// are loaded by the next reload, though nothing answers until then.
func TestFilesThatMend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		holds := func(content string) {
			e.edit("directory: /srv/web\n", "directory: /srv/web\n    files: {ca.pem: ca, cert.pem: fullchain, key.pem: "+content+"}\n")
		}
		holds("key")
		e.steady()
		e.behave("web", memory.Breaks)
		holds("ca")
		e.converge()
		if s := e.state("web", time.Now()); s.State != reconcile.Failed || !strings.Contains(s.Reason, "does not answer") {
			t.Fatalf("%s (%s), want Failed", s.State, s.Reason)
		}
		sent := e.count(kill, new(bool))
		holds("key")
		e.converge()
		if s := e.state("web", time.Now()); s.State != reconcile.Ready || *sent != 1 {
			t.Errorf("%s (%s) after %d signals, want Ready after one", s.State, s.Reason, *sent)
		}
		e.audit()
	})
}
