package reconcile_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/memory"
	"github.com/certwright/certwright/reconcile"
)

// TestOneEngine has two bindings by two hosts, and says when their places are one. The engine of a is asked by that name first.
func TestOneEngine(t *testing.T) {
	const one, shared = "the same", " are one engine"
	volumes := [2]string{"volume: certs", "volume: certs"}
	folders := [2]string{"directory: /srv/certs", "directory: /srv/certs"}
	for _, row := range []struct {
		name   string
		hosts  [2]string
		places [2]string
		states [2]reconcile.EngineState // of which only what tells engines apart counts
		want   string                   // what is refused of the second
	}{
		{"a volume of one", [2]string{"local", "one"}, volumes, [2]reconcile.EngineState{{Self: one}, {Self: one}}, "one: volume certs is also the place of binding a: hosts local and one" + shared},
		{"a volume of one by two hosts", [2]string{"one", "two"}, volumes, [2]reconcile.EngineState{{Self: one}, {Self: one}}, "two: volume certs is also the place of binding a: hosts one and two" + shared},
		{"volumes of two", [2]string{"local", "one"}, volumes, [2]reconcile.EngineState{{Self: one}, {Self: "another"}}, ""},
		{"two volumes of one", [2]string{"local", "one"}, [2]string{"volume: certs", "volume: others"}, [2]reconcile.EngineState{{Self: one}, {Self: one}}, ""},
		{"where it is not known", [2]string{"local", "one"}, volumes, [2]reconcile.EngineState{}, ""},
		{"a directory of this machine", [2]string{"local", "one"}, folders, [2]reconcile.EngineState{{Self: one}, {Self: one}}, "one: /srv/certs is also the place of binding a: hosts local and one" + shared},
		{"a directory of this machine, and of it by a name that does not tell", [2]string{"local", "one"}, folders, [2]reconcile.EngineState{{Self: one}, {Self: one, Elsewhere: true}}, "one: /srv/certs is also the place of binding a: hosts local and one" + shared},
		{"a directory of this machine, and of it where local does not tell", [2]string{"local", "one"}, folders, [2]reconcile.EngineState{{Self: one, Elsewhere: true}, {Self: one}}, "one: /srv/certs is also the place of binding a: hosts local and one" + shared},
		{"a directory of this machine, and of it by a name, where local is not asked", [2]string{"local", "one"}, folders, [2]reconcile.EngineState{{}, {Self: one}}, "one: /srv/certs is also the place of binding a: hosts local and one are one machine"},
		{"directories of two machines", [2]string{"local", "one"}, folders, [2]reconcile.EngineState{{Self: one}, {Self: "another", Elsewhere: true}}, ""},
		{"a directory of this machine, which has two engines", [2]string{"local", "one"}, folders, [2]reconcile.EngineState{{Self: one}, {Self: "another"}}, "one: /srv/certs is also the place of binding a: hosts local and one are one machine"},
		{"a directory of this machine or container, and one of the engine's", [2]string{"local", "one"}, folders, [2]reconcile.EngineState{{Self: one, Elsewhere: true}, {Self: one, Elsewhere: true}}, ""},
		{"a directory of the engine's machine by two hosts", [2]string{"one", "two"}, folders, [2]reconcile.EngineState{{Self: one, Elsewhere: true}, {Self: one, Elsewhere: true}}, "two: /srv/certs is also the place of binding a: hosts one and two" + shared},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEstate(t)
				e.read("version: 1\nproject: shop\nhosts: {one: {context: one}, two: {context: two}}\ncas: {internal: {local: {}}}\nbindings:\n" +
					"  a: {trust: [internal], host: " + row.hosts[0] + ", " + row.places[0] + "}\n  b: {trust: [internal], host: " + row.hosts[1] + ", " + row.places[1] + "}\n")
				for _, host := range row.hosts {
					e.SetEngine(host, memory.Engine{})
				}
				w := e.observe()
				for i, host := range row.hosts {
					w.Engines[host] = row.states[i]
				}
				plan := reconcile.Diff(e.spec, w, reconcile.Scope{})
				got := ""
				for _, r := range plan.Blocked {
					got += r.Subject + ": " + r.Reason
				}
				want := ""
				if row.want != "" {
					want = "binding/b: " + row.want
				}
				if d := cmp.Diff(want, got); d != "" {
					t.Errorf("-want +got:\n%s%s", d, text(plan))
				}
			})
		})
	}
}

// TestOneEngineByAnotherName gives the binding of a place the other name of what may be its engine: what it placed stays, unless they
// are known to be two.
func TestOneEngineByAnotherName(t *testing.T) {
	const known = "the same"
	const volume, folder, path = "volume: certs", "directory: /srv/certs", "container: web, path: /certs"
	silent := func(a, b, who string) string {
		return "binding a has it now if hosts " + a + " and " + b + " are one engine, and engine " + who + " refuses `GET /info`, which would tell"
	}
	for _, row := range []struct {
		name          string
		before, after string // the host and the place of the binding
		states        [2]reconcile.EngineState
		want          string // why its old place is left alone: "" where it is not, and "same" where it is not even old
	}{
		{"a volume of one", "local, " + volume, "one, " + volume, [2]reconcile.EngineState{{Self: known}, {Self: known}}, "same"},
		{"a volume of two", "local, " + volume, "one, " + volume, [2]reconcile.EngineState{{Self: known}, {Self: "another"}}, ""},
		{"a volume of nobody knows which", "local, " + volume, "one, " + volume, [2]reconcile.EngineState{}, silent("local", "one", "local")},
		{"a volume of one that is known by one name", "local, " + volume, "one, " + volume, [2]reconcile.EngineState{{Self: known}, {}}, silent("local", "one", "one")},
		{"a volume of one that is known by the other name", "one, " + volume, "local, " + volume, [2]reconcile.EngineState{{Self: known}, {}}, silent("one", "local", "one")},
		{"another volume", "local, " + volume, "one, volume: others", [2]reconcile.EngineState{}, ""},
		{"a directory of one", "local, " + folder, "one, " + folder, [2]reconcile.EngineState{{Self: known}, {Self: known}}, "same"},
		{"a directory of this machine, whatever its engine", "local, " + folder, "one, " + folder, [2]reconcile.EngineState{{}, {Self: known}}, "same"},
		{"a directory of another machine", "local, " + folder, "one, " + folder, [2]reconcile.EngineState{{}, {Self: known, Elsewhere: true}}, ""},
		{"a directory that was on another machine", "one, " + folder, "local, " + folder, [2]reconcile.EngineState{{}, {Self: known, Elsewhere: true}}, ""},
		{"a directory of nobody knows which machine", "local, " + folder, "one, " + folder, [2]reconcile.EngineState{{Self: known}, {}}, silent("local", "one", "one")},
		{"a directory that was of nobody knows which machine", "one, " + folder, "local, " + folder, [2]reconcile.EngineState{{Self: known, Elsewhere: true}, {}}, silent("one", "local", "one")},
		{"a directory that a container mounts", "one, " + folder, "local, " + path, [2]reconcile.EngineState{{}, {Self: known, Elsewhere: true}}, silent("one", "local", "local")},
		{"another directory", "local, " + folder, "one, directory: /srv/others", [2]reconcile.EngineState{}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEstate(t)
				on := func(at string) {
					e.read("version: 1\nproject: shop\nhosts: {one: {context: one}}\ncas: {internal: {local: {}}}\nbindings:\n  a: {trust: [internal], host: " + at + "}\n")
				}
				for _, host := range []string{"local", "one"} {
					e.SetEngine(host, memory.Engine{})
					e.Create(memory.Container{Container: reconcile.Container{Host: host, Name: "web", Mounts: []reconcile.Mount{{Type: "bind", Source: "/srv/certs", Destination: "/certs"}}}})
				}
				on(row.before)
				e.converge()
				on(row.after)
				w := e.observe()
				for i, host := range []string{"local", "one"} {
					w.Engines[host] = reconcile.EngineState{Self: row.states[i].Self, Elsewhere: row.states[i].Elsewhere, Containers: w.Engines[host].Containers, Volumes: w.Engines[host].Volumes}
				}
				plan := reconcile.Diff(e.spec, w, reconcile.Scope{Since: time.Now()})
				removes := slices.ContainsFunc(plan.Steps, func(s reconcile.Step) bool { _, is := s.Action.(reconcile.Remove); return is })
				if removes != (row.want == "") {
					t.Errorf("removes: %t\n%s", removes, text(plan))
				}
				got := "same"
				for _, r := range plan.Waiting {
					if strings.HasPrefix(r.Subject, "place/") {
						got = strings.TrimPrefix(r.Reason, "the binding has another place now, but ")
						if !strings.Contains(r.Hint, "allow certwright `GET /info` of engine ") {
							t.Errorf("hint %q", r.Hint)
						}
					}
				}
				if got != row.want && !(removes && row.want == "") {
					t.Errorf("%s, want %s\n%s", got, row.want, text(plan))
				}
			})
		})
	}
}

// TestDockerdByAnotherName gives the binding of dockerd's own files the other name of it while they are to be led to the other folder:
// neither is cleared.
func TestDockerdByAnotherName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		e.withEngine()
		e.converge()
		a, b := reconcile.Location{Host: "local", Dir: "/etc/docker/tls", Sub: "a"}, reconcile.Location{Host: "local", Dir: "/etc/docker/tls", Sub: "b"}
		st := e.load()
		st.Places[b] = st.Places[a]
		e.commit(st)
		e.SetEngine("one", memory.Engine{})
		e.edit("identities:", engineYAML, "bindings:", strings.Replace(engineBinding, "{identity", "{host: one, identity", 1), "cas:", "hosts: {one: {context: one}}\ncas:")
		e.wish("identity/engine")
		for _, self := range []string{"", "the same"} {
			w := e.observe()
			for _, host := range []string{"local", "one"} {
				state := w.Engines[host]
				state.Self = self
				w.Engines[host] = state
			}
			plan := reconcile.Diff(e.spec, w, reconcile.Scope{Since: time.Now()})
			for _, s := range plan.Steps {
				if r, is := s.Action.(reconcile.Remove); is && r.Binding == "engine" {
					t.Errorf("%q: %s", self, r)
				}
			}
			if got := text(plan); !strings.Contains(got, "restart docker.service") {
				t.Errorf("%q:\n%s", self, got)
			}
		}
	})
}

// TestOneDockerd has the dockerd of one machine under two names: one binding configures it, and what a binding that moves to the other
// name has there is not left over.
func TestOneDockerd(t *testing.T) {
	const one = "the same"
	for name, row := range map[string]struct {
		states  [2]reconcile.EngineState
		blocked string
		left    bool // what the binding had by the other name
	}{
		"over ssh":                     {[2]reconcile.EngineState{{Self: one}, {Self: one, Elsewhere: true}}, "binding/b: one: /etc/docker/tls/b is also the place of binding engine: hosts local and one are one engine", false},
		"of two machines":              {[2]reconcile.EngineState{{Self: one}, {Self: "another", Elsewhere: true}}, "", true},
		"by the environment, not here": {[2]reconcile.EngineState{{Self: one, Elsewhere: true}, {Self: one, Elsewhere: true}}, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEstate(t)
				e.steady()
				e.withEngine()
				e.converge()
				e.wish("identity/engine")
				e.converge() // it has had both folders
				e.SetEngine("one", memory.Engine{})
				with := func(bindings string) reconcile.Plan {
					e.edit("cas:", "hosts: {one: {context: one}}\ncas:", "identities:", engineYAML, "bindings:", bindings)
					w := e.observe()
					for i, host := range []string{"local", "one"} {
						state := w.Engines[host]
						state.Self, state.Elsewhere = row.states[i].Self, row.states[i].Elsewhere
						w.Engines[host] = state
					}
					return reconcile.Diff(e.spec, w, reconcile.Scope{Since: time.Now()})
				}
				there := strings.Replace(engineBinding, "  engine: {", "  b: {host: one, ", 1)
				both := with(engineBinding + strings.TrimPrefix(there, "bindings:"))
				got := ""
				for _, r := range both.Blocked {
					got += r.Subject + ": " + r.Reason
				}
				if got != row.blocked {
					t.Errorf("both: %q, want %q", got, row.blocked)
				}
				moved := text(with(strings.Replace(engineBinding, "  engine: {", "  engine: {host: one, ", 1)))
				if left := strings.Contains(moved, "the binding has another place now"); left != row.left {
					t.Errorf("moved:\n%s", moved)
				}
			})
		})
	}
}

// TestRowsOfOneEngine moves a volume to the engine's other name, with its binding or to another one: its row goes with it, so that
// nothing is removed when the engine does not say any more which it is.
func TestRowsOfOneEngine(t *testing.T) {
	for _, binding := range []string{"a", "b"} {
		t.Run("to "+binding, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEstate(t)
				on := func(binding, host, self string) {
					e.read("version: 1\nproject: shop\nhosts: {one: {context: one}}\ncas: {internal: {local: {}}}\nbindings:\n  c: {trust: [internal], host: local, volume: others}\n  " +
						binding + ": {trust: [internal], host: " + host + ", volume: certs}\n")
					e.SetEngine("local", memory.Engine{Self: self})
					e.SetEngine("one", memory.Engine{Self: self})
				}
				on("a", "local", "the same")
				e.converge()
				st, was, other := e.load(), reconcile.Location{Host: "local", Volume: "certs"}, reconcile.Location{Host: "one", Volume: "certs"}
				row := st.Places[was]
				row.Files = append(row.Files, "z.pem")
				st.Places[was] = row
				e.commit(st)
				on(binding, "one", "the same")
				time.Sleep(time.Hour)
				e.converge()
				rows := e.load().Places
				if got := rows[other]; len(rows) != 2 || got.Binding != binding || !slices.Equal(got.Files, []string{"ca.pem"}) || !got.First.Equal(row.First) {
					t.Errorf("rows %+v, first of all %+v", rows, row)
				}
				on(binding, "one", "")
				if plan := e.plan(reconcile.Scope{}); !plan.Empty() {
					t.Errorf("when it is not known:\n%s", text(plan))
				}
			})
		})
	}
}
