package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certwright/certwright/providers/memory"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// fleet is an estate of ten hosts with a server each. A host in slow answers each question after that time, if it is waited
// for; like a real engine it gives up after ten seconds.
type fleet struct {
	reconcile.Engines
	reconcile.Places
	*estate
	text  string // of its spec
	mu    sync.Mutex
	slow  map[string]time.Duration
	mute  map[string]string        // the one call that a host never answers
	muted bool                     // it was called
	heavy map[string]time.Duration // how long it takes to write there
	asked map[string]int
	done  map[string]time.Time // when the last step of a binding ended
}

func newFleet(t *testing.T) *fleet { return steadyFleet(t, layout{}) }

// steadyFleet is one of which all servers are proved.
func steadyFleet(t *testing.T, l layout) *fleet {
	f := firstFleet(t, l)
	for range 3 {
		f.converge()
		f.start()
	}
	f.wants(func(string) reconcile.BindingState { return reconcile.Ready })
	return f
}

// layout is how the servers of a fleet have their files: in volumes, or in directories; or there are no servers yet.
type layout struct{ directories, bare bool }

// firstFleet is one on which nothing was placed yet.
func firstFleet(t *testing.T, l layout) *fleet {
	place, mount := "volume: certs", reconcile.Mount{Type: "volume", Name: "certs", Destination: "/certs"}
	if l.directories {
		place, mount = "directory: /srv/certs", reconcile.Mount{Type: "bind", Source: "/srv/certs", Destination: "/certs"}
	}
	f := &fleet{estate: newEstate(t), slow: map[string]time.Duration{}, mute: map[string]string{}, heavy: map[string]time.Duration{}, asked: map[string]int{}, done: map[string]time.Time{}}
	f.Engines, f.Places, f.ids = f.World, f.World, map[string][]string{}
	var text strings.Builder
	text.WriteString("version: 1\nproject: shop\nhosts:\n")
	for _, name := range f.names() {
		fmt.Fprintf(&text, "  %s: {context: %[1]s}\n", name)
	}
	text.WriteString("cas: {internal: {local: {}}}\nidentities:\n  web: {ca: internal, names: [web]}\nbindings:\n")
	for _, name := range f.names() {
		fmt.Fprintf(&text, "  %s: {identity: web, host: %[1]s, container: web, %s, reload: {signal: HUP}, probe: {port: 443}}\n", name, place)
		f.SetEngine(name, memory.Engine{})
		if l.bare {
			continue
		}
		f.create(name, memory.Container{
			Container: reconcile.Container{Host: name, Name: "web", Mounts: []reconcile.Mount{mount}},
			Server:    &memory.Server{Port: 443, Cert: "/certs/cert.pem", Key: "/certs/key.pem", Behaviour: memory.Reloads},
		})
	}
	f.text = text.String()
	f.read(f.text)
	return f
}

func (f *fleet) names() (all []string) {
	for i := range 10 {
		all = append(all, fmt.Sprintf("h%d", i))
	}
	return all
}

// answers waits until a host answers a call, and gives up as a real engine does.
func (f *fleet) answers(ctx context.Context, host, call string) error {
	f.mu.Lock()
	wait := f.slow[host]
	if f.mute[host] == call {
		f.muted = true
		wait = time.Hour
	}
	f.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return errors.New("engine " + host + " does not answer: no answer in time")
	}
}

func (f *fleet) List(ctx context.Context, host string) reconcile.EngineState {
	f.mu.Lock()
	f.asked[host]++
	f.mu.Unlock()
	if err := f.answers(ctx, host, "List"); err != nil {
		return reconcile.EngineState{Err: err.Error()}
	}
	return f.Engines.List(ctx, host)
}

func (f *fleet) Owner(ctx context.Context, host, container, user string) (reconcile.Owner, error) {
	if err := f.answers(ctx, host, "Owner"); err != nil {
		return reconcile.Owner{}, err
	}
	return f.Engines.Owner(ctx, host, container, user)
}

func (f *fleet) Started(ctx context.Context, host, container string, since time.Time) (time.Time, error) {
	if err := f.answers(ctx, host, "Started"); err != nil {
		return time.Time{}, err
	}
	return f.Engines.Started(ctx, host, container, since)
}

func (f *fleet) CreateVolume(ctx context.Context, host, name string, labels map[string]string) error {
	if err := f.answers(ctx, host, "CreateVolume"); err != nil {
		return err
	}
	return f.Engines.CreateVolume(ctx, host, name, labels)
}

func (f *fleet) Reload(ctx context.Context, t reconcile.Target, how spec.Reload, env reconcile.ReloadEnv) error {
	if err := f.answers(ctx, env.Container.Host, "Reload"); err != nil {
		return err
	}
	return f.Engines.Reload(ctx, t, how, env)
}

func (f *fleet) Dial(ctx context.Context, c reconcile.Container, port int, couriers bool) (net.Conn, error) {
	if err := f.answers(ctx, c.Host, "Dial"); err != nil {
		return nil, err
	}
	return f.Engines.Dial(ctx, c, port, couriers)
}

// Read asks the hosts side by side, and returns when all have answered.
func (f *fleet) Read(ctx context.Context, queries []reconcile.PlaceQuery, couriers bool) []reconcile.PlaceContent {
	contents := make([]reconcile.PlaceContent, len(queries))
	var all sync.WaitGroup
	for i, q := range queries {
		all.Go(func() {
			if contents[i].Err = f.answers(ctx, q.At.Host, "Read"); contents[i].Err == nil {
				contents[i] = f.Places.Read(ctx, queries[i:i+1], couriers)[0]
			}
		})
	}
	all.Wait()
	return contents
}

func (f *fleet) Write(ctx context.Context, units []reconcile.Unit) []error {
	time.Sleep(f.heavy[units[0].At.Host])
	if err := f.answers(ctx, units[0].At.Host, "Write"); err != nil {
		return slices.Repeat([]error{err}, len(units))
	}
	return f.Places.Write(ctx, units)
}

func (f *fleet) renewing() reconcile.Applier {
	f.wish("identity/web")
	return f.reporting()
}

// reporting has everything go through the fleet, and notes when it is done.
func (f *fleet) reporting() reconcile.Applier {
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
			case "h3": // h2 has its ten seconds, and h3 four for each question
				if took < 4*time.Second || took > 40*time.Second {
					t.Errorf("%s took %s", name, took)
				}
			default:
				if took < 0 || took > 2*time.Second {
					t.Errorf("%s took %s", name, took)
				}
			}
		}
		if took := time.Since(began); took > time.Minute {
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

// TestHostThatHangsInOneCall has a host that lists its containers and never answers one of the other calls: the others are done
// at once where that is asked beside what they need, and after the ten seconds of that one call where they wait for it.
func TestHostThatHangsInOneCall(t *testing.T) {
	anew := func(f *fleet) reconcile.Applier { // a directory that is younger than what mounts it
		for _, name := range f.names() {
			if at := (reconcile.Location{Host: name, Dir: "/srv/certs", Machine: true}); !f.DeletePlace(at) {
				t.Fatalf("there is no %+v", at)
			}
		}
		time.Sleep(3 * time.Second)
		return f.reporting()
	}
	for call, row := range map[string]struct {
		fleet  func(*testing.T, layout) *fleet
		layout layout
		begin  func(*fleet) reconcile.Applier
		within time.Duration // the others
	}{
		"Owner":        {firstFleet, layout{}, (*fleet).reporting, 11 * time.Second},
		"Started":      {steadyFleet, layout{directories: true}, anew, time.Second},
		"Read":         {steadyFleet, layout{}, (*fleet).renewing, 11 * time.Second},
		"CreateVolume": {firstFleet, layout{bare: true}, (*fleet).reporting, 11 * time.Second},
		"Write":        {steadyFleet, layout{}, (*fleet).renewing, time.Second},
		"Reload":       {steadyFleet, layout{}, (*fleet).renewing, time.Second},
		"Dial":         {steadyFleet, layout{}, (*fleet).renewing, 11 * time.Second},
	} {
		t.Run(call, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := row.fleet(t, row.layout)
				f.mute["h4"] = call
				a, began := row.begin(f), time.Now()
				if _, err := a.Converge(t.Context(), reconcile.Scope{}); err != nil {
					t.Fatal(err)
				}
				if !f.muted {
					t.Error("it was never called")
				}
				for _, name := range f.names() {
					if took := f.done[name].Sub(began); name != "h4" && (took < 0 || took > row.within) {
						t.Errorf("%s took %s", name, took)
					}
				}
				if took := time.Since(began); took > 41*time.Second {
					t.Errorf("all of it took %s", took)
				}
			})
		})
	}
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
