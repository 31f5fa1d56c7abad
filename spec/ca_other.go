package spec

import (
	"encoding/hex"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// otherCA checks the CAs that this version understands and does not carry out.
func (p *parser) otherCA(v value) {
	switch v.key {
	case "step":
		m := p.section(v, &stepSection)
		p.url(m.get("url"), "https")
		p.text(m.get("provisioner"))
		p.source(m.get("password"))
		f := m.get("fingerprint")
		if s := p.text(f); s != "" {
			if b, err := hex.DecodeString(s); err != nil || len(b) != 32 {
				p.errorf(f, "must be the 64 hex digits of a SHA-256")
			}
		}
	case "acme":
		p.acme(v)
	case "vault":
		m := p.section(v, &vaultSection)
		p.url(m.get("address"), "https")
		p.text(m.get("mount"))
		p.text(m.get("role"))
		p.source(m.get("token"))
	case "exec":
		m := p.section(v, &commandSection)
		p.command(m.get("command"))
	}
}

func (p *parser) acme(v value) {
	m := p.section(v, &acmeSection)
	p.url(m.get("directory"), "https")
	p.path(m.get("roots"))
	p.path(m.get("webroot"))
	email := m.get("email")
	if s := p.text(email); s != "" {
		if n, err := parseName(s); err != nil || n.Kind != EmailName {
			p.errorf(email, "%s is no e-mail address", quote(email.node.Value))
		}
	}
	p.oneOf(m, required, "http01", "tlsAlpn01", "dns01", "webroot")
	for _, key := range []string{"http01", "tlsAlpn01"} {
		p.address(p.section(m.get(key), &listenSection).get("listen"))
	}
	p.command(p.section(m.get("dns01"), &dns01Section).get("command"))
	eab := p.section(m.get("eab"), &eabSection)
	p.text(eab.get("keyId"))
	p.source(eab.get("key"))
}

// url returns an absolute address with a host and without a password.
func (p *parser) url(v value, schemes ...string) string {
	s := p.text(v)
	if s == "" {
		return ""
	}
	u, err := url.Parse(s)
	if err == nil && u.Host != "" && u.User != nil {
		p.errorf(v, "must not hold a user or password")
		return ""
	}
	for _, scheme := range schemes {
		if err == nil && u.Scheme == scheme && u.Hostname() != "" {
			return s
		}
	}
	p.errorf(v, "%s is no address: want %s", quote(v.node.Value), strings.Join(schemes, "://… or ")+"://…")
	return ""
}

// address returns HOST:PORT or :PORT.
func (p *parser) address(v value) string {
	s := p.text(v)
	if s == "" {
		return ""
	}
	_, port, err := net.SplitHostPort(s)
	if n, wrong := strconv.Atoi(port); err != nil || wrong != nil || n < 1 || n > 65535 {
		p.errorf(v, "%s is no address: want HOST:PORT or :PORT", quote(v.node.Value))
	}
	return s
}
