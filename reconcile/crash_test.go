package reconcile_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certwright/certwright/reconcile"
)

// flows are the ways from one state of rest to another. What an estate does on the way is the crash table: every
// side effect of every flow is refused, loses its reply, and is the last thing done before and after a death.
var flows = []struct {
	name  string
	ready bool // it starts from an estate at rest
	begin func(e *estate)
}{
	{"first apply", false, func(*estate) {}},
	{"first apply beside running containers", false, func(e *estate) { e.start() }},
	{"first apply of what was brought along", false, func(e *estate) { e.alongWithPair(14 * 24 * time.Hour) }},
	{"renewal", true, func(*estate) { time.Sleep(21 * 24 * time.Hour) }},
	{"rotate", true, func(e *estate) { e.wish("identity/many") }},
	{"trust changes", true, func(e *estate) {
		e.edit("cas:", "cas:\n  other: {local: {}}", "trust: [internal]\n    container: db", "trust: [internal, other]\n    container: db")
	}},
	{"names change", true, func(e *estate) { e.edit("names: [web]", "names: [web, www]") }},
	{"layout changes", true, func(e *estate) { e.edit("layout: plain", "layout: atomic") }},
	{"file leaves the spec", true, func(e *estate) {
		e.edit("directory: /srv/roots", "directory: /srv/roots\n    files: {roots.pem: ca}")
	}},
	{"binding leaves the spec", true, func(e *estate) {
		e.edit("  roots:\n    trust: [internal]\n    directory: /srv/roots\n", "")
	}},
	{"place moves", true, func(e *estate) { e.edit("/srv/roots", "/srv/anchors") }},
	{"a context appears", true, func(e *estate) { e.withContext() }},
	{"a context drifts", true, func(e *estate) {
		e.withContext()
		e.converge()
		c := e.spec.BindingByName("ops").Place.Context
		e.Delete(reconcile.Location{Host: "local", Dir: c.TLS()}, "docker/key.pem")
		e.Edit(reconcile.Location{Host: "local", Dir: c.MetaDir()}, "meta.json", []byte("{}"))
	}},
	{"a context leaves the spec", true, func(e *estate) {
		e.withContext()
		e.converge()
		e.read(estateYAML)
	}},
	{"an engine gets TLS", true, func(e *estate) { e.withEngine() }},
	{"the certificate of an engine is renewed", true, func(e *estate) {
		e.withEngine()
		e.converge()
		e.wish("identity/engine")
	}},
	{"an engine whose unit says where it listens", true, func(e *estate) {
		e.withEngine()
		d := e.Dockerd()
		d.Command = []string{"/usr/bin/dockerd", "-H", "fd://", "--debug"}
		e.SetDockerd(d)
	}},
	{"trust stores get roots", true, func(e *estate) { e.withStores() }},
	{"roots leave trust stores", true, func(e *estate) {
		e.withStores()
		e.converge()
		e.read(estateYAML)
	}},
	{"an engine that does not come up at first", true, func(e *estate) {
		e.withEngine()
		d := e.Dockerd()
		d.Command = []string{"/usr/bin/dockerd", "-H", "fd://", "--debug"}
		start := time.Now()
		d.Refuses = func(string) string {
			if time.Since(start) < time.Minute {
				return "it does not like it"
			}
			return ""
		}
		e.SetDockerd(d)
	}},
	{"a restart that was cut off is settled", true, func(e *estate) {
		e.withEngine()
		e.Around = func(what string, do func() error) error {
			if what == "forget daemon.json of before" {
				return errFault
			}
			return do()
		}
		_, _ = e.applier().Converge(e.t.Context(), reconcile.Scope{})
		e.wish("identity/engine")
	}},
	{"drift", true, func(e *estate) {
		e.Delete(reconcile.Location{Host: "local", Dir: "/srv/web"}, "key.pem")
		e.Edit(reconcile.Location{Host: "local", Volume: "db-certs"}, "cert.pem", []byte("nothing"))
	}},
	{"adopt", true, func(e *estate) {
		e.ForeignFile(reconcile.Location{Host: "local", Dir: "/srv/roots"}, "ca.pem", []byte("someone else's"))
		e.adopt("roots")
	}},
	{"success after failures", true, func(e *estate) {
		e.Delete(reconcile.Location{Host: "local", Dir: "/srv/roots"}, "ca.pem")
		st := e.load()
		st.Failures["binding/roots place /srv/roots"] = reconcile.Failure{Count: 3, At: time.Now(), Next: time.Now().Add(time.Minute), Error: "struck"}
		e.commit(st)
	}},
	{"revocation", true, func(e *estate) { e.lostKey() }},
	{"rotation of the Swarm's root", true, func(e *estate) {
		e.swarm.now = reconcile.Swarm{CA: swarmCA("1")}
		e.read(estateYAML + "swarm: {nodeCertLifetime: 720h, rotation: 2}\n")
	}},
	{"rotation to an external CA", true, func(e *estate) {
		e.swarm.now = reconcile.Swarm{CA: swarmCA("")}
		e.read(estateYAML + "swarm: {nodeCertLifetime: 720h, " + e.nodeCA("root.pem") + "}\n")
	}},
	{"a rotation given up", true, func(e *estate) {
		e.swarm.now = reconcile.Swarm{CA: swarmCA("")}
		e.read(estateYAML + "swarm: {nodeCertLifetime: 720h, " + e.nodeCA("root.pem") + "}\n")
		e.swarm.trusts(e.spec.Swarm.External.Root)
		e.swarm.begin("key1", "root1")
	}},
}

// wish records that an identity shall be rotated.
func (e *estate) wish(subject string) {
	e.t.Helper()
	st := e.load()
	st.Wishes[subject] = reconcile.Wish{At: time.Now(), Serial: st.Identities[strings.TrimPrefix(subject, "identity/")].Serial}
	e.commit(st)
}

func (e *estate) adopt(binding string) {
	e.t.Helper()
	st := e.load()
	st.Wishes["binding/"+binding] = reconcile.Wish{At: time.Now(), Adopt: true}
	e.commit(st)
}

func (e *estate) load() reconcile.State {
	e.t.Helper()
	st, err := e.Load(e.t.Context())
	if err != nil {
		e.t.Fatal(err)
	}
	return st.Clone()
}

func (e *estate) commit(st reconcile.State) {
	e.t.Helper()
	if err := e.Commit(e.t.Context(), st); err != nil {
		e.t.Fatal(err)
	}
}

// lostKey has the client's certificate of a CA outside revoked, whose key the spec wants to be kept.
func (e *estate) lostKey() {
	e.t.Helper()
	e.company = newCompany(e.t)
	e.company.around = func(what string, do func() error) error { return e.Around.Do(what, do) }
	e.edit("cas:", "cas:\n  company: {step: {url: \"https://ca.test\", fingerprint: "+e.company.fingerprint()+", provisioner: docker, password: {env: P}}}",
		"client: {ca: services, usages: [client]}", "client: {ca: company, usages: [client], reuseKey: true}")
	e.converge()
	st := e.load()
	lost := st.Identities["client"]
	st.Revocations[lost.Serial] = reconcile.Revocation{Identity: "client", Issued: lost, At: time.Now()}
	st.Wishes["identity/client"] = reconcile.Wish{At: time.Now(), Serial: lost.Serial, NewKey: true}
	e.commit(st)
	e.lost = lost
}

// revoked fails the test unless the lost certificate was revoked with its key, and another one of another key is there.
func (e *estate) revoked() {
	e.t.Helper()
	st := e.load()
	if len(e.company.revoked) == 0 || len(st.Revocations) > 0 {
		e.t.Errorf("it was revoked %d times, and %d are still to be", len(e.company.revoked), len(st.Revocations))
		return
	}
	if q := e.company.revoked[0]; q.Serial != e.lost.Serial || q.Own == nil || q.Own.Serial != e.lost.Serial || len(q.Roots) != 1 {
		e.t.Errorf("another one was revoked: %v", q.Serial)
	}
	if now := st.Identities["client"]; now.Serial == e.lost.Serial || bytes.Equal(now.Key.PKCS8(), e.lost.Key.PKCS8()) {
		e.t.Error("the identity has the same key")
	}
}

// fault strikes one effect.
type fault struct {
	at   int    // the effect, from one
	kind string // one of faultKinds

	mu   sync.Mutex
	seen int
	dead bool
	what string // the effect that was struck
}

var (
	faultKinds = []string{"refused", "lost reply", "dies before", "dies after"}
	errFault   = errors.New("struck")
)

func (f *fault) around(what string, do func() error) error {
	f.mu.Lock()
	f.seen++
	struck, dead := f.seen == f.at, f.dead
	if struck {
		f.what = what
		f.dead = strings.HasPrefix(f.kind, "dies")
	}
	f.mu.Unlock()
	switch {
	case dead:
		return errFault // a dead process does nothing more
	case !struck:
		return do()
	case f.kind == "lost reply" || f.kind == "dies after":
		_ = do()
	}
	return errFault
}

func TestCrashTable(t *testing.T) {
	for _, flow := range flows {
		t.Run(flow.name, func(t *testing.T) {
			t.Parallel()
			effects, kinds := 0, faultKinds
			if testing.Short() { // under the race detector
				kinds = faultKinds[3:]
			}
			for _, kind := range kinds {
				for at := 1; ; at++ {
					f := &fault{at: at, kind: kind}
					strike(t, flow.ready, flow.begin, f)
					if f.what == "" {
						effects = at - 1
						break
					}
				}
			}
			if effects < 2 {
				t.Errorf("%d effects were struck: the flow does nothing", effects)
			}
			t.Logf("%d effects, each struck in %d ways", effects, len(kinds))
		})
	}
}

// strike runs a flow with a fault in it; the next convergence must reach rest.
func strike(t *testing.T, ready bool, begin func(*estate), f *fault) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		if ready {
			e.steady()
		}
		begin(e)
		roots := e.roots()
		e.Around = f.around
		_, _ = e.applier().Converge(t.Context(), reconcile.Scope{})
		e.Around = nil
		if err := e.Startable(); err != nil {
			t.Errorf("what is left, dockerd does not start with: %v", err)
		}
		for name, id := range e.roots() {
			if roots[name] != "" && roots[name] != id {
				t.Errorf("CA %s is another one", name)
			}
		}
		after := e.roots()
		for range 2 {
			time.Sleep(5 * time.Minute) // what is tried again is not someone else's doing
			e.converge()
			e.start()
		}
		e.converge()
		for name, id := range e.roots() {
			if after[name] != "" && after[name] != id {
				t.Errorf("CA %s is another one", name)
			}
		}
		e.audit()
		if e.company != nil {
			e.revoked()
		}
		if got := e.load().Identities["web"].Serial; e.pair.Serial != "" && got != e.pair.Serial {
			t.Errorf("web has the serial %s, and was brought along with %s", got, e.pair.Serial)
		}
		if e.spec.Swarm != nil && e.swarm.rotations != 1 {
			t.Errorf("the Swarm's root was rotated %d times", e.swarm.rotations)
		}
		if t.Failed() {
			t.Fatalf("after effect %d (%s) %s", f.at, f.what, f.kind)
		}
	})
}

// roots are the key ids of the CAs in the store.
func (e *estate) roots() map[string]string {
	st, err := e.Load(e.t.Context())
	if err != nil {
		return nil
	}
	out := map[string]string{}
	for name, ca := range st.CAs {
		out[name] = fmt.Sprint(len(ca.Generations), ca.Active().KeyID)
	}
	return out
}
