package spec

import (
	"encoding/hex"
	"net/url"
	"strings"
)

// StepCA is a step-ca server, asked through one of its provisioners: a JWK provisioner where Password is set, an X5C
// provisioner where Certificate is.
type StepCA struct {
	URL         string // https://HOST or https://HOST:PORT
	Fingerprint string // the SHA-256 of its root certificate, lower-case hex
	Provisioner string
	Password    *Source // what decrypts the provisioner's key
	Certificate string  // path of what was issued elsewhere and vouches for this machine (PEM, the leaf first)
	KeyFile     string  // path of its key
}

func (p *parser) stepCA(v value) *StepCA {
	m := p.section(v, &stepSection)
	ca := &StepCA{
		URL: p.origin(m.get("url")), Fingerprint: p.fingerprint(m.get("fingerprint")), Provisioner: p.text(m.get("provisioner")),
		Password: p.source(m.get("password")), Certificate: p.path(m.get("certificate")), KeyFile: p.path(m.get("key")),
	}
	p.oneOf(m, required, "password", "certificate")
	switch key := m.get("key"); {
	case m.has("certificate") && key.node == nil:
		p.errorf(m.missing("key"), "missing: the file of the key of certificate")
	case !m.has("certificate") && key.node != nil:
		p.errorf(key, "only beside certificate")
	}
	return ca
}

// origin returns an address that has no more than a host and a port.
func (p *parser) origin(v value) string {
	s := strings.TrimSuffix(p.url(v, "https"), "/")
	if u, err := url.Parse(s); err == nil && u.Path+u.RawQuery+u.Fragment != "" {
		p.errorf(v, "must have nothing behind the host and port")
	}
	return s
}

// fingerprint returns a SHA-256 in lower-case hex.
func (p *parser) fingerprint(v value) string {
	s := strings.ToLower(p.text(v))
	if b, err := hex.DecodeString(s); s != "" && (err != nil || len(b) != 32) {
		p.errorf(v, "must be the 64 hex digits of a SHA-256")
	}
	return s
}
