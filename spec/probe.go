package spec

import (
	"slices"
	"strings"
	"time"
)

var (
	protocols   = []string{"tls", "postgres", "mysql", "redis", "smtp", "imap", "ldap", "mqtt", "nats", "amqp"}
	clientAuths = []ClientAuth{ClientAuthNone, ClientAuthOptional, ClientAuthRequired}
)

func (p *parser) probe(v value) *Probe {
	m := p.section(v, &probeSection)
	if m == nil {
		return nil
	}
	probe := &Probe{
		Port:       p.integer(m.get("port"), 1, 65535),
		ServerName: p.serverName(m.get("serverName")),
		ClientAuth: ClientAuthNone,
		Identity:   p.ref(m.get("identity"), &p.identities),
		User:       p.text(m.get("user")),
		Database:   p.text(m.get("database")),
		Timeout:    5 * time.Second,
		Pos:        v.pos(),
	}
	if protocol := m.get("protocol"); protocol.node != nil {
		probe.Protocol = choice(p, protocol, "protocol", protocols)
	}
	if a := choice(p, m.get("clientAuth"), "clientAuth", clientAuths); a != "" {
		probe.ClientAuth = a
	}
	if timeout := m.get("timeout"); timeout.node != nil {
		probe.Timeout = p.duration(timeout, time.Second, 5*time.Minute)
	}
	return probe
}

// serverName returns a name that a certificate can have and a client can ask for.
func (p *parser) serverName(v value) string {
	s := p.text(v)
	if s == "" {
		return ""
	}
	n, err := ParseName(s)
	switch {
	case err != nil:
		p.errorf(v, "%s: %v", quote(v.node.Value), err)
	case n.Kind != DNSName && n.Kind != IPName || strings.HasPrefix(n.Value, "*."):
		p.errorf(v, "must be one DNS name or address")
	}
	return n.Value
}

// checkProbe holds a probe against the identities and the trust it is about.
func (p *parser) checkProbe(v value, b *Binding) {
	if b.Probe == nil || b.Place.Engine != nil {
		return
	}
	m := p.open(v)
	given := m.has("protocol")
	if !given {
		b.Probe.Protocol = protocolOf(b.Reload)
	}
	databases := []string{"postgres", "mysql", ""}
	for _, key := range []string{"user", "database"} {
		if extra := m.get(key); extra.node != nil && !slices.Contains(databases, b.Probe.Protocol) {
			p.errorf(extra, "only for databases, not for the protocol %s", b.Probe.Protocol)
		}
	}
	if b.Identity != nil {
		p.checkServer(v, m, b)
	}
	p.checkClient(m, b)
	if !given && !b.ReloadGiven {
		b.Probe.Protocol = "" // the image of the container tells
	}
}

// protocolOf is the protocol of a probe where the spec has none: that of the server which the ladder names.
func protocolOf(ladder []Reload) string {
	for _, r := range ladder {
		if p, _ := PresetNamed(r.Preset); p.Protocol != "" {
			return p.Protocol
		}
	}
	return "tls"
}

func (p *parser) checkServer(v value, m *mapping, b *Binding) {
	id := p.spec.Identities[p.identities.at[b.Identity.Name]]
	if !id.Usage(Server) {
		p.errorf(v, "looks at a server, and the identity %s is for clients only", quote(id.Name))
		return
	}
	if id.From != nil || m.has("serverName") {
		return
	}
	if b.Probe.ServerName = id.askedFor(); b.Probe.ServerName != "" {
		return
	}
	p.errorf(m.missing("serverName"), "missing: the identity %s has no name but wildcards to ask for", quote(id.Name))
}

// askedFor is the first name that is no wildcard, or "".
func (i Identity) askedFor() string {
	for _, n := range i.Names {
		if (n.Kind == DNSName || n.Kind == IPName) && !strings.HasPrefix(n.Value, "*.") {
			return n.Value
		}
	}
	return ""
}

// checkClient looks at the client that must be accepted: it exists, and is signed by what the server trusts.
func (p *parser) checkClient(m *mapping, b *Binding) {
	trusted, outside := p.trusted(b)
	if b.Probe.Identity != nil {
		id := p.spec.Identities[p.identities.at[b.Probe.Identity.Name]]
		v := m.get("identity")
		switch at, ok := p.cas.at[id.CA.Name]; {
		case b.Probe.ClientAuth == ClientAuthNone:
			p.errorf(v, "only beside clientAuth: optional or required")
		case !id.Usage(Client):
			p.errorf(v, "%s is no client: its usages have no client", quote(id.Name))
		case ok && !outside && !slices.ContainsFunc(p.chain(at), func(ca int) bool { return slices.Contains(trusted, ca) }):
			p.warnf(v, "the CA %s of this client is not in the trust of the binding", quote(id.CA.Name))
		}
		return
	}
	if b.Probe.ClientAuth != ClientAuthNone && len(b.Trust) > 0 && len(trusted) == 0 {
		p.errorf(m.get("clientAuth"), "needs a CA of this spec in trust, whose clients are accepted")
	}
}

// trusted returns the CAs of this spec that a binding trusts, and whether it trusts anything else.
func (p *parser) trusted(b *Binding) (cas []int, outside bool) {
	for _, ref := range b.Trust {
		if at, ok := p.cas.at[ref.Name]; ok {
			cas = append(cas, at)
		} else {
			outside = true
		}
	}
	if len(b.Trust) > 0 || b.Identity == nil {
		return cas, outside
	}
	at, ok := p.cas.at[p.spec.Identities[p.identities.at[b.Identity.Name]].CA.Name]
	if !ok {
		return nil, true
	}
	chain := p.chain(at)
	return chain[len(chain)-1:], false
}

// chain returns a CA, its parent, and so on to the root.
func (p *parser) chain(at int) []int {
	var chain []int
	for ; at >= 0; at = p.parent(at) {
		chain = append(chain, at)
	}
	return chain
}
