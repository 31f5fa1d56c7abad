package reconcile_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/providers/formats"
	"github.com/certwright/certwright/providers/localca"
	"github.com/certwright/certwright/providers/memory"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// estate is a whole world in memory and the spec it is kept by. It lives in a testing/synctest bubble, so that
// waiting costs nothing.
type estate struct {
	*memory.World
	t     *testing.T
	spec  *spec.Spec
	ids   map[string][]string // container ids by binding
	swarm *swarm
	// company is a CA outside, nil where there is none.
	company *company
	lost    reconcile.Issued // what it is to revoke
	pair    reconcile.Issued // what web was brought along with; zero for nothing
}

// estateYAML has one binding of each kind that decides differently.
const estateYAML = `
version: 1
project: shop
cas:
  internal: {local: {lifetime: 10y}}
  services: {local: {parent: internal, lifetime: 2y}}
identities:
  web: {ca: services, names: [web], lifetime: 14d}
  db: {ca: services, names: [db]}
  many: {ca: internal, names: [many], reuseKey: true}
  client: {ca: services, usages: [client]}
bindings:
  web:
    identity: web
    container: web
    directory: /srv/web
    reload: {signal: HUP}
    probe: {port: 443, clientAuth: required}
  db:
    identity: db
    trust: [internal]
    container: db
    volume: db-certs
    layout: plain
    owner: "999:999"
    reload: [{signal: HUP}, restart]
    probe: {port: 443}
  many:
    identity: many
    container: {label: tier=many}
    volume: many-certs
    reload: restart
    probe: {port: 443}
  client:
    identity: client
    container: client
    path: /certs
    reload: {signal: USR1}
  roots:
    trust: [internal]
    directory: /srv/roots
`

// newEstate makes an estate whose containers were created and wait for their files.
func newEstate(t *testing.T) *estate {
	t.Helper()
	e := &estate{World: memory.New(time.Now), t: t, ids: map[string][]string{}, swarm: &swarm{now: reconcile.Swarm{Err: "no manager"}}}
	e.swarm.effects = func() reconcile.Around { return e.Around }
	e.read(estateYAML)
	bind := func(src, dst string) []reconcile.Mount {
		return []reconcile.Mount{{Type: "bind", Source: src, Destination: dst}}
	}
	volume := func(name string) []reconcile.Mount {
		return []reconcile.Mount{{Type: "volume", Name: name, Destination: "/certs"}}
	}
	server := func(b memory.Behaviour) *memory.Server {
		return &memory.Server{Port: 443, Cert: "/certs/cert.pem", Key: "/certs/key.pem", Behaviour: b}
	}
	mtls := server(memory.Reloads)
	mtls.CA, mtls.ClientAuth = "/certs/ca.pem", spec.ClientAuthRequired
	e.create("web", memory.Container{Container: reconcile.Container{Name: "web", Mounts: bind("/srv/web", "/certs")}, Server: mtls})
	e.create("db", memory.Container{
		Container: reconcile.Container{Name: "db", Mounts: volume("db-certs")}, Server: server(memory.Restarts),
		User: reconcile.Owner{UID: 999, GID: 999},
	})
	for i := range 3 {
		e.create("many", memory.Container{
			Container: reconcile.Container{
				Name: fmt.Sprintf("many-%d", i), Labels: map[string]string{"tier": "many"}, Mounts: volume("many-certs"),
			},
			Server: server(memory.Restarts),
		})
	}
	e.create("client", memory.Container{Container: reconcile.Container{Name: "client", Mounts: bind("/srv/client", "/certs")}})
	return e
}

func (e *estate) create(binding string, c memory.Container) {
	c.Bound = true
	e.ids[binding] = append(e.ids[binding], e.Create(c))
}

// read replaces the spec.
func (e *estate) read(text string) {
	e.t.Helper()
	s, err := spec.Parse([]spec.Input{{Name: "tls.yaml", Data: []byte(text)}}, func(name string) (string, bool) { return "/home/ops", name == "HOME" })
	if err != nil {
		e.t.Fatal(err)
	}
	e.spec = s
}

// edit changes the spec by replacing pieces of it: old, new, old, new, …
func (e *estate) edit(pieces ...string) {
	e.t.Helper()
	for i := 0; i < len(pieces); i += 2 {
		if !strings.Contains(estateYAML, pieces[i]) {
			e.t.Fatalf("the estate's spec has no %q", pieces[i])
		}
	}
	e.read(strings.NewReplacer(pieces...).Replace(estateYAML))
}

// start starts every container that does not run.
func (e *estate) start() {
	for _, ids := range e.ids {
		for _, id := range ids {
			if c, err := e.Container(id); err == nil && !c.Running() {
				_ = e.Start(id)
			}
		}
	}
}

func (e *estate) applier() reconcile.Applier {
	outside := map[string]reconcile.Outside{}
	if e.company != nil {
		outside["step"] = e.company
	}
	return reconcile.Applier{
		Providers: reconcile.Providers{
			Store: e.World, Authority: &localca.CA{Now: time.Now}, Formats: formats.Formats{}, Places: e.World, Engines: e.World, Swarms: e.swarm, Daemons: e.World, Prober: e.World,
			Secret:  func(spec.Source) ([]byte, error) { return []byte("secret"), nil },
			Roots:   func(string) ([][]byte, error) { return nil, nil },
			Outside: outside,
		},
		Spec: e.spec, Clock: time.Now, Couriers: true,
	}
}

// observe looks at everything.
func (e *estate) observe() reconcile.World {
	e.t.Helper()
	w, err := reconcile.Observe(e.t.Context(), e.applier().Providers, e.spec, reconcile.Look{Couriers: true, Probe: true, Now: time.Now()})
	if err != nil {
		e.t.Fatal(err)
	}
	return w
}

// plan is what would be done now.
func (e *estate) plan(scope reconcile.Scope) reconcile.Plan {
	e.t.Helper()
	scope.Since = time.Now()
	return reconcile.Diff(e.spec, e.observe(), scope)
}

// converge applies until nothing is left and fails the test if that cannot be reached.
func (e *estate) converge() reconcile.Outcome {
	e.t.Helper()
	out, err := e.applier().Converge(e.t.Context(), reconcile.Scope{})
	if err != nil {
		e.t.Fatal(err)
	}
	return out
}

// steady brings the estate to rest: all issued, placed, running and proved.
func (e *estate) steady() {
	e.t.Helper()
	for range 2 {
		if out := e.converge(); out.Err != nil {
			e.t.Fatal(out.Err)
		}
		e.start()
	}
	e.converge()
	e.audit()
}

// audit checks everything that has to be true of an estate at rest.
func (e *estate) audit() {
	e.t.Helper()
	w := e.observe()
	plan := reconcile.Diff(e.spec, w, reconcile.Scope{Since: time.Now()})
	if !plan.Empty() || len(plan.Blocked) > 0 {
		e.t.Errorf("the plan is not empty:\n%s", text(plan))
	}
	for _, b := range reconcile.Assess(e.spec, w, plan).Bindings {
		want := reconcile.Ready
		switch b.Name {
		case "client", "roots", "ops", "batch":
			want = reconcile.Unverified
		}
		if b.State != want {
			e.t.Errorf("%s is %s (%s), want %s", b.Name, b.State, b.Reason, want)
		}
	}
	if e.Daemon(e.t.Context(), "local").Unfinished {
		e.t.Error("dockerd has a way back still, from what is proved")
	}
	if err := e.Check(); err != nil {
		e.t.Error(err)
	}
}

// text is a plan as a table of tests has it.
func text(p reconcile.Plan) string {
	var s strings.Builder
	for _, x := range p.Steps {
		fmt.Fprintf(&s, "%d %s: %s", x.ID, x.Action, x.Reason)
		if len(x.After) > 0 {
			fmt.Fprintf(&s, " %v", x.After)
		}
		s.WriteByte('\n')
	}
	for _, r := range p.Blocked {
		fmt.Fprintf(&s, "%s %s: %s\n", r.State, r.Subject, r.Reason)
	}
	for _, r := range p.Waiting {
		fmt.Fprintf(&s, "Waiting %s: %s\n", r.Subject, r.Reason)
	}
	return s.String()
}
