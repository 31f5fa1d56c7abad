package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// simpleYAML has two bindings that have nothing to do with each other but their CA.
const simpleYAML = `
version: 1
project: shop
cas:
  internal: {local: {lifetime: 10y}}
identities:
  web: {ca: internal, names: [web], lifetime: 90d}
  db: {ca: internal, names: [db], lifetime: 90d}
bindings:
  web: {identity: web, directory: /srv/web}
  db: {identity: db, directory: /srv/db}
`

// troubled is what an authority and places will not, or cannot do, and when they were asked for it.
type troubled struct {
	issue func(identity string) error // why an identity cannot be issued now
	write func(binding string) error  // why a binding cannot be placed now

	mu    sync.Mutex
	tries []time.Time // those that failed
}

func (x *troubled) failed(err error) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.tries = append(x.tries, time.Now())
	return err
}

// troubledCA is an authority in trouble.
type troubledCA struct {
	reconcile.Authority
	*troubled
}

// troubledPlaces are places in trouble.
type troubledPlaces struct {
	reconcile.Places
	*troubled
}

func (x troubledCA) Issue(id spec.Identity, by reconcile.Generation, reuse reconcile.PrivateKey, now time.Time) (reconcile.Issued, error) {
	if x.issue != nil {
		if err := x.issue(id.Name); err != nil {
			return reconcile.Issued{}, x.failed(err)
		}
	}
	return x.Authority.Issue(id, by, reuse, now)
}

func (x troubledPlaces) Write(ctx context.Context, units []reconcile.Unit) []error {
	errs := make([]error, len(units))
	var good []reconcile.Unit
	var of []int
	for i, u := range units {
		if x.write != nil {
			if err := x.write(u.Mark.Binding); err != nil {
				errs[i] = x.failed(err)
				continue
			}
		}
		good, of = append(good, u), append(of, i)
	}
	for i, err := range x.Places.Write(ctx, good) {
		errs[of[i]] = err
	}
	return errs
}

// newTroubled is an estate of a spec whose CA and places do as they are told.
func newTroubled(t *testing.T, yaml string) (*estate, *troubled) {
	t.Helper()
	e := newEstate(t)
	e.read(yaml)
	return e, &troubled{}
}

func (x *troubled) applier(e *estate) reconcile.Applier {
	a := e.applier()
	a.Authority, a.Places = troubledCA{a.Authority, x}, troubledPlaces{a.Places, x}
	return a
}

// watch is `certwright watch` over an estate for a time, started anew as often as is said; how many passes it made.
func (e *estate) watch(lasts, restart time.Duration, applier func() reconcile.Applier) (passes int) {
	e.t.Helper()
	for end := time.Now().Add(lasts); time.Now().Before(end); {
		ctx, cancel := context.WithTimeout(e.t.Context(), min(restart, time.Until(end)))
		w := reconcile.Watcher{Clock: time.Now, Interval: time.Hour, Idle: func() {}}
		w.Pass = func(ctx context.Context, _ string) (time.Time, bool) {
			passes++
			out, err := applier().Converge(ctx, reconcile.Scope{Patient: true})
			return out.Plan.Next, err == nil && out.Err == nil
		}
		w.Watch(ctx)
		cancel()
	}
	return passes
}

var errDown = errors.New("it is down")

func only(name string, err error) func(string) error {
	return func(is string) error {
		if is == name {
			return err
		}
		return nil
	}
}

// TestFailsForThirtyDays has a step that never succeeds, while watch is started again every hour: it is not tried more
// often than it may, and not much less often, and everything else gets on.
func TestFailsForThirtyDays(t *testing.T) {
	for _, row := range []struct {
		name        string
		x           *troubled
		restart     time.Duration
		least, most int // tries; jitter makes a wait up to a tenth longer
	}{
		// 1 s, 2 s, 4 s, … 4 min 16 s are nine tries in 8 min 31 s, and then there is one every five minutes.
		{"issue", &troubled{issue: only("web", errDown)}, time.Hour, 7800, 8648},
		{"place", &troubled{write: only("web", errDown)}, time.Hour, 7800, 8648},
		// 1 h, 2 h, … 16 h are five waits in 31 h, and then there is a try every 32 h.
		{"issue that is refused", &troubled{issue: only("web", fmt.Errorf("%w: no such account", reconcile.ErrRefused))}, time.Hour, 24, 27},
		{"issue with a Retry-After", &troubled{issue: only("web", reconcile.RetryAfter{Err: errDown, Wait: 10 * time.Hour})}, time.Hour, 65, 73},
		{"issue, and watch goes on", &troubled{issue: only("web", errDown)}, 1000 * time.Hour, 7800, 8648},
	} {
		t.Run(row.name, func(t *testing.T) {
			if testing.Short() && row.most > 100 { // under the race detector
				t.Skip("it is long")
			}
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				e, _ := newTroubled(t, simpleYAML)
				x := row.x
				passes := e.watch(30*day, row.restart, func() reconcile.Applier { return x.applier(e) })
				if n := len(x.tries); n < row.least || n > row.most {
					t.Errorf("%d tries, want %d to %d", n, row.least, row.most)
				}
				// An hour is the interval. A start and a try make a pass each.
				if most := 2*30*24 + 1 + len(x.tries); passes > most {
					t.Errorf("%d passes for %d tries, want up to %d", passes, len(x.tries), most)
				}
				if !e.holds("db") {
					t.Error("db was not placed")
				}
				t.Logf("%d tries, %d passes", len(x.tries), passes)
			})
		})
	}
}

// holds reports whether a binding's place has a certificate.
func (e *estate) holds(binding string) bool {
	at := reconcile.Location{Host: "local", Dir: "/srv/" + binding}
	c := e.Read(e.t.Context(), []reconcile.PlaceQuery{{At: at, Files: []string{"cert.pem"}}}, true)[0]
	return c.Files["cert.pem"].Data != nil
}

// patient is one pass of watch.
func (x *troubled) patient(e *estate) reconcile.Outcome {
	e.t.Helper()
	out, err := x.applier(e).Converge(e.t.Context(), reconcile.Scope{Patient: true})
	if err != nil {
		e.t.Fatal(err)
	}
	return out
}

// TestTriedAgainAtOnce has a row for each thing that makes watch try what it would leave for hours.
func TestTriedAgainAtOnce(t *testing.T) {
	for _, row := range []struct {
		name  string
		do    func(e *estate, x *troubled)
		tries int // after the first
	}{
		{"nothing", func(*estate, *troubled) {}, 0},
		{"a spec that moved", func(e *estate, _ *troubled) { e.read("# a line\n" + simpleYAML) }, 0},
		{"another binding", func(e *estate, _ *troubled) {
			e.read(strings.Replace(simpleYAML, "directory: /srv/db", "directory: /srv/other", 1))
		}, 0},
		{"its names", func(e *estate, _ *troubled) {
			e.read(strings.Replace(simpleYAML, "names: [web]", "names: [web, www]", 1))
		}, 1},
		{"its CA", func(e *estate, _ *troubled) {
			e.read(strings.Replace(simpleYAML, "internal: {local: {", "internal: {local: {subject: {organization: Shop}, ", 1))
		}, 1},
		{"a wish", func(e *estate, _ *troubled) {
			st := e.load()
			st.Wishes["identity/web"] = reconcile.Wish{At: time.Now()}
			e.commit(st)
		}, 1},
		{"a clock that is set back", func(e *estate, _ *troubled) {
			st := e.load()
			for key, f := range st.Failures {
				f.At, f.Next = f.At.Add(time.Hour), f.Next.Add(time.Hour)
				st.Failures[key] = f
			}
			e.commit(st)
		}, 1},
		{"apply", func(e *estate, x *troubled) {
			if out, err := x.applier(e).Converge(e.t.Context(), reconcile.Scope{}); err != nil || out.Err == nil {
				e.t.Error(out.Err, err)
			}
		}, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, x := newTroubled(t, simpleYAML)
				x.issue = only("web", fmt.Errorf("%w: no such account", reconcile.ErrRefused))
				x.patient(e)
				time.Sleep(time.Minute)
				row.do(e, x)
				x.patient(e)
				if got := len(x.tries) - 1; got != row.tries {
					t.Errorf("%d more tries, want %d", got, row.tries)
				}
				if f := e.load().Failures["identity/web issue"]; f.Count != 1 || !f.Refused {
					t.Errorf("the record is %+v", f)
				}
			})
		})
	}
}

// TestApplyClears has an apply that succeeds: what failed before is forgotten, and the next failure is the first.
func TestApplyClears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, x := newTroubled(t, simpleYAML)
		x.write = only("web", errDown)
		for range 4 {
			x.patient(e)
			time.Sleep(10 * time.Minute)
		}
		if f := e.load().Failures["binding/web place /srv/web"]; f.Count != 4 || f.Error != errDown.Error() {
			t.Errorf("the record is %+v", f)
		}
		works := x.write
		x.write = nil
		if out, err := x.applier(e).Converge(t.Context(), reconcile.Scope{}); err != nil || out.Err != nil {
			t.Fatal(out.Err, err)
		}
		if f := e.load().Failures; len(f) != 0 {
			t.Errorf("it remembers %+v", f)
		}
		x.write = works
		e.Delete(reconcile.Location{Host: "local", Dir: "/srv/web"}, "key.pem")
		x.patient(e)
		if f := e.load().Failures["binding/web place /srv/web"]; f.Count != 1 {
			t.Errorf("the record is %+v", f)
		}
	})
}

// TestNotAFailure has what is nobody's fault: it is not counted.
func TestNotAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, x := newTroubled(t, simpleYAML)
		x.patient(e)
		e.Delete(reconcile.Location{Host: "local", Dir: "/srv/web"}, "key.pem")
		ctx, cancel := context.WithCancel(t.Context())
		for _, row := range []struct {
			name  string
			write func(binding string) error
		}{
			{"a race", only("web", fmt.Errorf("%w: and so on", reconcile.ErrChanged))},
			{"an interruption", func(string) error { cancel(); return errDown }},
		} {
			x.write = row.write
			if err := x.applier(e).Apply(ctx, e.observe(), e.plan(reconcile.Scope{})); err == nil {
				t.Errorf("%s is no error", row.name)
			}
			if f := e.load().Failures; len(f) != 0 {
				t.Errorf("%s is remembered: %+v", row.name, f)
			}
		}
	})
}

// TestWhileItFails has what watch, plan and status say of a renewal that fails, and of a new identity. Files that somebody
// takes away come back meanwhile.
func TestWhileItFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, x := newTroubled(t, simpleYAML)
		x.patient(e)
		time.Sleep(60 * day)
		e.read(strings.Replace(simpleYAML, "  db: {ca", "  new: {ca: internal, names: [new]}\n  db: {ca", 1) + "  new: {identity: new, directory: /srv/new}\n")
		x.issue = func(name string) error {
			if name == "db" {
				return nil
			}
			return errDown
		}
		e.Delete(reconcile.Location{Host: "local", Dir: "/srv/web"}, "cert.pem")
		out := x.patient(e)
		if !e.holds("web") {
			t.Error("what was taken away did not come back")
		}
		again := time.Now().Add(time.Second).UTC().Format(time.RFC3339)
		said := map[string]reconcile.Refusal{}
		for _, r := range out.Plan.Blocked {
			said[r.Subject] = r
		}
		for subject, reason := range map[string]string{
			"identity/web": "issue web: it is down", "identity/new": "issue new: it is down", "binding/new": "identity new: issue new: it is down",
		} {
			if r := said[subject]; r.State != reconcile.Failed || r.Reason != reason || !strings.Contains(r.Hint, "after "+again) {
				t.Errorf("%s: %+v, want %s", subject, r, reason)
			}
		}
		if len(said) != 3 || !out.Plan.Next.After(time.Now()) || out.Plan.Next.After(time.Now().Add(1200*time.Millisecond)) {
			t.Errorf("next is %s, blocked are %v", out.Plan.Next, out.Plan.Blocked)
		}
		plan := e.plan(reconcile.Scope{})
		i := slices.IndexFunc(plan.Steps, func(s reconcile.Step) bool { return s.Action.Subject() == "identity/web" })
		if want := "expires soon; it failed, and a running watch tries again after " + again + ": it is down"; i < 0 || plan.Steps[i].Why() != want {
			t.Errorf("the plan is %v, want %s", plan, want)
		}
		status := reconcile.Assess(e.spec, e.observe(), plan)
		for _, b := range status.Bindings {
			want := map[string]reconcile.BindingState{"web": reconcile.Failed, "new": reconcile.Failed, "db": reconcile.Unverified}[b.Name]
			if b.State != want || want == reconcile.Failed && !strings.Contains(b.Reason+b.Hint, again) {
				t.Errorf("%+v, want %s", b, want)
			}
		}
		why := reconcile.Why(e.spec, e.observe(), plan, status.Bindings[0])
		if !strings.Contains(why.Next, "it failed, and a running watch tries again after "+again) {
			t.Errorf("next: %s", why.Next)
		}

		time.Sleep(time.Hour) // and no watch runs
		plan = e.plan(reconcile.Scope{})
		i = slices.IndexFunc(plan.Steps, func(s reconcile.Step) bool { return s.Action.Subject() == "identity/web" })
		if want := "expires soon; it failed, and a running watch tries again now: it is down"; i < 0 || plan.Steps[i].Why() != want {
			t.Errorf("an hour later the plan is %v, want %s", plan, want)
		}
		for _, b := range reconcile.Assess(e.spec, e.observe(), plan).Bindings {
			if b.Name == "web" && b.Hint != "mend what it says: a running watch tries again now, `certwright apply` at once" {
				t.Errorf("an hour later the hint is %q", b.Hint)
			}
		}
	})
}

// TestNotPlacedNotReloaded has a renewed certificate that cannot be placed: while that waits, its server, which serves the
// old one, is left in peace.
func TestNotPlacedNotReloaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		e.wish("identity/web")
		x := &troubled{write: only("web", errDown)}
		a := x.applier(e)
		h := &counting{Engines: a.Engines}
		a.Engines = h
		for range 2 {
			out, err := a.Converge(t.Context(), reconcile.Scope{Patient: true})
			if err != nil || !strings.Contains(said(out.Plan, "binding/web"), "place web in /srv/web: it is down; mend what it says: a running watch tries again after") {
				t.Errorf("%v; it says %v", err, out.Plan.Blocked)
			}
			e.unplaced(out, "web", "not as wanted in /srv/web: placed files differ: cert.pem, key.pem", "apply will place web in /srv/web (placed files differ: cert.pem, key.pem; it failed, and a running watch tries again after ")
		}
		if h.n != 0 || len(x.tries) != 1 {
			t.Errorf("%d reloads, %d tries", h.n, len(x.tries))
		}
	})
}

// unplaced wants what is said after a patient pass to be what was seen: a binding is not placed, why, and what comes next.
func (e *estate) unplaced(out reconcile.Outcome, binding, placed, next string) {
	e.t.Helper()
	all := reconcile.Assess(e.spec, out.World, out.Plan).Bindings
	b := all[slices.IndexFunc(all, func(b reconcile.BindingStatus) bool { return b.Name == binding })]
	if b.State != reconcile.Failed || b.Placed == nil || *b.Placed {
		e.t.Errorf("%s is %s, and that it is placed: %v", binding, b.State, b.Placed)
	}
	why := reconcile.Why(e.spec, out.World, out.Plan, b)
	if layers := fmt.Sprint(why.Layers); !strings.Contains(layers, "{placed "+placed+"}") || !strings.HasPrefix(why.Next, next) {
		e.t.Errorf("%s: want %s, and %s; it says %s, and %s", binding, placed, next, layers, why.Next)
	}
}

// TestNotIssuedNotPlaced has an identity that cannot be had: nothing of it is placed, and nobody says that it is. A renewal
// that waits leaves its binding as it is.
func TestNotIssuedNotPlaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		x := &troubled{issue: only("web", errDown)}
		patient := func() reconcile.Outcome {
			t.Helper()
			out, err := x.applier(e).Converge(t.Context(), reconcile.Scope{Patient: true})
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		e.unplaced(patient(), "web", "no: identity web is not issued", "apply will issue web (")
		x.issue = nil
		e.steady()
		e.wish("identity/web")
		x.issue = only("web", errDown)
		out := patient()
		if b := reconcile.Assess(e.spec, out.World, out.Plan).Bindings[0]; b.Name != "web" || b.State != reconcile.Ready || *b.Issued || !*b.Placed {
			t.Errorf("%s is %s; issued: %t, placed: %t", b.Name, b.State, *b.Issued, *b.Placed)
		}
	})
}

// TestTooMuchToSay keeps a bounded part of an error.
func TestTooMuchToSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, x := newTroubled(t, simpleYAML)
		x.write = only("web", errors.New(strings.Repeat("no more room, ☂", 1000)))
		x.patient(e)
		if f := e.load().Failures["binding/web place /srv/web"]; len(f.Error) > 510 || !strings.HasSuffix(f.Error, "…") || strings.ContainsRune(f.Error, '�') {
			t.Errorf("it keeps %d bytes: %q", len(f.Error), f.Error)
		}
	})
}

// hanging is an engine whose rungs hang in one container and panic in another.
type hanging struct {
	reconcile.Engines
	hangs, breaks string
	hung          time.Duration
}

func (h *hanging) Reload(ctx context.Context, to reconcile.Target, how spec.Reload, env reconcile.ReloadEnv) error {
	switch to.Name {
	case h.hangs:
		start := time.Now()
		<-ctx.Done()
		h.hung = time.Since(start)
		return ctx.Err()
	case h.breaks:
		_ = []int{}[len(h.breaks)]
	}
	return h.Engines.Reload(ctx, to, how, env)
}

// TestHangsAndPanics has a rung that hangs and one that panics: both end, as failures of their own, and the others are done.
func TestHangsAndPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		for _, name := range []string{"web", "db", "many", "client"} {
			e.wish("identity/" + name)
		}
		a := e.applier()
		h := &hanging{Engines: a.Engines, hangs: "web", breaks: "client"}
		a.Engines = h
		out, err := a.Converge(t.Context(), reconcile.Scope{Patient: true})
		if err != nil || h.hung == 0 || h.hung > 2*time.Minute {
			t.Fatalf("it hung for %s: %v", h.hung, err)
		}
		for name, want := range map[string]reconcile.BindingState{
			"web": reconcile.Stale, "db": reconcile.Ready, "many": reconcile.Ready, "client": reconcile.Stale, "roots": reconcile.Unverified,
		} {
			for _, b := range reconcile.Assess(e.spec, out.World, out.Plan).Bindings {
				if b.Name == name && b.State != want {
					t.Errorf("%s is %s (%s), want %s", name, b.State, b.Reason, want)
				}
				if b.Name == "client" && !strings.Contains(b.Reason, "index out of range") {
					t.Errorf("client: %s", b.Reason)
				}
			}
		}
	})
}

// panics is where providers break, with something in their mouths that nobody is to see.
type panics string

func (p panics) here(what string) {
	if string(p) == what {
		panic("-----BEGIN PRIVATE KEY-----")
	}
}

type panickingCA struct {
	reconcile.Authority
	panics
}

type panickingPlaces struct {
	reconcile.Places
	panics
}

type panickingFormats struct {
	reconcile.Formats
	panics
}

type panickingProber struct {
	reconcile.Prober
	panics
}

func (p panickingCA) Issue(id spec.Identity, by reconcile.Generation, reuse reconcile.PrivateKey, now time.Time) (reconcile.Issued, error) {
	if id.Name == "web" {
		p.here("issue")
	}
	return p.Authority.Issue(id, by, reuse, now)
}

func (p panickingCA) Check(g reconcile.Generation, now time.Time) error {
	p.here("check")
	return p.Authority.Check(g, now)
}

func (p panickingCA) Create(ca spec.CA, parent *reconcile.Generation, id int, now time.Time) (reconcile.Generation, error) {
	if ca.Name == "internal" {
		p.here("create")
	}
	return p.Authority.Create(ca, parent, id, now)
}

func (p panickingPlaces) Write(ctx context.Context, units []reconcile.Unit) []error {
	p.here("write")
	return p.Places.Write(ctx, units)
}

func (p panickingFormats) Encode(c spec.Content, h reconcile.Holding, alias, password string) ([]byte, error) {
	p.here("encode")
	return p.Formats.Encode(c, h, alias, password)
}

func (p panickingFormats) Decode(c spec.Content, data []byte, password string) (reconcile.Holding, error) {
	p.here("decode")
	return p.Formats.Decode(c, data, password)
}

func (p panickingProber) Probe(ctx context.Context, r reconcile.ProbeRequest) reconcile.Served {
	p.here("probe")
	return p.Prober.Probe(ctx, r)
}

// TestPanics has a row for each call of a provider that may break: it is a failure, nothing of what it said is told, and
// when it is mended the rest is done.
func TestPanics(t *testing.T) {
	for _, at := range []string{"create", "check", "issue", "encode", "write", "decode", "probe"} {
		t.Run(at, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEstate(t)
				if at == "decode" || at == "probe" {
					e.steady()
				}
				a := e.applier()
				a.Authority, a.Places = panickingCA{a.Authority, panics(at)}, panickingPlaces{a.Places, panics(at)}
				a.Formats, a.Prober = panickingFormats{a.Formats, panics(at)}, panickingProber{a.Prober, panics(at)}
				out, err := a.Converge(t.Context(), reconcile.Scope{Patient: true})
				if err != nil {
					t.Fatal(err)
				}
				said := fmt.Sprint(out.Err, out.Failed, text(out.Plan), e.load().Failures)
				for _, b := range reconcile.Assess(e.spec, out.World, out.Plan).Bindings {
					said += b.Reason
				}
				if strings.Contains(said, "PRIVATE KEY") || !strings.Contains(said, "panic with a string") {
					t.Errorf("it says %s", said)
				}
				if at == "issue" && e.load().Identities["db"].Serial == "" {
					t.Error("another one was not issued")
				}
				time.Sleep(time.Minute)
				e.steady()
			})
		})
	}
}

// TestLadderUnderWatch has a server that takes no reload: its ladder is climbed again after longer and longer times, however
// often watch is woken.
func TestLadderUnderWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		e.wish("identity/client")
		a := e.applier()
		h := &counting{Engines: a.Engines, err: errDown}
		a.Engines = h
		for range 360 { // an event every ten seconds
			if _, err := a.Converge(t.Context(), reconcile.Scope{Patient: true}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
		}
		if h.n < 14 || h.n > 21 {
			t.Errorf("%d reloads in an hour", h.n)
		}
		n := h.n
		if _, err := a.Converge(t.Context(), reconcile.Scope{}); err != nil || h.n != n+1 {
			t.Errorf("apply made %d reloads: %v", h.n-n, err)
		}
	})
}

type counting struct {
	reconcile.Engines
	err error
	n   int
}

func (c *counting) Reload(context.Context, reconcile.Target, spec.Reload, reconcile.ReloadEnv) error {
	c.n++
	return c.err
}
