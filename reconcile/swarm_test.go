package reconcile_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/reconcile"
)

// swarmCA is that of a Swarm of three nodes at rest, with the counter that project shop noted; "" for none.
func swarmCA(rotation string) reconcile.SwarmCA {
	ca := reconcile.SwarmCA{Root: "root0", Issuer: "key0", Lifetime: 90 * 24 * time.Hour, NotAfter: time.Now().AddDate(20, 0, 0)}
	for _, name := range []string{"a", "b", "c"} {
		ca.Nodes = append(ca.Nodes, reconcile.SwarmNode{Name: name, State: "ready", Root: ca.Root, Issuer: ca.Issuer})
	}
	if rotation != "" {
		ca.Labels = map[string]string{"certwright.rotation.shop": rotation}
	}
	return ca
}

func (s *swarm) node(name string) *reconcile.SwarmNode {
	nodes := s.now.CA.Nodes
	return &nodes[slices.IndexFunc(nodes, func(n reconcile.SwarmNode) bool { return n.Name == name })]
}

// SwarmCA answers, and between two answers one node gets on.
func (s *swarm) SwarmCA(context.Context, string) reconcile.SwarmCA {
	ca := s.now.CA
	ca.Nodes = slices.Clone(ca.Nodes)
	now := &s.now.CA
	for i := range now.Nodes {
		n := &now.Nodes[i]
		if now.TLS(*n) != "ready" && n.State == "ready" && n.Name != s.stays {
			n.Issuer, n.Root = now.Issuer, now.Root
			return ca
		}
	}
	if now.Rotating && !slices.ContainsFunc(now.Nodes, func(n reconcile.SwarmNode) bool { return n.Issuer != now.Issuer }) {
		now.Rotating, now.Root = false, s.next
	}
	return ca
}

func (s *swarm) UpdateSwarm(_ context.Context, _ string, u reconcile.SwarmUpdate) error {
	ca := &s.now.CA
	if u.Forced != ca.Forced || u.Rotating != ca.Rotating || u.Root != ca.Root {
		return reconcile.ErrChanged
	}
	return s.effects().Do("POST /swarm/update", func() error {
		labels := maps.Clone(u.Labels)
		if labels == nil {
			labels = map[string]string{}
		}
		for k, v := range ca.Labels {
			if _, changed := labels[k]; !changed {
				labels[k] = v
			}
		}
		ca.Labels = labels
		if u.Lifetime > 0 {
			ca.Lifetime = u.Lifetime
		}
		if u.Rotate {
			ca.Forced++
			s.begin(fmt.Sprint("key", ca.Forced), fmt.Sprint("root", ca.Forced))
		}
		if u.External != nil {
			root, issuer := namesOf(u.External.Root)
			ca.External = []reconcile.ExternalCA{{URL: u.External.URL, Root: root}}
			if root != ca.Root {
				s.begin(issuer, root)
			} else {
				ca.Rotating, ca.Issuer = false, issuer
			}
		}
		return nil
	})
}

// begin begins to rotate.
func (s *swarm) begin(issuer, root string) {
	s.rotations++
	s.now.CA.Rotating, s.now.CA.Issuer, s.next = true, issuer, root
}

// newSwarmEstate is an estate of nothing but a Swarm, and of what the spec says of it.
func newSwarmEstate(t *testing.T, section, rotation string) (*estate, *swarm) {
	t.Helper()
	e := newEstate(t)
	e.read("version: 1\nproject: shop\nswarm: " + section + "\n")
	e.swarm.now = reconcile.Swarm{CA: swarmCA(rotation)}
	return e, e.swarm
}

// TestSwarmDiff has a row for each reason that a plan gives about the Swarm's own CA.
func TestSwarmDiff(t *testing.T) {
	down := func(names ...string) func(*swarm) {
		return func(s *swarm) {
			for _, n := range names {
				s.node(n).State = "down"
			}
		}
	}
	begun := func(s *swarm) {
		s.begin("key1", "root1")
		s.node("a").Issuer = "key1"
	}
	const rotate = "1 rotate the Swarm's root on 3 nodes, which changes its join tokens: rotation was raised from 1 to 2"
	for _, row := range []struct {
		name, section, rotation string
		do                      func(s *swarm)
		scope                   reconcile.Scope
		want                    string
	}{
		{"nothing is wanted", "{}", "", nil, reconcile.Scope{}, ""},
		{"no manager", "{rotation: 2}", "1", func(s *swarm) { s.now.Err = "no manager" }, reconcile.Scope{}, "Waiting swarm/local: waits for the Swarm: no manager\n"},
		{"no answer", "{rotation: 2}", "1", func(s *swarm) { s.now.CA = reconcile.SwarmCA{Err: "locked"} }, reconcile.Scope{}, "Waiting swarm/local: waits for the Swarm: locked\n"},
		{"first sight", "{rotation: 7}", "", nil, reconcile.Scope{}, "1 note rotation 7 of the Swarm's root: seen for the first time, so nothing is rotated\n"},
		{"first sight of zero", "{rotation: 0}", "", nil, reconcile.Scope{}, "1 note rotation 0 of the Swarm's root: seen for the first time, so nothing is rotated\n"},
		{"the label is no number", "{rotation: 7}", "x", nil, reconcile.Scope{}, "1 note rotation 7 of the Swarm's root: seen for the first time, so nothing is rotated\n"},
		{
			"another project's", "{rotation: 7}", "", func(s *swarm) { s.now.CA.Labels = map[string]string{"certwright.rotation.other": "9"} },
			reconcile.Scope{},
			"1 note rotation 7 of the Swarm's root: seen for the first time, so nothing is rotated\n",
		},
		{"the same", "{nodeCertLifetime: 90d, rotation: 2}", "2", nil, reconcile.Scope{}, ""},
		{"lifetime", "{nodeCertLifetime: 720h}", "", nil, reconcile.Scope{}, "1 let the Swarm's node certificates live 30d: they live 90d\n"},
		{"raised", "{rotation: 2}", "1", nil, reconcile.Scope{}, rotate + "\n"},
		{"lowered", "{rotation: 1}", "2", nil, reconcile.Scope{}, "Blocked swarm/local: rotation is 1, but the Swarm has had 2\n"},
		{"left the spec", "{}", "2", nil, reconcile.Scope{}, ""},
		{
			"nodes are down", "{rotation: 2}", "1", down("a", "c"),
			reconcile.Scope{},
			"Blocked swarm/local: rotation was raised from 1 to 2, but not every node is ready: a (down), c (down)\n",
		},
		{"forced", "{rotation: 2}", "1", down("c"), reconcile.Scope{ForceRotation: true}, rotate + "; it will wait for c (down)\n"},
		{"forced without need", "{rotation: 2}", "1", nil, reconcile.Scope{ForceRotation: true}, rotate + "\n"},
		{
			"its root was given to it", "{rotation: 2}", "1", func(s *swarm) { s.now.CA.Foreign = "its root was given to it" },
			reconcile.Scope{},
			"Blocked swarm/local: rotation was raised from 1 to 2, but its root was given to it\n",
		},
		{
			"under way by somebody else", "{nodeCertLifetime: 720h, rotation: 2}", "1", begun,
			reconcile.Scope{},
			"1 follow the rotation of the Swarm's root: 1/3 nodes have a certificate of the new root, waits for b, c\n",
		},
		{
			"under way, nobody is behind", "{}", "1", func(s *swarm) {
				begun(s)
				s.node("b").Issuer, s.node("c").Issuer = "key1", "key1"
			}, reconcile.Scope{}, "1 follow the rotation of the Swarm's root: 3/3 nodes have a certificate of the new root\n",
		},
		{
			"under way, one is down", "{rotation: 1}", "1", func(s *swarm) {
				begun(s)
				s.node("c").State = "down"
			}, reconcile.Scope{}, "1 follow the rotation of the Swarm's root: 1/3 nodes have a certificate of the new root, waits for b, c (down)\n",
		},
		{
			"over, one that is down was not there", "{nodeCertLifetime: 720h, rotation: 1}", "1", func(s *swarm) {
				down("c")(s)
				s.node("c").Issuer = "key"
			}, reconcile.Scope{}, "1 let the Swarm's node certificates live 30d: they live 90d\n",
		},
		{
			"under way, all the rest are down", "{rotation: 1}", "1", func(s *swarm) {
				begun(s)
				down("b", "c")(s)
			}, reconcile.Scope{}, "Waiting swarm/local: the rotation of its root is under way: 1/3 nodes have a certificate of the new root, waits for b (down), c (down)\n",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, s := newSwarmEstate(t, row.section, row.rotation)
				if row.do != nil {
					row.do(s)
				}
				if diff := cmp.Diff(row.want, text(e.plan(row.scope))); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
				row.scope.Only = []string{"some binding"}
				if got := text(e.plan(row.scope)); got != "" {
					t.Errorf("a plan about bindings has\n%s", got)
				}
			})
		})
	}
}

// said converges and returns how far rotations were said to be.
func (e *estate) said(scope reconcile.Scope) (reconcile.Outcome, []string) {
	e.t.Helper()
	var said []string
	a := e.applier()
	a.Report = func(ev reconcile.Event) {
		if ev.Said != "" {
			said = append(said, ev.Said)
		}
	}
	out, err := a.Converge(e.t.Context(), scope)
	if err != nil {
		e.t.Fatal(err)
	}
	return out, said
}

const (
	issued = " nodes have a certificate of the new root"
	alone  = " nodes trust the new root alone"
)

// TestRotation follows the rotation of three nodes step by step, and does it once.
func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, s := newSwarmEstate(t, "{nodeCertLifetime: 720h, rotation: 2}", "1")
		out, said := e.said(reconcile.Scope{})
		want := []string{
			"0/3" + issued + ", waits for a, b, c", "1/3" + issued + ", waits for b, c", "2/3" + issued + ", waits for c", "3/3" + issued,
			"0/3" + alone + ", waits for a, b, c", "1/3" + alone + ", waits for b, c", "2/3" + alone + ", waits for c", "3/3" + alone,
		}
		if diff := cmp.Diff(want, said); diff != "" {
			t.Errorf("it said (-want +got)\n%s", diff)
		}
		ca := s.now.CA
		if out.Err != nil || !out.Plan.Empty() || s.rotations != 1 || ca.Root != "root1" || ca.Rotating || ca.Lifetime != 30*24*time.Hour || ca.Labels["certwright.rotation.shop"] != "2" {
			t.Errorf("%v, %d rotations, left is\n%s%+v", out.Err, s.rotations, text(out.Plan), ca)
		}
	})
}

// TestRotationForced says what a forced rotation waits for, and goes on when that is there.
func TestRotationForced(t *testing.T) {
	for name, back := range map[string]func(s *swarm){
		"back":    func(s *swarm) { s.node("c").State = "ready" },
		"removed": func(s *swarm) { s.now.CA.Nodes = s.now.CA.Nodes[:2] },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, s := newSwarmEstate(t, "{rotation: 2}", "1")
				s.node("c").State = "down"
				if out := e.converge(); len(out.Plan.Blocked) != 1 || s.rotations != 0 {
					t.Fatalf("with a node that is down, %d rotations and\n%s", s.rotations, text(out.Plan))
				}
				begun := time.Now()
				out, said := e.said(reconcile.Scope{ForceRotation: true})
				if took := time.Since(begun); took > time.Minute {
					t.Errorf("it waited %s for a node that is down", took)
				}
				want := "2/3" + issued + ", waits for c (down)"
				if got := said[len(said)-1]; got != want || out.Err != nil || !out.Plan.Empty() {
					t.Errorf("it said %q, %v, left is\n%s", got, out.Err, text(out.Plan))
				}
				status := reconcile.Assess(e.spec, out.World, out.Plan)
				if x := status.Swarm; !x.Awaited || x.Reason != "the rotation of its root is under way: "+want || x.Hint == "" || x.TLS(x.Nodes[2]) != "needs rotation" {
					t.Errorf("status: %+v", x)
				}
				back(s)
				out, said = e.said(reconcile.Scope{})
				if s.now.CA.Rotating || s.rotations != 1 || out.Err != nil || !out.Plan.Empty() || len(out.Plan.Waiting) > 0 {
					t.Errorf("in the end it said %q, %d rotations, %v, left is\n%s", said, s.rotations, out.Err, text(out.Plan))
				}
			})
		})
	}
}

// TestRotationLasts ends the following of a node that is there and does not get on, and says so.
func TestRotationLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, s := newSwarmEstate(t, "{rotation: 2}", "1")
		s.stays = "b"
		start := time.Now()
		w := e.observe()
		err := e.applier().Apply(t.Context(), w, reconcile.Diff(e.spec, w, reconcile.Scope{}))
		want := "step 1: rotate the Swarm's root on 3 nodes, which changes its join tokens: it did not get on for 1m0s: 2/3" + issued + ", waits for b; the next apply follows it"
		if err == nil || err.Error() != want || time.Since(start) > 2*time.Minute {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
		s.stays = ""
		if out := e.converge(); out.Err != nil || !out.Plan.Empty() || s.now.CA.Rotating || s.rotations != 1 {
			t.Errorf("%v, %d rotations, left is\n%s", out.Err, s.rotations, text(out.Plan))
		}
	})
}

// silent is a manager that does not answer for a while, once it has been asked to rotate.
type silent struct {
	*swarm
	times int
}

func (s *silent) SwarmCA(ctx context.Context, host string) reconcile.SwarmCA {
	if s.times > 0 {
		s.times--
		return reconcile.SwarmCA{Err: "the managers have no leader"}
	}
	return s.swarm.SwarmCA(ctx, host)
}

// TestRotationWithoutALeader follows the rotation of a Swarm whose root was rotated before, and whose managers have no leader
// for a while: that is not its end.
func TestRotationWithoutALeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, s := newSwarmEstate(t, "{rotation: 2}", "1")
		s.now.CA.Forced = 4
		a, ended := e.applier(), 0
		a.Swarms = &silent{s, 3}
		a.Report = func(ev reconcile.Event) {
			if ev.Done {
				ended++
				if ev.Err != nil || s.now.CA.Rotating || s.now.CA.Root != "root5" {
					t.Errorf("%s ended with %v, the root is %s", ev.Step.Action, ev.Err, s.now.CA.Root)
				}
			}
		}
		if converged(t, a); s.rotations != 1 || ended != 1 {
			t.Errorf("%d rotations in %d steps", s.rotations, ended)
		}
	})
}
