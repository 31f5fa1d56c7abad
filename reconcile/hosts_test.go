package reconcile_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certwright/certwright/providers/memory"
	"github.com/certwright/certwright/reconcile"
)

// fleet is an estate of ten hosts with a server each. A host in slow answers after that time, if it is waited for; like a
// real engine it gives up after ten seconds.
type fleet struct {
	reconcile.Engines
	reconcile.Places
	*estate
	text  string // of its spec
	mu    sync.Mutex
	slow  map[string]time.Duration
	heavy map[string]time.Duration // how long it takes to write there
	asked map[string]int
	done  map[string]time.Time // when the last step of a binding ended
}

func newFleet(t *testing.T) *fleet {
	f := &fleet{estate: newEstate(t), slow: map[string]time.Duration{}, heavy: map[string]time.Duration{}, asked: map[string]int{}, done: map[string]time.Time{}}
	f.Engines, f.Places, f.ids = f.World, f.World, map[string][]string{}
	var text strings.Builder
	text.WriteString("version: 1\nproject: shop\nhosts:\n")
	for _, name := range f.names() {
		fmt.Fprintf(&text, "  %s: {context: %[1]s}\n", name)
	}
	text.WriteString("cas: {internal: {local: {}}}\nidentities:\n  web: {ca: internal, names: [web]}\nbindings:\n")
	for _, name := range f.names() {
		fmt.Fprintf(&text, "  %s: {identity: web, host: %[1]s, container: web, volume: certs, reload: {signal: HUP}, probe: {port: 443}}\n", name)
		f.SetEngine(name, memory.Engine{})
		f.create(name, memory.Container{
			Container: reconcile.Container{Host: name, Name: "web", Mounts: []reconcile.Mount{{Type: "volume", Name: "certs", Destination: "/certs"}}},
			Server:    &memory.Server{Port: 443, Cert: "/certs/cert.pem", Key: "/certs/key.pem", Behaviour: memory.Reloads},
		})
	}
	f.text = text.String()
	f.read(f.text)
	for range 3 {
		f.converge()
		f.start()
	}
	f.wants(func(string) reconcile.BindingState { return reconcile.Ready })
	return f
}

func (f *fleet) names() (all []string) {
	for i := range 10 {
		all = append(all, fmt.Sprintf("h%d", i))
	}
	return all
}

func (f *fleet) List(ctx context.Context, host string) reconcile.EngineState {
	f.mu.Lock()
	f.asked[host]++
	wait := f.slow[host]
	f.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	select {
	case <-time.After(wait):
		return f.Engines.List(ctx, host)
	case <-ctx.Done():
		return reconcile.EngineState{Err: "engine " + host + " does not answer: no answer in time"}
	}
}

func (f *fleet) Write(ctx context.Context, units []reconcile.Unit) []error {
	time.Sleep(f.heavy[units[0].At.Host])
	return f.Places.Write(ctx, units)
}

func (f *fleet) renewing() reconcile.Applier {
	f.wish("identity/web")
	a := f.applier()
	a.Engines, a.Places = f, f
	a.Report = func(e reconcile.Event) {
		if e.Done && e.Err == nil {
			f.done[strings.TrimPrefix(e.Step.Action.Subject(), "binding/")] = time.Now()
		}
	}
	return a
}

// wants checks the states of the bindings.
func (f *fleet) wants(state func(host string) reconcile.BindingState) {
	f.t.Helper()
	p := f.applier().Providers
	p.Engines = f
	w, err := reconcile.Observe(f.t.Context(), p, f.spec, reconcile.Look{Probe: true, Couriers: true, Now: time.Now()})
	if err != nil {
		f.t.Fatal(err)
	}
	for _, b := range reconcile.Assess(f.spec, w, reconcile.Diff(f.spec, w, reconcile.Scope{})).Bindings {
		if b.State != state(b.Name) {
			f.t.Errorf("%s is %s (%s), want %s", b.Name, b.State, b.Reason, state(b.Name))
		}
		if b.State == reconcile.Failed && !strings.Contains(b.Reason, b.Name) && b.Reason != "it is off" {
			f.t.Errorf("%s: the reason names no host: %s", b.Name, b.Reason)
		}
	}
}

// TestHostsOfAFleet renews on ten hosts, of which two are off, one hangs, and one is slow: seven that answer do not wait for
// them for more than a second, the slow one has its turn, and the others are named.
func TestHostsOfAFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		f.SetEngine("h0", memory.Engine{Down: "it is off"})
		f.SetEngine("h1", memory.Engine{Down: "it is off"})
		f.slow["h2"], f.slow["h3"] = time.Hour, 4*time.Second
		a, began := f.renewing(), time.Now()
		out, err := a.Converge(t.Context(), reconcile.Scope{})
		if err != nil || out.Err != nil {
			t.Fatal(err, out.Err)
		}
		for _, name := range f.names() {
			took := f.done[name].Sub(began)
			switch name {
			case "h0", "h1", "h2":
				if took > 0 {
					t.Errorf("%s is said to be renewed", name)
				}
			case "h3":
				if took < 4*time.Second || took > 15*time.Second {
					t.Errorf("%s took %s", name, took)
				}
			default:
				if took < 0 || took > 2*time.Second {
					t.Errorf("%s took %s", name, took)
				}
			}
		}
		if took := time.Since(began); took > 25*time.Second {
			t.Errorf("all of it took %s", took)
		}
		f.wants(func(host string) reconcile.BindingState {
			if host < "h3" {
				return reconcile.Failed
			}
			return reconcile.Ready
		})
	})
}

// TestHostThatHangsInTheMiddle takes ten minutes to write on one host: the servers of the others have what is new meanwhile.
func TestHostThatHangsInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		f.heavy["h4"] = 9 * time.Minute
		a, began := f.renewing(), time.Now()
		if out, err := a.Converge(t.Context(), reconcile.Scope{}); err != nil || out.Err != nil {
			t.Fatal(err, out.Err)
		}
		for _, name := range f.names() {
			if took := f.done[name].Sub(began); (took > time.Minute) != (name == "h4") || took < 0 {
				t.Errorf("%s took %s", name, took)
			}
		}
	})
}

// TestAbsentHosts has a watch that does not wait again and again for a host that hangs, and asks it when it is due, or when
// it was heard of.
func TestAbsentHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		f.slow["h2"] = time.Hour
		a := f.renewing()
		a.Memory, a.Known = &reconcile.Memory{}, true
		pass := func() reconcile.Outcome {
			t.Helper()
			out, err := a.Converge(t.Context(), reconcile.Scope{Patient: true})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(out.Plan.Blocked, func(r reconcile.Refusal) bool {
				return r.Subject == "binding/h2" && r.State == reconcile.Failed && strings.Contains(r.Reason, "engine h2 does not answer")
			}) {
				t.Errorf("h2 is not named: %v", out.Plan.Blocked)
			}
			return out
		}
		for _, wait := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second} {
			out := pass()
			if next := time.Until(out.Plan.Next); next != wait {
				t.Fatalf("it is asked again after %s, want %s", next, wait)
			}
			before, began := f.asked["h2"], time.Now()
			pass()
			if f.asked["h2"] != before || time.Since(began) > 100*time.Millisecond {
				t.Errorf("it was asked %d times, and waited for %s", f.asked["h2"]-before, time.Since(began))
			}
			time.Sleep(wait)
		}
		pass()
		delete(f.slow, "h2")
		a.Memory.Heard("h2")
		if out, err := a.Converge(t.Context(), reconcile.Scope{Patient: true}); err != nil || out.Err != nil || len(out.Plan.Blocked) > 0 || len(out.Done) == 0 {
			t.Errorf("when it is back: %v, %v, %v", err, out.Err, out.Plan.Blocked)
		}
	})
}

// TestLostStoreOfSlowHosts has nothing but hosts that are slow to show that a store was lost: they are waited for before
// anything is made.
func TestLostStoreOfSlowHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		f.LoseStore()
		for _, name := range f.names() {
			f.slow[name] = 3 * time.Second
		}
		a := f.applier()
		a.Engines, a.Places = f, f
		if _, err := a.Converge(t.Context(), reconcile.Scope{}); err == nil || !strings.Contains(err.Error(), "the store is lost") {
			t.Errorf("it goes on: %v", err)
		}
	})
}

// TestHostThatLeft has a host leave the spec before what was placed there is cleared: it stays, and is said.
func TestHostThatLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		f.SetEngine("h9", memory.Engine{Down: "the spec has no host named h9 any more"})
		f.read(strings.NewReplacer(
			"  h9: {context: h9}\n", "", "  h9: {identity: web, host: h9, container: web, volume: certs, reload: {signal: HUP}, probe: {port: 443}}\n", "",
		).Replace(f.text))
		out := f.converge()
		if !slices.ContainsFunc(out.Plan.Waiting, func(r reconcile.Refusal) bool {
			return r.Subject == "binding/h9" && r.Reason == "left the spec, but the spec has no host named h9 any more"
		}) {
			t.Errorf("nothing is said of it: %v", out.Plan.Waiting)
		}
	})
}
