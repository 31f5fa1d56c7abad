package spec

import (
	"slices"
	"strings"
	"time"
)

func (p *parser) acmeCA(v value) *ACMECA {
	m := p.section(v, &acmeSection)
	ca := &ACMECA{
		Directory: p.url(m.get("directory"), "https"),
		Roots:     p.path(m.get("roots")),
		Webroot:   p.path(m.get("webroot")),
		HTTP01:    p.listener(m.get("http01"), 80),
		TLSALPN01: p.listener(m.get("tlsAlpn01"), 443),
	}
	email := m.get("email")
	if s := p.text(email); s != "" {
		if n, err := ParseName(s); err != nil || n.Kind != EmailName {
			p.errorf(email, "%s is no e-mail address", quote(email.node.Value))
		}
		ca.Email = s
	}
	p.oneOf(m, required, "http01", "tlsAlpn01", "dns01", "webroot")
	if m.has("dns01") {
		ca.DNS01 = p.dns01(m.get("dns01"))
	}
	if m.has("eab") {
		eab := p.section(m.get("eab"), &eabSection)
		ca.EAB = &EAB{KeyID: p.text(eab.get("keyId")), Key: p.source(eab.get("key"))}
	}
	return ca
}

func (p *parser) dns01(v value) *DNS01 {
	m := p.section(v, &dns01Section)
	p.oneOf(m, required, "command", "rfc2136")
	p.exclude(m.get("rfc2136"), "timeout")
	dns := &DNS01{Command: p.command(m.get("command")), Timeout: 2 * time.Minute}
	if m.has("timeout") {
		dns.Timeout = p.duration(m.get("timeout"), time.Second, 10*time.Minute)
	}
	if m.has("rfc2136") {
		u := p.section(m.get("rfc2136"), &rfc2136Section)
		dns.Update = &DNSUpdate{
			Server: p.address(u.get("server")), Zone: p.domain(u.get("zone")), Key: p.domain(u.get("key")),
			Algorithm: TSIGAlgorithms[0], Secret: p.source(u.get("secret")),
		}
		if u.has("algorithm") {
			dns.Update.Algorithm = choice(p, u.get("algorithm"), "algorithm", TSIGAlgorithms)
		}
	}
	return dns
}

// domain returns a name of the DNS, which of a zone or key may hold "_", without a dot at its end.
func (p *parser) domain(v value) string {
	s := strings.ToLower(strings.TrimSuffix(p.text(v), "."))
	for label := range strings.SplitSeq(s, ".") {
		wrong := strings.ContainsFunc(label, func(r rune) bool { return r > 127 || !isLetter(byte(r)) && !isDigit(byte(r)) && r != '-' && r != '_' })
		if s != "" && (wrong || label == "" || len(label) > 63 || len(s) > 253) {
			p.errorf(v, "%s is no name of the DNS", quote(v.node.Value))
			return ""
		}
	}
	return s
}

// listener reads where to listen; port is the one that the server asks at.
func (p *parser) listener(v value, port int) *Listener {
	m := p.section(v, &listenerSection)
	if m == nil {
		return nil
	}
	p.oneOf(m, required, "listen", "container")
	p.exclude(m.get("listen"), "port")
	l := &Listener{Address: p.address(m.get("listen"))}
	if container := m.get("container"); container.node != nil {
		l.Container, l.Port = p.containerName(container, "a string"), port
		if m.has("port") {
			l.Port = p.integer(m.get("port"), 1, 65535)
		}
	}
	return l
}

// checkACME looks at what an identity asks of an ACME server, which certifies names that are proved to it and nothing else.
func (p *parser) checkACME(m *mapping, id *Identity, ca CA) {
	if v := m.get("subject"); v.node != nil {
		p.errorf(v, "the ACME server %s says what is in it", quote(ca.Name))
	}
	// A common name that is none of the names is refused (CA/Browser Forum Baseline Requirements, section 7.1.2.7.10).
	id.Subject = Subject{}
	if len(id.Names) == 0 {
		p.errorf(m.find("names"), "an ACME server certifies names, and there is none")
	}
	for _, each := range p.list(m.get("names")) {
		i := slices.IndexFunc(id.Names, func(n Name) bool { return n.Pos == each.pos() })
		if i < 0 {
			continue // it is wrong in itself
		}
		switch n := id.Names[i]; {
		case n.Kind != DNSName && n.Kind != IPName:
			p.errorf(each, "an ACME server certifies DNS names and addresses, and %s is neither", quote(n.Value))
		case n.Kind == IPName && ca.ACME.DNS01 != nil:
			p.errorf(each, "an address cannot be proved by dns01 (RFC 8738 section 7)")
		case strings.HasPrefix(n.Value, "*.") && ca.ACME.DNS01 == nil:
			p.errorf(each, "a wildcard can only be proved by dns01, and the CA %s has another way", quote(ca.Name))
		case ca.ACME.DNS01 != nil && ca.ACME.DNS01.Update != nil:
			// RFC 8555 section 8.4 names the record.
			record, zone := "_acme-challenge."+strings.TrimPrefix(n.Value, "*."), ca.ACME.DNS01.Update.Zone
			if zone != "" && !strings.HasSuffix("."+strings.ToLower(record), "."+zone) {
				p.errorf(each, "%s is not in %s, the zone of the CA %s", quote(record), quote(zone), quote(ca.Name))
			}
		}
	}
}
