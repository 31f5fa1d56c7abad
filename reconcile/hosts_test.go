package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/memory"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// butList is every call but that which lists what a host has.
const butList = "all-but-List"

// fleet is an estate of ten hosts with a server each. A host in slow answers each question after that time, if it is waited
// for; like a real engine it gives up after ten seconds.
type fleet struct {
	reconcile.Engines
	reconcile.Places
	*estate
	text  string // of its spec
	mu    sync.Mutex
	slow  map[string]time.Duration
	mute  map[string]string        // the calls that a host never answers, or butList
	drag  map[string]time.Duration // how long it takes for every call but List
	muted []string                 // when it was made
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
	f := &fleet{estate: newEstate(t), slow: map[string]time.Duration{}, mute: map[string]string{}, heavy: map[string]time.Duration{}, drag: map[string]time.Duration{}, asked: map[string]int{}, done: map[string]time.Time{}}
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
	if call != "List" && f.drag[host] > 0 {
		wait = f.drag[host]
	}
	if slices.Contains(strings.Fields(f.mute[host]), call) || f.mute[host] == butList && call != "List" {
		f.muted = append(f.muted, call)
		wait = time.Hour
	}
	f.mu.Unlock()
	if wait == 0 { // several timers that are due at once in a bubble can end the race detector by a fault of memory: https://go.dev/issue/78156
		return nil
	}
	asker := ctx
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	select {
	case <-time.After(wait):
		return nil
	case <-asker.Done():
		if call == "Dial" && errors.Is(asker.Err(), context.DeadlineExceeded) { // of a handshake
			return asker.Err()
		}
		return reconcile.Away{Err: errors.New("engine " + host + " does not answer: no answer in time to " + call)}
	case <-ctx.Done():
		return reconcile.Away{Err: errors.New("engine " + host + " does not answer: no answer in time to " + call)}
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

func (f *fleet) Ending(ctx context.Context, host, container string) (reconcile.Ending, error) {
	if err := f.answers(ctx, host, "Ending"); err != nil {
		return reconcile.Ending{}, err
	}
	return f.Engines.Ending(ctx, host, container)
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
	p.Engines, p.Places = f, f
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
// at once where that is asked beside what they need, and some seconds later where they would wait for it.
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
		all    time.Duration
	}{
		"Owner":        {firstFleet, layout{}, (*fleet).reporting, 4 * time.Second, 15 * time.Second},
		"Started":      {steadyFleet, layout{directories: true}, anew, time.Second, 15 * time.Second},
		"Read":         {steadyFleet, layout{}, (*fleet).renewing, 4 * time.Second, 15 * time.Second},
		"CreateVolume": {firstFleet, layout{bare: true}, (*fleet).reporting, 4 * time.Second, 21 * time.Second},
		"Write":        {steadyFleet, layout{}, (*fleet).renewing, time.Second, 21 * time.Second},
		"Reload":       {steadyFleet, layout{}, (*fleet).renewing, time.Second, 15 * time.Second},
		"Dial":         {steadyFleet, layout{}, (*fleet).renewing, 4 * time.Second, 15 * time.Second},
	} {
		t.Run(call, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := row.fleet(t, row.layout)
				f.mute["h4"] = call
				a, began := row.begin(f), time.Now()
				if _, err := a.Converge(t.Context(), reconcile.Scope{}); err != nil {
					t.Fatal(err)
				}
				if len(f.muted) == 0 {
					t.Error("it was never called")
				}
				for _, name := range f.names() {
					if took := f.done[name].Sub(began); name != "h4" && (took < 0 || took > row.within) {
						t.Errorf("%s took %s", name, took)
					}
				}
				if took := time.Since(began); took > row.all {
					t.Errorf("all of it took %s", took)
				}
			})
		})
	}
}

// TestHostThatAnswersAndThenHangs has a host that lists its containers and answers nothing else: that is found out by one
// question in each look, of which the others do not wait for the end.
func TestHostThatAnswersAndThenHangs(t *testing.T) {
	for name, l := range map[string]layout{"volumes": {}, "directories": {directories: true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := steadyFleet(t, l)
				f.mute["h4"] = butList
				a, began := f.renewing(), time.Now()
				out, err := a.Converge(t.Context(), reconcile.Scope{})
				if err != nil {
					t.Fatal(err)
				}
				for _, name := range f.names() {
					if took := f.done[name].Sub(began); name != "h4" && (took < 0 || took > 4*time.Second) {
						t.Errorf("%s took %s", name, took)
					}
				}
				if took := time.Since(began); took > 14*time.Second {
					t.Errorf("all of it took %s", took)
				}
				if want := "engine h4 does not answer: no answer in time to Read"; !slices.ContainsFunc(out.Plan.Blocked, func(r reconcile.Refusal) bool {
					return r.Subject == "binding/h4" && r.State == reconcile.Failed && r.Reason == want
				}) {
					t.Errorf("it is not said that %s: %v", want, out.Plan.Blocked)
				}
				f.muted, began = nil, time.Now()
				f.wants(func(host string) reconcile.BindingState {
					if host == "h4" {
						return reconcile.Failed
					}
					return reconcile.Ready
				})
				if took := time.Since(began); took > 10*time.Second || len(f.muted) != 1 {
					t.Errorf("status took %s, and asked it for %v", took, f.muted)
				}
			})
		})
	}
}

// TestHostThatIsSlowAfterItsLists has its turn when the others are done, and all the time that it needs.
func TestHostThatIsSlowAfterItsLists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		f.drag["h4"] = 5 * time.Second
		a, began := f.renewing(), time.Now()
		if out, err := a.Converge(t.Context(), reconcile.Scope{}); err != nil || out.Err != nil || !out.Plan.Empty() {
			t.Fatal(err, out.Err, out.Plan.Steps)
		}
		for _, name := range f.names() {
			if took := f.done[name].Sub(began); (took > 4*time.Second) != (name == "h4") || took < 0 {
				t.Errorf("%s took %s", name, took)
			}
		}
	})
}

// TestHostThatHangsAlone has something to ask of one host alone, which does not answer: the others do not wait for it.
func TestHostThatHangsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := steadyFleet(t, layout{directories: true})
		if at := (reconcile.Location{Host: "h4", Dir: "/srv/certs", Machine: true}); !f.DeletePlace(at) {
			t.Fatalf("there is no %+v", at)
		}
		time.Sleep(3 * time.Second)
		f.converge() // its directory is younger now than what mounts it
		f.mute["h4"] = "Started"
		a, began := f.renewing(), time.Now()
		if _, err := a.Converge(t.Context(), reconcile.Scope{}); err != nil {
			t.Fatal(err)
		}
		if len(f.muted) == 0 {
			t.Error("it was never called")
		}
		for _, name := range f.names() {
			if took := f.done[name].Sub(began); name != "h4" && (took < 0 || took > 4*time.Second) {
				t.Errorf("%s took %s", name, took)
			}
		}
	})
}

// TestSlowHostsAreNotLate has one that takes longer than the others: one question after another, each of which it answers, or no
// longer than what is three seconds for those that are quick.
func TestSlowHostsAreNotLate(t *testing.T) {
	for name, slow := range map[string]func(*fleet){
		"many questions": func(f *fleet) {
			for i := range 20 { // of which it is asked eight at once
				f.create("h4", memory.Container{
					Container: reconcile.Container{Host: "h4", Name: fmt.Sprint("also", i), Labels: map[string]string{"app": "web"}, Mounts: []reconcile.Mount{{Type: "volume", Name: "certs", Destination: "/certs"}}},
					Server:    &memory.Server{Port: 443, Cert: "/certs/cert.pem", Key: "/certs/key.pem", Behaviour: memory.Reloads},
				})
			}
			f.read(strings.Replace(f.text, "host: h4, container: web", "host: h4, container: {label: app=web}", 1))
			f.start()
			f.drag["h4"] = 2 * time.Second
		},
		"all are slow": func(f *fleet) {
			for _, name := range f.names() {
				f.drag[name] = 5 * time.Second
			}
			f.drag["h4"] = 9 * time.Second
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t)
				slow(f)
				p := f.applier().Providers
				p.Engines, p.Places = f, f
				w, err := reconcile.Observe(t.Context(), p, f.spec, reconcile.Look{Probe: true, Couriers: true, Now: time.Now(), Patience: time.Second})
				if err != nil || len(w.Late) > 0 {
					t.Errorf("%v is late: %s, %v", w.Late, w.Engines["h4"].Err, err)
				}
				for key, s := range w.Served {
					if s.Err != "" {
						t.Errorf("%s: %s", key, s.Err)
					}
				}
			})
		})
	}
}

// hasty gives a handshake so much time, and makes others before it, one after the other.
type hasty struct {
	reconcile.Prober
	limit  time.Duration
	before int
}

func (h hasty) Probe(ctx context.Context, r reconcile.ProbeRequest) reconcile.Served {
	for range h.before {
		dialing, cancel := context.WithTimeout(ctx, h.limit)
		if conn, err := r.Dial(dialing); err == nil {
			_ = conn.Close()
		}
		cancel()
	}
	ctx, cancel := context.WithTimeout(ctx, h.limit)
	defer cancel()
	return h.Prober.Probe(ctx, r)
}

// TestHastyProbes have no more time before a host has made them a way. It is none of its faults, but where nothing answers there
// the others do not wait for all of them.
func TestHastyProbes(t *testing.T) {
	for name, row := range map[string]struct {
		servers  int // besides the one
		before   int // handshakes
		mute     string
		limit    time.Duration
		patience time.Duration
		late     bool
		within   time.Duration
	}{
		"a slow engine":                            {0, 0, "", 5 * time.Second, 0, false, 15 * time.Second},
		"one that does not answer":                 {40, 0, "Dial", 2 * time.Second, time.Second, true, 5 * time.Second},
		"one that does not answer a single server": {0, 20, "Dial", 2 * time.Second, time.Second, true, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t)
				for i := range row.servers {
					f.create("h4", memory.Container{
						Container: reconcile.Container{Host: "h4", Name: fmt.Sprint("also", i), Labels: map[string]string{"app": "web"}, Mounts: []reconcile.Mount{{Type: "volume", Name: "certs", Destination: "/certs"}}},
						Server:    &memory.Server{Port: 443, Cert: "/certs/cert.pem", Key: "/certs/key.pem", Behaviour: memory.Reloads},
					})
				}
				if row.servers > 0 {
					f.read(strings.Replace(f.text, "host: h4, container: web", "host: h4, container: {label: app=web}", 1))
					f.start()
				}
				if row.mute == "" {
					f.drag["h4"] = 7 * time.Second
				}
				f.mute["h4"] = row.mute
				p := f.applier().Providers
				p.Engines, p.Places, p.Prober = f, f, hasty{f.World, row.limit, row.before}
				began := time.Now()
				w, err := reconcile.Observe(t.Context(), p, f.spec, reconcile.Look{Probe: true, Couriers: true, Now: time.Now(), Patience: row.patience})
				if err != nil || slices.Contains(w.Late, "h4") != row.late || (w.Engines["h4"].Err != "") != row.late {
					t.Errorf("late: %v, engine: %q, %v", w.Late, w.Engines["h4"].Err, err)
				}
				if took := time.Since(began); took > row.within {
					t.Errorf("it took %s", took)
				}
				refused := slices.Collect(maps.Values(w.Served))
				if n := len(slices.DeleteFunc(refused, func(s reconcile.Served) bool { return s.Err == "" })); !row.late && n != 1 {
					t.Errorf("%d were not reached, want one", n)
				}
			})
		})
	}
}

// slowDisk is one whose places take longer than they are waited for, and end with an error of their own.
type slowDisk struct {
	*fleet
	host string
	err  error
	now  func()
}

func (s slowDisk) Read(ctx context.Context, queries []reconcile.PlaceQuery, couriers bool) []reconcile.PlaceContent {
	if queries[0].At.Host != s.host {
		return s.fleet.Read(ctx, queries, couriers)
	}
	s.now()
	return slices.Repeat([]reconcile.PlaceContent{{Err: s.err}}, len(queries))
}

// TestPlacesThatAreNotRead says of a place what is wrong with it, and blames no engine for what is none of its faults.
func TestPlacesThatAreNotRead(t *testing.T) {
	for name, row := range map[string]struct {
		err  error
		now  func()
		want string
		late bool
	}{
		"a disk fails slowly": {errors.New("input/output error"), func() { time.Sleep(20 * time.Second) }, "input/output error", false},
		"it is given up":      {fmt.Errorf("courier: %w", os.ErrDeadlineExceeded), func() { time.Sleep(20 * time.Second) }, "", true},
		"it is broken":        {nil, func() { panic("broken") }, "it was not read: certwright is broken here: panic with a string; `--verbose` shows where", false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t)
				p := f.applier().Providers
				p.Engines, p.Places = f, slowDisk{f, "h4", row.err, row.now}
				w, err := reconcile.Observe(t.Context(), p, f.spec, reconcile.Look{Couriers: true, Now: time.Now(), Patience: time.Second})
				if err != nil {
					t.Fatal(err)
				}
				if late := slices.Contains(w.Late, "h4"); late != row.late || (w.Engines["h4"].Err != "") != row.late {
					t.Errorf("late: %t, engine: %q", late, w.Engines["h4"].Err)
				}
				if got := w.Places[reconcile.Location{Host: "h4", Volume: "certs"}].Err; !row.late && got != row.want {
					t.Errorf("%q, want %q", got, row.want)
				}
			})
		})
	}
}

// TestVolumesOfOneHost makes them side by side, and on so many hosts at once as are asked at once.
func TestVolumesOfOneHost(t *testing.T) {
	for name, row := range map[string]struct{ hosts, each, atOnce int }{
		"many on one":      {1, 30, 30},
		"one each on many": {80, 1, 64},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := firstFleet(t, layout{bare: true})
				var hosts, bindings strings.Builder
				for h := range row.hosts {
					fmt.Fprintf(&hosts, "  n%d: {context: n%[1]d}\n", h)
					f.SetEngine(fmt.Sprint("n", h), memory.Engine{})
					for b := range row.each {
						fmt.Fprintf(&bindings, "  b%d-%d: {identity: web, host: n%[1]d, volume: certs%[2]d}\n", h, b)
					}
				}
				f.read("version: 1\nproject: shop\nhosts:\n" + hosts.String() + "cas: {internal: {local: {}}}\nidentities:\n  web: {ca: internal, names: [web]}\nbindings:\n" + bindings.String())
				made := &making{fleet: f}
				a := f.applier()
				a.Engines = made
				if out, err := a.Converge(t.Context(), reconcile.Scope{}); err != nil || out.Err != nil {
					t.Fatal(err, out.Err)
				}
				if made.all != row.hosts*row.each || made.most != row.atOnce {
					t.Errorf("%d volumes, %d at once, want %d", made.all, made.most, row.atOnce)
				}
			})
		})
	}
}

// making counts the volumes that are made at once.
type making struct {
	*fleet
	now, most, all int
}

func (m *making) CreateVolume(ctx context.Context, host, name string, labels map[string]string) error {
	m.mu.Lock()
	m.all, m.now = m.all+1, m.now+1
	m.most = max(m.most, m.now)
	m.mu.Unlock()
	time.Sleep(time.Second)
	m.mu.Lock()
	m.now--
	m.mu.Unlock()
	return m.fleet.CreateVolume(ctx, host, name, labels)
}

// TestManyOnAHostThatHangs has more servers there than are dialled at once, and more steps than one: none is asked about that
// comes after the first that gave no answer.
func TestManyOnAHostThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		for i := range 20 {
			f.create("h4", memory.Container{
				Container: reconcile.Container{Host: "h4", Name: fmt.Sprint("also", i), Labels: map[string]string{"app": "web"}, Mounts: []reconcile.Mount{{Type: "volume", Name: "certs", Destination: "/certs"}}},
				Server:    &memory.Server{Port: 443, Cert: "/certs/cert.pem", Key: "/certs/key.pem", Behaviour: memory.Reloads},
			})
		}
		f.read(strings.Replace(f.text, "host: h4, container: web", "host: h4, container: {label: app=web}", 1))
		f.mute["h4"] = "Dial"
		f.start()
		began := time.Now()
		f.wants(func(host string) reconcile.BindingState {
			if host == "h4" {
				return reconcile.Failed
			}
			return reconcile.Ready
		})
		if took := time.Since(began); took > 10*time.Second || len(f.muted) > 8 {
			t.Errorf("%d questions took %s", len(f.muted), took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		f := firstFleet(t, layout{bare: true})
		f.read(f.text + "  more: {identity: web, host: h4, directory: /srv/more}\n")
		f.mute["h4"] = "CreateVolume Write"
		a := f.reporting()
		if _, err := a.Converge(t.Context(), reconcile.Scope{}); err != nil {
			t.Fatal(err)
		}
		if slices.Contains(f.muted, "Write") || len(f.muted) == 0 {
			t.Errorf("it was asked for %v", f.muted)
		}
	})
}

// pass makes one as a watch does.
func (f *fleet) pass(a reconcile.Applier) reconcile.Outcome {
	f.t.Helper()
	out, err := a.Converge(f.t.Context(), reconcile.Scope{Patient: true})
	if err != nil {
		f.t.Fatal(err)
	}
	return out
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
			out := f.pass(a)
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

// TestEngineOfAnAbsentHost has a host that a watch does not ask for a while say the same of its dockerd as of its containers.
func TestEngineOfAnAbsentHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		f.read(f.text + "  engine: {identity: web, host: h2, engine: {listen: [\"tcp://0.0.0.0:2376\"], allowRestart: true}}\n")
		f.slow["h2"] = time.Hour
		a := f.renewing()
		a.Memory, a.Known = &reconcile.Memory{}, true
		f.pass(a)
		before := f.asked["h2"]
		out := f.pass(a)
		if f.asked["h2"] != before {
			t.Fatal("it was asked again")
		}
		for _, binding := range []string{"binding/h2", "binding/engine"} {
			if !slices.ContainsFunc(out.Plan.Blocked, func(r reconcile.Refusal) bool {
				return r.Subject == binding && r.State == reconcile.Failed && strings.Contains(r.Reason, "engine h2 does not answer")
			}) {
				t.Errorf("%s is not Failed by it: %v", binding, out.Plan.Blocked)
			}
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
		if hint := out.Plan.Waiting[0].Hint; !strings.Contains(hint, "`certwright forget h9`") {
			t.Errorf("hint %q", hint)
		}
		st, err := f.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		st = st.Clone()
		if got := st.ForeignHosts(f.spec); !slices.Equal(got, []string{"h9"}) {
			t.Errorf("the spec has not: %v", got)
		}
		if left := st.ForgetHost("h9"); !slices.Equal(left, []string{"h9: volume certs (h9)"}) {
			t.Errorf("left %v", left)
		}
		if err := f.Commit(t.Context(), st); err != nil {
			t.Fatal(err)
		}
		if out := f.converge(); len(out.Plan.Waiting) > 0 || !out.Plan.Empty() {
			t.Errorf("it is not forgotten:\n%s", text(out.Plan))
		}
	})
}

// TestHostsThatLeft has most hosts leave the spec with what is on them: nothing can be cleared there, so that is not refused as
// too much, and no key is forgotten.
func TestHostsThatLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		identities, spec := "", f.text
		for _, name := range f.names() {
			identities += "  " + name + ": {ca: internal, names: [web]}\n"
			spec = strings.Replace(spec, name+": {identity: web", name+": {identity: "+name, 1)
		}
		spec = strings.Replace(spec, "  web: {ca: internal, names: [web]}\n", identities, 1)
		f.read(spec)
		f.converge()
		for _, name := range f.names()[1:] {
			f.SetEngine(name, memory.Engine{Down: "the spec has no such host any more"})
			for line := range strings.Lines(spec) {
				if strings.HasPrefix(line, "  "+name+": ") {
					spec = strings.Replace(spec, line, "", 1)
				}
			}
		}
		f.read(spec)
		if out := f.converge(); len(out.Plan.Blocked) > 0 || len(out.Plan.Waiting) != 9 {
			t.Errorf("%s", text(out.Plan))
		}
		if kept := f.load().Identities; len(kept) != len(f.names()) {
			t.Errorf("%d identities are left, of what is still in use on hosts that may come back", len(kept))
		}
		f.wants(func(string) reconcile.BindingState { return reconcile.Ready })
	})
}

// TestBindingOfAHostThatLeft moves the binding of a host that is gone to another one, where it is Ready.
func TestBindingOfAHostThatLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		f.SetEngine("h9", memory.Engine{Down: "it is gone"})
		f.SetEngine("new", memory.Engine{})
		f.read(strings.NewReplacer("  h9: {context: h9}\n", "  new: {context: new}\n", "host: h9, ", "host: new, ").Replace(f.text))
		f.ids["h9"] = nil
		f.create("h9", memory.Container{
			Container: reconcile.Container{Host: "new", Name: "web", Mounts: []reconcile.Mount{{Type: "volume", Name: "certs", Destination: "/certs"}}},
			Server:    &memory.Server{Port: 443, Cert: "/certs/cert.pem", Key: "/certs/key.pem", Behaviour: memory.Reloads},
		})
		for range 2 {
			f.converge()
			f.start()
		}
		out := f.converge()
		if d := cmp.Diff("Waiting place/h9: volume certs: the binding has another place now, but it is gone\n", text(out.Plan)); d != "" {
			t.Errorf("-want +got:\n%s", d)
		}
		f.wants(func(string) reconcile.BindingState { return reconcile.Ready })
	})
}
