package spec

import (
	"cmp"
	"slices"
	"strings"
)

var (
	layouts   = []Layout{Atomic, Plain}
	onDeletes = []string{"keep", "remove", "revoke"}
)

func (p *parser) binding(name string, v value) {
	m := p.section(v, &bindingSection)
	if m == nil {
		return
	}
	b := Binding{Name: name, Pos: v.pos(), Layout: Atomic, Host: Ref{Name: LocalHost}}
	b.Identity = p.ref(m.get("identity"), &p.identities)
	b.Trust = p.trust(m.get("trust"))
	if ref := p.ref(m.get("host"), &p.hosts, LocalHost); ref != nil {
		b.Host = *ref
	}
	b.Consumer = p.consumer(m)
	b.Place = p.place(m, b)
	if l := choice(p, m.get("layout"), "layout", layouts); l != "" {
		b.Layout = l
	}
	b.Owner = p.owner(m.get("owner"))
	if s := cmp.Or(b.Place.Secrets, b.Place.Configs); s != nil {
		b.Owner = s.Owner
	}
	b.Files = p.files(m, b.Place)
	if b.Place.Swarm() {
		p.checkSecrets(m, b.Place, b.Files)
	}
	b.Reload, b.ReloadGiven = p.ladder(m.get("reload")), m.has("reload")
	b.Probe = p.probe(m.get("probe"))
	if b.Place.Engine != nil {
		b.Probe = p.engineProbe(m.get("engine"), b)
	}
	b.Limits = p.limits(m.get("limits"))
	switch {
	case b.Place.Context != nil:
		b.Layout = Plain // docker exports no links
	case b.Place.Store != nil:
		// How the roots lie in the store is the store's affair, and what reads it is told only if the spec says so.
		b.Layout, b.Owner = Plain, &Owner{}
		if !b.ReloadGiven {
			b.Reload, b.ReloadGiven = []Reload{{None: true}}, true
		}
	}
	p.otherBinding(m, b)

	p.checkBinding(m, &b)
	p.checkProbe(m.get("probe"), &b)
	p.spec.Bindings = append(p.spec.Bindings, b)
}

// trust reads the names of CAs and of the roots from outside.
func (p *parser) trust(v value) []Ref {
	var refs []Ref
	for _, each := range p.list(v) {
		ref := p.ref(each, &p.cas, PublicRoots, SystemRoots)
		if ref == nil {
			continue
		}
		if slices.ContainsFunc(refs, func(r Ref) bool { return r.Name == ref.Name }) {
			p.errorf(each, "%s is there already", quote(ref.Name))
		}
		if at, ok := p.cas.at[ref.Name]; ok && p.spec.CAs[at].Public() {
			p.errorf(each, "%s is a public CA, which may lead to another root any day: write `public`, or give it roots if it is a private one", quote(ref.Name))
		}
		refs = append(refs, *ref)
	}
	return refs
}

// checkBinding looks at what the parts of a binding say about each other.
func (p *parser) checkBinding(m *mapping, b *Binding) {
	if !m.has("identity") {
		if !m.has("trust") {
			p.errorf(m.v, "needs an identity, trust, or both")
		}
		p.checkTrustOnly(m, b)
	}
	if !m.has("container") && !m.has("service") && !b.Place.Swarm() {
		for _, key := range []string{"reload", "probe", "path", "trustStore"} {
			if v := m.get(key); v.node != nil {
				p.errorf(v, "needs a container")
			}
		}
	}
}

// checkTrustOnly refuses what needs a key or a certificate in a binding that has none.
func (p *parser) checkTrustOnly(m *mapping, b *Binding) {
	for _, f := range b.Files {
		if f.Content != "" && !f.Content.HoldsTrust() && f.Content != ContentCRL && f.Content != ContentCRLDER {
			p.errorf(p.open(m.get("files")).get(f.Name), "%s needs an identity, and the binding has only trust", f.Content)
		}
	}
	for _, key := range []string{"probe", "engine", "context"} {
		if v := m.get(key); v.node != nil {
			p.errorf(v, "needs an identity")
		}
	}
}

// consumer reads who uses the files; nil when nobody is named.
func (p *parser) consumer(m *mapping) *Consumer {
	v := p.oneOf(m, optional, "container", "service")
	if v.node == nil {
		return nil
	}
	c := &Consumer{Pos: v.pos()}
	switch {
	case v.key == "service":
		if c.Service = p.text(v); c.Service != "" && !isName(c.Service) {
			p.errorf(v, "%s is no name of a service", quote(v.node.Value))
		}
		if !m.has("secret") && !m.has("config") {
			p.errorf(v, "needs its files as secrets: `secret: {}`; another place for a service is not in this version")
		}
	case isMapping(v):
		p.selector(v, c)
	default:
		c.Container = p.containerName(v, "a string, {compose: project/service} or {label: key=value}")
	}
	return c
}

// containerName returns the name of a container; wanted is what else could stand there.
func (p *parser) containerName(v value, wanted string) string {
	s := p.textAs(v, wanted)
	if s != "" && !isDockerName(s) {
		p.errorf(v, "%s is no name of a container", quote(v.node.Value))
	}
	return s
}

func (p *parser) selector(v value, c *Consumer) {
	m := p.section(v, &consumerSection)
	p.oneOf(m, required, "compose", "label")
	if by := m.get("compose"); by.node != nil {
		s := p.text(by)
		c.ComposeProject, c.ComposeService, _ = strings.Cut(s, "/")
		if s != "" && (!isDockerName(c.ComposeProject) || !isDockerName(c.ComposeService)) {
			p.errorf(by, "%s is no project/service", quote(by.node.Value))
		}
	}
	if by := m.get("label"); by.node != nil {
		s := p.text(by)
		c.LabelKey, c.LabelValue, _ = strings.Cut(s, "=")
		if s != "" && c.LabelKey == "" {
			p.errorf(by, "%s is no key=value and no key", quote(by.node.Value))
		}
	}
}

// otherBinding checks what this version understands and does not carry out.
func (p *parser) otherBinding(m *mapping, b Binding) {
	p.boolean(m.get("external"))
	choice(p, m.get("onDelete"), "way to leave", onDeletes)
	for _, key := range []string{"external", "onDelete"} {
		p.later(m.get(key))
	}
	p.needsUsage(m.get("engine"), b, Server)
	p.needsUsage(m.get("context"), b, Client)
}

// needsUsage refuses a place for an identity that is not for it.
func (p *parser) needsUsage(v value, b Binding, u Usage) {
	if v.node == nil || b.Identity == nil {
		return
	}
	if id := p.spec.Identities[p.identities.at[b.Identity.Name]]; !id.Usage(u) {
		p.errorf(v, "needs an identity for the usage %s, which %s is not", u, quote(id.Name))
	}
}
