package reconcile_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/reconcile"
)

type dialled struct{ Name, Via, Address string }

// dialling notes who is dialled, and connects to nobody.
type dialling struct {
	reconcile.Engines
	containers []reconcile.Container
	mu         sync.Mutex
	dialled    []dialled
}

func (d *dialling) List(context.Context, string) reconcile.EngineState {
	return reconcile.EngineState{Containers: d.containers}
}

func (d *dialling) Dial(_ context.Context, c reconcile.Container, _ int, _ bool) (net.Conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dialled = append(d.dialled, dialled{c.Name, c.Via, c.Addresses[0]})
	return nil, errors.New("nobody is there")
}

// shown is a prober to whom everyone shows the same certificate.
type shown struct{ serial string }

func (s shown) Probe(ctx context.Context, r reconcile.ProbeRequest) reconcile.Served {
	_, _ = r.Dial(ctx)
	return reconcile.Served{Serial: s.serial}
}

// TestAway has tasks on other nodes: each is dialled at the address it has in a network that something of this node is in,
// and an outpost is sent where nothing is.
func TestAway(t *testing.T) {
	here := reconcile.Container{Host: "local", ID: "c1", Name: "shop_api.1", State: "running", Labels: map[string]string{"com.docker.swarm.task.id": "t1"}}
	for _, row := range []struct {
		name           string
		first, second  map[string]string // the addresses of the tasks
		here, couriers bool              // the first task runs here
		fails          error
		dialled        []dialled
		outposts       []string
		reason         string
		state          reconcile.BindingState
		recalled       int
	}{
		{
			name: "one of ours is there", first: map[string]string{"net": "10.0.1.2"}, second: map[string]string{"net": "10.0.1.3"}, here: true, couriers: true,
			dialled: []dialled{{"shop_api.1", "", "172.18.0.2"}, {"shop_api.2", "c1", "10.0.1.3"}}, state: reconcile.Ready,
		},
		{
			name: "none is there", first: map[string]string{"net": "10.0.1.2", "other": "10.0.2.2"}, second: map[string]string{"net": "10.0.1.3"}, couriers: true,
			dialled: []dialled{{"shop_api.1", "outpost-net", "10.0.1.2"}, {"shop_api.2", "outpost-net", "10.0.1.3"}}, outposts: []string{"net"}, recalled: 1, state: reconcile.Ready,
		},
		{
			name: "without couriers", first: map[string]string{"net": "10.0.1.2"}, second: map[string]string{"net": "10.0.1.3"},
			reason: "2 of its tasks run on other nodes and cannot be probed from here: no courier may be started", state: reconcile.Unverified,
		},
		{
			name: "in no network", first: map[string]string{"net": "10.0.1.2"}, here: true, couriers: true, dialled: []dialled{{"shop_api.1", "", "172.18.0.2"}},
			reason: "1 of its tasks run on other nodes and cannot be probed from here: it is in no overlay network", state: reconcile.Unverified,
		},
		{
			name: "no outpost", first: map[string]string{"net": "10.0.1.2"}, second: map[string]string{"net": "10.0.1.3"}, couriers: true, fails: errors.New("no room"),
			outposts: []string{"net"}, recalled: 1, reason: "2 of its tasks run on other nodes and cannot be probed from here: no room", state: reconcile.Unverified,
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, s := newServiceEstate(t)
				e.read(strings.Replace(serviceYAML, "    secret:", "    probe: {port: 443}\n    secret:", 1))
				s.now.Tasks[0].Slot, s.now.Tasks[0].Addresses = "1", row.first
				s.now.Tasks[1].Slot, s.now.Tasks[1].Addresses = "2", row.second
				s.fails = row.fails
				engines := &dialling{Engines: e.applier().Engines}
				if row.here {
					c := here
					c.Addresses = []string{"172.18.0.2"}
					engines.containers = []reconcile.Container{c}
				}
				p := e.applier().Providers
				p.Engines, p.Prober = engines, shown{e.load().Identities["api"].Serial}
				w, err := reconcile.Observe(t.Context(), p, e.spec, reconcile.Look{Probe: true, Couriers: row.couriers, Now: time.Now()})
				if err != nil {
					t.Fatal(err)
				}
				got := engines.dialled
				slices.SortFunc(got, func(a, b dialled) int { return strings.Compare(a.Name, b.Name) })
				if d := cmp.Diff(row.dialled, got); d != "" {
					t.Errorf("dialled: -want +got:\n%s", d)
				}
				if d := cmp.Diff(row.outposts, s.outposts); d != "" || s.recalled != row.recalled {
					t.Errorf("outposts: -want +got:\n%s\nrecalled %d times, want %d", d, s.recalled, row.recalled)
				}
				b := reconcile.Assess(e.spec, w, reconcile.Diff(e.spec, w, reconcile.Scope{})).Bindings[0]
				if b.State != row.state || b.Reason != row.reason || len(b.Targets) != 2 {
					t.Errorf("%s (%s) with %d targets, want %s (%s)", b.State, b.Reason, len(b.Targets), row.state, row.reason)
				}
			})
		})
	}
}
