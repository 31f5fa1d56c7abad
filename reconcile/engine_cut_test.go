package reconcile_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/memory"
	"github.com/certwright/certwright/reconcile"
)

// dies has certwright die before or after an effect, the n-th of that name.
func (e *estate) dies(when, effect string, n int) {
	e.t.Helper()
	dead := false
	e.Around = func(what string, do func() error) error {
		if dead {
			return errFault
		}
		if what == effect {
			n--
		}
		if dead = what == effect && n == 0; !dead {
			return do()
		}
		if when == "after" {
			_ = do()
		}
		return errFault
	}
	_, _ = e.applier().Converge(e.t.Context(), reconcile.Scope{})
	e.Around = nil
	if !dead {
		e.t.Fatalf("nothing does %q", effect)
	}
}

// refusesNext has dockerd come up with no certificate but the one that its identity has now, and counts how often it did not.
func (e *estate) refusesNext() (refused *int) {
	e.t.Helper()
	refused = new(int)
	first := e.load().Identities["engine"].Serial
	e.Refuse(func(serial string) string {
		if serial == first {
			return ""
		}
		*refused++
		return "it does not like it"
	})
	return refused
}

// TestEngineCutOffBetween ends certwright between the unit and the file, of an engine whose unit says where it listens. All of
// that is in its file in the end.
func TestEngineCutOffBetween(t *testing.T) {
	for _, effect := range []string{"write the drop-in of docker.service", "systemctl daemon-reload", "write daemon.json"} {
		t.Run(effect, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEstate(t)
				e.steady()
				e.withEngine()
				e.ChangeDockerd(func(d *reconcile.DaemonState) {
					d.Command = []string{"dockerd", "-H", "fd://", "-H=unix:///run/own.sock", "$OPTS"}
					d.Running = []string{"dockerd", "-H", "fd://", "-H=unix:///run/own.sock"}
				})
				e.dies("after", effect, 1)
				if err := e.Startable(); err != nil {
					t.Errorf("it is left so that a boot ends it: %v", err)
				}
				e.converge()
				e.audit()
				is := e.Dockerd()
				if got := strings.Join(is.Hosts.Values, " "); got != "fd:// unix:///run/own.sock tcp://0.0.0.0:2376" {
					t.Errorf("it listens on %s", got)
				}
				if d := cmp.Diff([]string{"dockerd", "$OPTS"}, is.Command); d != "" || is.Restarts != 1 {
					t.Errorf("%d restarts, -want +got\n%s", is.Restarts, d)
				}
			})
		})
	}
}

// TestEngineSettles ends certwright after dockerd came up: what it came up with is kept, without another restart, before
// anything else is begun.
func TestEngineSettles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		e.withEngine()
		e.dies("after", "restart dockerd", 1)
		const settle = "keep the configuration that docker.service has: a restart was cut off, and what it led to is proved\n"
		e.says("cut off", "1 "+settle)
		e.converge()
		if load := e.load().Loads["engine/dockerd"]; len(load.Restarts) > 0 || !load.Proved || e.BackByItself() {
			t.Errorf("what was cut off and is proved counts as failed, %+v, or is taken back", load)
		}
		e.wish("identity/engine")
		e.dies("after", "restart dockerd", 1)
		e.wish("identity/engine")
		e.says("cut off, and to be renewed", "1 issue engine: rotation asked for\n2 "+settle)
		refused := e.refusesNext()
		e.converge()
		is := e.Dockerd()
		if *refused != 1 || is.Restarts != 4 || is.TLS.Cert != "/etc/docker/tls/b/cert.pem" || !is.Active {
			t.Errorf("the way back of the next restart does not lead to what was proved: %d restarts, %+v", is.Restarts, is.DaemonState)
		}
		e.Refuse(nil)
		time.Sleep(time.Minute)
		e.converge()
		e.audit()
	})
}

// TestEngineUnread ends certwright before dockerd was restarted with one more socket: it shows what it should, and is restarted.
func TestEngineUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		e.withEngine()
		e.converge()
		e.edit("identities:", engineYAML, "bindings:", strings.Replace(engineBinding, `2376"]`, `2376", "tcp://0.0.0.0:2377"]`, 1))
		e.dies("after", "write daemon.json", 1)
		e.says("cut off", "1 restart docker.service, to read /etc/docker/tls/a: a restart was cut off\n")
		e.converge()
		if is := e.Dockerd(); is.Restarts != 2 {
			t.Errorf("%d restarts", is.Restarts)
		}
		e.audit()
	})
}

// TestEngineCutOffGoingBack ends certwright on its way back, when dockerd is down and is configured with the files of before
// again: those stay as they are, also while the next is tried.
func TestEngineCutOffGoingBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		e.withEngine()
		e.converge()
		e.refusesNext()
		e.wish("identity/engine")
		e.dies("after", "write daemon.json", 2)
		if is := e.Dockerd(); is.Active || is.TLS.Cert != "/etc/docker/tls/a/cert.pem" {
			t.Fatalf("it is not cut off where it should be: %+v", is.DaemonState)
		}
		e.converge()
		if is := e.Dockerd(); !is.Active || is.TLS.Cert != "/etc/docker/tls/a/cert.pem" {
			t.Errorf("it has not come back: %+v", is.DaemonState)
		}
		e.Refuse(nil)
		time.Sleep(time.Minute)
		e.converge()
		e.audit()
	})
}

// TestEngineHour has a dockerd that does not take its certificate: watch restarts it once more after an hour, and not before.
func TestEngineHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		e.withEngine()
		e.converge()
		e.refusesNext()
		e.wish("identity/engine")
		e.converge()
		tried := time.Now()
		watch := func() reconcile.Plan {
			return reconcile.Diff(e.spec, e.observe(), reconcile.Scope{Patient: true, Since: time.Now()})
		}
		for _, after := range []time.Duration{0, 5*time.Minute + time.Second, 59 * time.Minute} {
			time.Sleep(time.Until(tried.Add(after)))
			plan := watch()
			if !plan.Empty() || len(plan.Blocked) != 1 || plan.Blocked[0].State != reconcile.Failed {
				t.Errorf("watch after %s:\n%s", after, text(plan))
			}
			if wait := plan.Next.Sub(tried); wait < 59*time.Minute || wait > time.Hour {
				t.Errorf("watch after %s looks again %s after the try", after, wait)
			}
		}
		time.Sleep(time.Until(tried.Add(time.Hour + time.Second)))
		if plan := watch(); len(plan.Steps) != 1 || !plan.Steps[0].Action.Interrupts() {
			t.Errorf("watch after an hour:\n%s", text(plan))
		}
	})
}

// TestEngineBackByItself ends certwright, and nobody runs it again: dockerd has what it had, runs, and was not restarted for
// nothing.
func TestEngineBackByItself(t *testing.T) {
	for _, row := range []struct {
		when, effect string
		n, restarts  int
		back         bool
	}{
		{"after", "keep daemon.json of before", 1, 0, false},
		{"after", "arm the way back of dockerd", 1, 0, true},
		{"after", "write daemon.json", 1, 0, true},
		{"before", "restart dockerd", 1, 0, true},
		{"after", "restart dockerd", 1, 2, true},
		{"after", "write daemon.json", 2, 2, true},
		{"after", "restart dockerd as before", 1, 3, true},
		{"after", "disarm the way back of dockerd", 1, 2, false},
	} {
		t.Run(row.when+" "+row.effect, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEstate(t)
				e.steady()
				e.withEngine()
				e.converge()
				before := e.Dockerd()
				refused := e.refusesNext()
				e.wish("identity/engine")
				e.dies(row.when, row.effect, row.n)
				if back := e.BackByItself(); back != row.back {
					t.Errorf("it goes back by itself: %t", back)
				}
				is := e.Dockerd()
				if !is.Active || is.TLS != before.TLS || is.Restarts-before.Restarts != row.restarts {
					t.Errorf("after %d restarts it has %+v", is.Restarts-before.Restarts, is.DaemonState)
				}
				if row.restarts > 0 && *refused != 1 {
					t.Errorf("it did not start %d times", *refused)
				}
				e.Refuse(nil)
				time.Sleep(time.Minute)
				e.converge()
				e.audit()
			})
		})
	}
}

// cutOff has a renewal of a dockerd end right after its restart, and returns what dockerd was before that.
func (e *estate) cutOff() memory.Dockerd {
	e.t.Helper()
	e.steady()
	e.withEngine()
	e.converge()
	before := e.Dockerd()
	e.wish("identity/engine")
	e.dies("after", "restart dockerd", 1)
	return before
}

// TestEngineLeavesCutOff has the binding leave the spec after a restart that was cut off: what dockerd is about to go back to stays.
func TestEngineLeavesCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		before := e.cutOff()
		e.edit()
		e.converge()
		if !e.BackByItself() {
			t.Fatal("it does not go back by itself")
		}
		if is := e.Dockerd(); !is.Active || is.TLS != before.TLS {
			t.Errorf("it has %+v", is.DaemonState)
		}
		if err := e.Startable(); err != nil {
			t.Error(err)
		}
	})
}

// TestEngineBackAfterTwo ends certwright after dockerd came up, and the next run before it restarts it: what runs is what nobody
// has proved, so dockerd is restarted to go back.
func TestEngineBackAfterTwo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		before := e.cutOff()
		e.wish("identity/engine")
		e.dies("after", "commit state", 1) // it is to have a third one
		e.dies("before", "restart dockerd", 1)
		if !e.BackByItself() {
			t.Error("it does not go back by itself")
		}
		if is := e.Dockerd(); !is.Active || is.TLS != before.TLS || is.Restarts != before.Restarts+2 {
			t.Errorf("after %d restarts it has %+v", is.Restarts-before.Restarts, is.DaemonState)
		}
		e.converge()
		e.audit()
	})
}
