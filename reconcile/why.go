package reconcile

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/certwright/certwright/spec"
)

// Causes is the chain behind a binding's state: what each of the five layers shows (DESIGN.md 2.1), the first
// that differs being the cause, and what happens next.
type Causes struct {
	Binding BindingStatus
	Layers  []Layer
	Next    string
}

// Layer is one of wanted, stored, placed, mounted, served.
type Layer struct{ Name, Text string }

// Why explains a binding. It is pure.
func Why(s *spec.Spec, w World, plan Plan, status BindingStatus) Causes {
	v := newView(s, &w)
	b := v.bindings[status.Name]
	c := Causes{Binding: status, Layers: []Layer{{"wanted", v.wantedText(b)}, {"stored", v.storedText(plan, b)}}}
	at, refused, _ := v.locate(b)
	if refused != nil {
		c.Layers = append(c.Layers, Layer{"placed", "no: " + refused.Reason})
	}
	for i, l := range at {
		if _, there := w.State.Places[l.at]; b.Place.Engine != nil && i > 0 && !there {
			continue // its files are in one of two places
		}
		c.Layers = append(c.Layers, Layer{"placed", v.placedText(plan, b, l)})
		for _, x := range l.containers {
			c.Layers = append(c.Layers, Layer{"mounted", v.mountedText(x, l)})
		}
	}
	if b.Place.Swarm() {
		c.Layers = append(c.Layers, v.secretLayers(b)...)
	}
	for _, x := range v.consumers(b) {
		c.Layers = append(c.Layers, Layer{"served", v.servedText(b, x)})
	}
	c.Next = v.next(plan, b, status)
	return c
}

func (v *view) wantedText(b *spec.Binding) string {
	text := "trust alone"
	if b.Identity != nil {
		text = "identity " + b.Identity.Name
	}
	return fmt.Sprintf("%s, declared at %s", text, b.Pos)
}

func (v *view) storedText(plan Plan, b *spec.Binding) string {
	if b.Identity == nil {
		return "nothing of its own"
	}
	text := "no certificate"
	if i, ok := v.issued(b.Identity.Name, v.w.State); ok {
		text = fmt.Sprintf("serial %s, until %s", i.Serial, stamp(i.NotAfter))
	}
	if why := plan.blocked("identity/" + b.Identity.Name); why != "" {
		text += "; no new one can be had: " + why
	}
	return text
}

func (v *view) placedText(plan Plan, b *spec.Binding, l located) string {
	for _, s := range plan.undone() {
		if p, ok := s.Action.(Place); ok && p.Binding == b.Name && p.At == l.at {
			return fmt.Sprintf("not as wanted in %s: %s", l.at, s.Reason)
		}
	}
	if _, missing := v.material(b, v.w.State); missing != "" {
		return "no: " + missing
	}
	if p := v.w.Places[l.at]; p.Err != "" {
		return fmt.Sprintf("unknown in %s: %s", l.at, p.Err)
	}
	for _, r := range plan.Blocked {
		if r.Subject == "binding/"+b.Name && (r.State == Blocked || r.State == Contested) {
			return fmt.Sprintf("not in %s: %s", l.at, r.Reason)
		}
	}
	return fmt.Sprintf("as wanted in %s", l.at)
}

func (v *view) mountedText(c Container, l located) string {
	switch {
	case l.at.Container != "":
		return "the trust store is that of " + c.Name
	case v.outlived(c, l.at):
		why, hint := v.anew(c, l.at)
		return c.Name + " mounts the one that was there before: " + why + ": " + hint
	case !mounts(c, l.at):
		return c.Name + " does not mount it"
	case l.files:
		return c.Name + " mounts single files of it, which pins what they were when it started"
	}
	return c.Name + " mounts it at " + mountedAt(c, l.at)
}

// secretLayers are what is placed for a service, and what its spec mounts.
func (v *view) secretLayers(b *spec.Binding) []Layer {
	swarm, services := v.w.Swarms[b.Host.Name], v.services(b)
	m, missing := v.material(b, v.w.State)
	switch {
	case swarm.Err != "":
		return []Layer{{"placed", "unknown: " + swarm.Err}}
	case missing != "":
		return []Layer{{"placed", "no: " + missing}}
	}
	refs := v.refs(b, m)
	layers := []Layer{{"placed", "as wanted in secrets"}}
	if why := v.unmade(b, refs); why != "" {
		layers[0].Text = "no: " + why
	}
	for _, svc := range services {
		mounted := svc.Name + " mounts them"
		if why := v.unlike(b, svc, v.given(b, svc, refs)); why != "" {
			mounted = svc.Name + ": " + why
		}
		if svc.Update != "" && svc.Update != "completed" {
			mounted += "; its update is " + strings.ReplaceAll(svc.Update, "_", " ") + ": " + svc.Message
		}
		layers = append(layers, Layer{"mounted", mounted})
	}
	switch {
	case len(services) > 0:
	case b.Consumer != nil:
		layers = append(layers, Layer{"mounted", "there is no " + b.Consumer.String()})
	default:
		layers = append(layers, Layer{"mounted", "no service mounts them"})
	}
	return layers
}

func (v *view) servedText(b *spec.Binding, c Container) string {
	s, probed := v.w.Served[TargetKey(b.Name, c)]
	switch {
	case !c.Running():
		return c.Name + " is " + c.State
	case b.Probe == nil:
		return c.Name + ": there is no probe"
	case !probed:
		return c.Name + " was not probed"
	case s.Err != "":
		return c.Name + ": " + s.Err
	}
	text := c.Name + " serves " + s.Serial
	if b.Identity != nil {
		if i, ok := v.issued(b.Identity.Name, v.w.State); ok && i.Serial != s.Serial {
			text += ", not " + i.Serial
			if s.Untrusted != "" {
				text += "; a client would refuse it: " + s.Untrusted
			}
			return text
		}
	}
	if f := v.fault(b, c, s); f != nil {
		text += "; " + f.Reason
	}
	return text
}

// next says what certwright does next about a binding.
func (v *view) next(plan Plan, b *spec.Binding, status BindingStatus) string {
	for _, s := range plan.undone() {
		if s.Action.Subject() == "binding/"+b.Name || (b.Identity != nil && s.Action.Subject() == "identity/"+b.Identity.Name) {
			return fmt.Sprintf("apply will %s (%s)", s.Action, s.Why())
		}
	}
	subjects := []string{"binding/" + b.Name}
	if b.Identity != nil {
		subjects = append(subjects, "identity/"+b.Identity.Name)
	}
	switch again := plan.until(subjects...); {
	case !again.IsZero():
		return "nothing before " + stamp(again)
	case v.w.Engines[b.Host.Name].Err != "" && needsEngine(b), b.Place.Swarm() && v.w.Swarms[b.Host.Name].Err != "":
		return "nothing before it answers: a running watch asks again and again"
	case !status.State.Settled(), b.Identity != nil && plan.blocked("identity/"+b.Identity.Name) != "":
		return "nothing by itself"
	case b.Identity == nil:
		return "nothing"
	}
	id := v.ids[b.Identity.Name]
	if is, ok := v.issued(id.Name, v.w.State); ok && id.From == nil {
		return "nothing before " + stamp(v.w.RenewAt(id, &is)) + ", when its certificate is due"
	}
	return "nothing"
}

// Edge is one client and one server, and whether the server let the client in.
type Edge struct {
	Client, Server string // an identity and a target
	Wanted         bool   // the server's trust has the client's root
	Answer         Answer
	Problem        string // why it could not be asked, or the client's own refusal
	Untrusted      string // why the client would refuse the server's certificate, "" if it would not
}

// Broken reports whether the wire differs from what trust says.
func (e Edge) Broken() bool {
	return e.Answer != NotAsked && (e.Answer == LetIn) != e.Wanted
}

// Words says what happened.
func (e Edge) Words() string {
	switch e.Answer {
	case LetIn:
		if e.Untrusted != "" {
			return "let in, but the client would refuse the server: " + e.Untrusted
		}
		return "let in"
	case Refused:
		return "refused"
	}
	return "not asked: " + e.Problem
}

// Matrix asks every server that wants client certificates about every client identity of the spec.
func Matrix(ctx context.Context, p Providers, s *spec.Spec, w World, names []string, couriers bool) []Edge {
	v := newView(s, &w)
	var edges []Edge
	var servers []*spec.Binding
	for i := range s.Bindings {
		b := &s.Bindings[i]
		if b.Probe != nil && b.Probe.ClientAuth != spec.ClientAuthNone && (len(names) == 0 || slices.Contains(names, b.Name)) {
			servers = append(servers, b)
		}
	}
	ways, recall := v.reach(ctx, p, servers, couriers)
	defer recall()
	for _, b := range servers {
		m, _ := v.material(b, w.State)
		for _, id := range s.Identities {
			client, ok := v.issued(id.Name, w.State)
			if !ok || !id.Usage(spec.Client) {
				continue
			}
			for _, c := range v.consumers(b) {
				if c.Running() {
					edges = append(edges, v.edge(ctx, p, b, ways.to(c), client, id.Name, m, couriers))
				}
			}
		}
	}
	return edges
}

func (v *view) edge(ctx context.Context, p Providers, b *spec.Binding, c Container, client Issued, name string, m material, couriers bool) Edge {
	req := v.request(p, b, c, v.w.State, couriers)
	e := Edge{Client: name, Server: req.Address}
	// A database lets a certificate in as the role it names and as no other, which says nothing about trust.
	if cn := v.ids[name].Subject.CommonName; b.Probe.User != "" && b.Probe.User != cn {
		e.Problem = "the probe logs in as " + b.Probe.User + ", the certificate names " + cn
		return e
	}
	req.ClientAuth, req.Good = spec.ClientAuthRequired, &client
	served := probe(ctx, p, req)
	e.Answer, e.Problem, e.Untrusted = served.Accepted, cmp.Or(served.Err, served.ClientErr), served.Untrusted
	e.Wanted = slices.ContainsFunc(m.trust, func(d []byte) bool { return slices.Equal(d, client.Root) })
	return e
}

// Sorted goes over a map in the order of its keys.
func Sorted[V any](m map[string]V) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if !yield(k, m[k]) {
				return
			}
		}
	}
}
