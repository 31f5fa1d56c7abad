package spec

import (
	"slices"
	"strconv"
	"strings"
)

var usages = []Usage{Server, Client}

func (p *parser) identity(name string, v value) {
	id := Identity{Name: name, Pos: v.pos(), Subject: Subject{CommonName: name}}
	if m := p.section(v, &identitySection); m.has("from") {
		p.from(m.get("from"), &id)
	} else if m != nil {
		p.issued(m, &id)
	}
	if _, twice := p.identities.at[name]; !twice {
		p.identities.at[name] = len(p.spec.Identities)
	}
	p.spec.Identities = append(p.spec.Identities, id)
}

// issued reads an identity that a CA of the spec signs.
func (p *parser) issued(m *mapping, id *Identity) {
	ca := m.get("ca")
	if ca.node == nil {
		p.errorf(m.missing("ca"), "missing: the CA that signs it (or from, for what something else issues)")
	}
	if ref := p.ref(ca, &p.cas); ref != nil {
		id.CA = *ref
	}
	d := p.defaults
	p.keyAndLife(m, &d)
	id.Key, id.Lifetime, id.Renew, id.ReuseKey = d.key, d.lifetime, d.renew, d.reuseKey
	id.Names = p.names(m.get("names"))
	id.Usages = p.usages(m.get("usages"))
	id.Subject = p.subject(m.get("subject"), id.Name)
	if b := p.section(m.get("brought"), &broughtSection); b != nil {
		id.Brought = &Brought{p.path(b.get("certificate")), p.path(b.get("key")), p.source(b.get("passphrase")), m.get("brought").pos()}
	}

	if id.Renew.Before >= id.Lifetime {
		p.errorf(m.find("renewBefore"), "%s before its end is no later than its start: it lives %s", FormatDuration(id.Renew.Before), FormatDuration(id.Lifetime))
	}
	hosts := func(n Name) bool { return n.Kind == DNSName || n.Kind == IPName }
	if id.Usage(Server) && !slices.ContainsFunc(id.Names, hosts) {
		p.warnf(m.find("names"), "a server without a DNS name or address is refused by its clients: add those by which they call it")
	}
	if at, ok := p.cas.at[id.CA.Name]; ok {
		p.checkNames(m.get("names"), id.Names, at)
		p.checkLife(m, *id, p.spec.CAs[at])
		if id.Brought != nil && p.spec.CAs[at].Local == nil && p.spec.CAs[at].Kind() != "" {
			p.errorf(m.get("brought"), "%s is a CA of kind %s: only what a local CA has signed is taken in", quote(id.CA.Name), p.spec.CAs[at].Kind())
		}
		if p.spec.CAs[at].ACME != nil {
			p.checkACME(m, id, p.spec.CAs[at])
		}
		if p.spec.CAs[at].Vault != nil {
			p.checkVault(m, id, p.spec.CAs[at])
		}
	}
}

// from reads an identity that something else issues. Its certificate says everything else, so it counts as
// usable for both sides here.
func (p *parser) from(v value, id *Identity) {
	p.exclude(v, "ca", "names", "usages", "subject", "key", "lifetime", "renew", "renewBefore", "reuseKey", "brought")
	id.Usages = slices.Clone(usages)
	if m := p.section(v, &fromSection); m != nil {
		id.From = &From{p.path(m.get("certificate")), p.path(m.get("key")), p.path(m.get("ca")), v.pos()}
	}
}

func (p *parser) usages(v value) []Usage {
	if v.node == nil {
		return []Usage{Server}
	}
	var found []Usage
	for _, each := range p.list(v) {
		u := choice(p, each, "usage", usages)
		if slices.Contains(found, u) {
			p.errorf(each, "%s is there already", quote(string(u)))
		}
		if u != "" {
			found = append(found, u)
		}
	}
	return found
}

// fraction reads 2/3. Before a tenth of a life renewing never ends, and after 19/20 the jitter of 5 % and a retry
// have no room.
func (p *parser) fraction(v value) Renew {
	s := p.textAs(v, "a fraction, like 2/3")
	if s == "" {
		return Renew{}
	}
	before, after, ok := strings.Cut(s, "/")
	num, err := strconv.ParseUint(before, 10, 16)
	den, err2 := strconv.ParseUint(after, 10, 16)
	switch {
	case !ok || err != nil || err2 != nil:
		p.errorf(v, "%s is no fraction, like 2/3", quote(v.node.Value))
	case den == 0 || 10*num < den || 20*num > 19*den:
		p.errorf(v, "must be from 1/10 to 19/20 of the life")
	default:
		return Renew{Num: int(num), Den: int(den)}
	}
	return Renew{}
}

// checkLife holds the life of a certificate against that of its CA: a rollover has to fit in between.
func (p *parser) checkLife(m *mapping, id Identity, ca CA) {
	if ca.Local == nil || ca.Local.Lifetime == 0 {
		return
	}
	const words = "lives %s, and its CA %s lives %s: %s"
	v, life, caLife := m.get("lifetime"), id.Lifetime, ca.Local.Lifetime
	if v.node == nil {
		v = m.get("ca")
	}
	switch {
	case caLife/2 < life:
		p.errorf(v, words, FormatDuration(life), quote(ca.Name), FormatDuration(caLife), "a CA must live two leaf lives, and should live six")
	case caLife/6 < life:
		p.warnf(v, words, FormatDuration(life), quote(ca.Name), FormatDuration(caLife), "a CA should live six leaf lives")
	}
}
