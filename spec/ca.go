package spec

import (
	"slices"
	"strings"
	"unicode/utf8"
)

func (p *parser) ca(name string, v value) {
	if name == PublicRoots || name == SystemRoots {
		p.errorf(v, "the name is taken: in trust it stands for roots from outside")
	}
	m := p.section(v, &caSection)
	ca := CA{Name: name, Pos: v.pos()}
	var node *mapping
	kinds := caSection.names()
	p.oneOf(m, required, kinds...)
	for _, kind := range kinds {
		switch v := m.get(kind); {
		case v.node == nil:
		case kind == "local":
			ca.Local, node = p.localCA(name, v)
		case kind == "exec":
			ca.Exec = p.execCA(v)
		case kind == "step":
			ca.Step = p.stepCA(v)
		case kind == "acme":
			ca.ACME = p.acmeCA(v)
		case kind == "vault":
			ca.Vault = p.vaultCA(v)
		}
	}
	if _, twice := p.cas.at[name]; !twice {
		p.cas.at[name] = len(p.spec.CAs)
	}
	p.spec.CAs = append(p.spec.CAs, ca)
	p.caNodes = append(p.caNodes, node)
}

// localCA returns nil when v is no mapping.
func (p *parser) localCA(name string, v value) (*LocalCA, *mapping) {
	m := p.section(v, &localCASection)
	if m == nil {
		return nil, nil
	}
	ca := &LocalCA{Constraints: p.constraints(m.get("nameConstraints"))}
	if m.has("certificate") {
		p.broughtCA(m, ca)
		return ca, m
	}
	ca.Parent = p.ref(m.get("parent"), &p.cas)
	ca.Subject = p.subject(m.get("subject"), name)
	ca.Key = p.caKey(m.get("key"))
	ca.Lifetime = 10 * year
	if m.has("parent") {
		ca.Lifetime = year
	}
	if m.has("lifetime") {
		ca.Lifetime = p.duration(m.get("lifetime"), minLife, maxLife)
	}
	if m.has("chain") {
		p.errorf(m.get("chain"), "only for a CA that is brought along, beside certificate")
	}
	if pass := m.get("passphrase"); pass.node != nil {
		p.source(pass)
		p.errorf(pass, "only for a CA that is brought along, beside certificate (store.passphrase encrypts the others)")
	}
	return ca, m
}

func (p *parser) caKey(v value) KeyKind {
	if v.node == nil {
		return ECDSAP256
	}
	if strings.ContainsAny(v.node.Value, "./") {
		p.errorf(v, "%s is no key kind; the file of a key stands beside certificate", quote(v.node.Value))
		return ""
	}
	return p.keyKind(v)
}

// broughtCA reads a CA that has a certificate and a key already: everything about it but its constraints stands
// in the certificate.
func (p *parser) broughtCA(m *mapping, ca *LocalCA) {
	certificate, key := m.get("certificate"), m.get("key")
	ca.Certificate, ca.Chain = p.path(certificate), p.path(m.get("chain"))
	ca.Passphrase = p.source(m.get("passphrase"))
	p.exclude(certificate, "parent", "subject", "lifetime")
	switch {
	case key.node == nil:
		p.errorf(m.missing("key"), "missing: the file of the key of certificate")
	case slices.Contains(KeyKinds(), KeyKind(key.node.Value)):
		p.errorf(key, "must be the file of the key: its kind is known from certificate")
	default:
		ca.KeyFile = p.path(key)
	}
}

// subject reads a distinguished name. The bounds are those of RFC 5280 appendix A.1 (ub-common-name and others).
func (p *parser) subject(v value, commonName string) Subject {
	m := p.section(v, &subjectSection)
	get := func(key string, most int) string {
		s := p.text(m.get(key))
		if utf8.RuneCountInString(s) > most {
			p.errorf(m.get(key), "must be no longer than %d characters", most)
		}
		return s
	}
	s := Subject{
		CommonName:         get("commonName", 64),
		Organization:       get("organization", 64),
		OrganizationalUnit: get("organizationalUnit", 64),
		Locality:           get("locality", 128),
		Province:           get("province", 128),
		Country:            strings.ToUpper(p.text(m.get("country"))),
	}
	if c := s.Country; c != "" && (len(c) != 2 || !isLetter(c[0]) || !isLetter(c[1])) {
		p.errorf(m.get("country"), "must be two letters, like US (ISO 3166)")
	}
	if s.CommonName == "" {
		s.CommonName = commonName
	}
	return s
}

// maxParents is how many CAs of a chain some clients look at (Mbed TLS: MBEDTLS_X509_MAX_INTERMEDIATE_CA).
const maxParents = 8

// checkCAs looks at what CAs say about each other, once all are known.
func (p *parser) checkCAs() {
	const (
		unseen = iota
		climbing
		seen
	)
	state, depth := make([]int, len(p.spec.CAs)), make([]int, len(p.spec.CAs))
	for i := range p.spec.CAs {
		var chain []int
		for at := i; at >= 0 && state[at] != seen; at = p.parent(at) {
			if state[at] == climbing {
				p.cycle(chain[slices.Index(chain, at):])
				break
			}
			state[at] = climbing
			chain = append(chain, at)
		}
		for _, at := range slices.Backward(chain) { // from the root down
			state[at] = seen
			if above := p.parent(at); above >= 0 {
				depth[at] = depth[above] + 1
			}
			if depth[at] > maxParents {
				p.errorf(p.caNodes[at].get("parent"), "a chain has at most %d CAs, and this is one more", maxParents+1)
				p.spec.CAs[at].Local.Parent, depth[at] = nil, 0
			}
		}
	}
	for i := range p.spec.CAs {
		if at := p.parent(i); at >= 0 {
			p.checkParent(p.caNodes[i], p.spec.CAs[i].Local, p.spec.CAs[at])
		}
	}
}

// parent returns the index of the CA that signs another, and -1 for a root.
func (p *parser) parent(i int) int {
	if local := p.spec.CAs[i].Local; local != nil && local.Parent != nil {
		return p.cas.at[local.Parent.Name]
	}
	return -1
}

func (p *parser) cycle(chain []int) {
	first := slices.Min(chain)
	names := []string{p.spec.CAs[first].Name}
	for at := p.parent(first); at != first; at = p.parent(at) {
		names = append(names, p.spec.CAs[at].Name)
	}
	names = append(names, names[0])
	p.errorf(p.caNodes[first].get("parent"), "the parents go in a circle: %s", cut(strings.Join(names, ", ")))
	p.spec.CAs[first].Local.Parent = nil // so that whoever climbs it next gets to an end
}

func (p *parser) checkParent(m *mapping, ca *LocalCA, parent CA) {
	switch {
	case parent.Local == nil && parent.Kind() != "":
		p.errorf(m.get("parent"), "%s is a CA of kind %s: only local CAs sign intermediates", quote(parent.Name), parent.Kind())
	case parent.Local != nil && parent.Local.Lifetime > 0 && ca.Lifetime > parent.Local.Lifetime:
		p.errorf(m.find("lifetime"), "lives longer (%s) than its parent %s (%s)", FormatDuration(ca.Lifetime), quote(parent.Name), FormatDuration(parent.Local.Lifetime))
	}
}
