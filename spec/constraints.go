package spec

import (
	"net/netip"
	"strings"
)

// constraints reads DNS suffixes and networks.
func (p *parser) constraints(v value) NameConstraints {
	var c NameConstraints
	m := p.section(v, &constraintsSection)
	if m != nil && !m.has("permit") && !m.has("exclude") {
		p.errorf(v, "needs permit or exclude")
	}
	c.PermitDNS, c.PermitIP = p.constraint(m.get("permit"))
	c.ExcludeDNS, c.ExcludeIP = p.constraint(m.get("exclude"))
	return c
}

func (p *parser) constraint(v value) (suffixes []string, networks []netip.Prefix) {
	for _, each := range p.list(v) {
		s := p.text(each)
		if s == "" {
			continue
		}
		raw := quote(each.node.Value)
		if network, err := netip.ParsePrefix(s); err == nil {
			if network.Masked() != network {
				p.errorf(each, "%s has bits beyond its length: the network is %s", raw, network.Masked())
			}
			networks = append(networks, network)
			continue
		}
		if addr, err := netip.ParseAddr(s); err == nil {
			p.errorf(each, "%s is one address: write %s/%d", raw, addr, addr.BitLen())
			continue
		}
		if bare, ok := strings.CutPrefix(s, "."); ok {
			p.errorf(each, "write %s without the dot: it covers every name below it", quote(bare))
			continue
		}
		if bare, ok := strings.CutPrefix(s, "*."); ok {
			p.errorf(each, "write %s without the wildcard: it covers every name below it", quote(bare))
			continue
		}
		s = strings.ToLower(s)
		if err := checkDNS(s); err != nil {
			p.errorf(each, "%s is no DNS suffix and no network: %v", raw, err)
			continue
		}
		suffixes = append(suffixes, s)
	}
	return suffixes, networks
}

// refusal returns why a name must not be signed under c: the words after the name and before the CA's, and "" when
// it may be (RFC 5280 section 4.2.1.10).
func (c NameConstraints) refusal(n Name) string {
	switch n.Kind {
	case DNSName:
		for _, suffix := range c.ExcludeDNS {
			if below(n.Value, suffix) || covers(n.Value, suffix) {
				return "is excluded (" + suffix + ")"
			}
		}
		for _, suffix := range c.PermitDNS {
			if below(n.Value, suffix) {
				return ""
			}
		}
		if len(c.PermitDNS) > 0 {
			return "is not permitted (" + cut(strings.Join(c.PermitDNS, ", ")) + ")"
		}
	case IPName:
		addr, err := netip.ParseAddr(n.Value)
		if err != nil {
			return ""
		}
		for _, network := range c.ExcludeIP {
			if network.Contains(addr) {
				return "is excluded (" + network.String() + ")"
			}
		}
		var permitted []string
		for _, network := range c.PermitIP {
			if network.Contains(addr) {
				return ""
			}
			permitted = append(permitted, network.String())
		}
		if len(permitted) > 0 {
			return "is not permitted (" + cut(strings.Join(permitted, ", ")) + ")"
		}
	}
	return ""
}

// below reports whether every name that name stands for is suffix or ends in it.
func below(name, suffix string) bool {
	name = strings.TrimPrefix(name, "*.")
	rest, ok := strings.CutSuffix(name, suffix)
	return ok && (rest == "" || strings.HasSuffix(rest, "."))
}

// covers reports whether name is a wildcard that stands for suffix itself.
func covers(name, suffix string) bool {
	parent, wild := strings.CutPrefix(name, "*.")
	_, rest, _ := strings.Cut(suffix, ".")
	return wild && rest == parent
}

// checkNames holds the names of an identity against every CA of its chain.
func (p *parser) checkNames(v value, names []Name, ca int) {
	for _, ca := range p.chain(ca) {
		local := p.spec.CAs[ca].Local
		if local == nil || local.Constraints.Empty() {
			continue
		}
		for _, n := range names {
			if why := local.Constraints.refusal(n); why != "" {
				p.errorf(nameAt(v, n), "%s %s by the CA %s", quote(n.Value), why, quote(p.spec.CAs[ca].Name))
			}
		}
	}
}

// nameAt finds the element of a list of names that n came from.
func nameAt(v value, n Name) value {
	for i, node := range v.node.Content {
		if node.Line == n.Pos.Line && node.Column == n.Pos.Column {
			return value{node: node, at: node, in: v.in, key: v.key, index: i + 1}
		}
	}
	return v
}
