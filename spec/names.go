package spec

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

const (
	maxNames = 100
	maxURI   = 2048 // what SPIFFE allows an ID to have, the usual URI in a certificate
)

// ParseName tells a name's kind by its form and brings it into canonical form: lower-case DNS, addresses as
// netip writes them. The rules are those of RFC 5280 section 4.2.1.6.
func ParseName(s string) (Name, error) {
	switch addr, err := netip.ParseAddr(s); {
	case err == nil && addr.Zone() != "":
		return Name{}, errors.New("an address in a certificate has no zone")
	case err == nil:
		return Name{Kind: IPName, Value: addr.Unmap().String()}, nil
	case strings.Contains(s, "://") || strings.HasPrefix(s, "urn:"):
		return uriName(s)
	case strings.Contains(s, "@"):
		return emailName(s)
	}
	dns := strings.ToLower(s)
	if err := checkDNS(strings.TrimPrefix(dns, "*.")); err != nil {
		return Name{}, err
	}
	return Name{Kind: DNSName, Value: dns}, nil
}

func uriName(s string) (Name, error) {
	if len(s) > maxURI {
		return Name{}, fmt.Errorf("longer than %d characters", maxURI)
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || !isPrintable(s):
		return Name{}, errors.New("not a URI")
	case u.Host == "" && u.Opaque == "":
		return Name{}, errors.New("a URI in a certificate names a host")
	case u.User != nil:
		return Name{}, errors.New("a URI in a certificate holds no user or password")
	}
	u.Host = strings.ToLower(u.Host)
	return Name{Kind: URIName, Value: u.String()}, nil
}

func emailName(s string) (Name, error) {
	at := strings.LastIndexByte(s, '@')
	local, domain := s[:at], strings.ToLower(s[at+1:])
	if local == "" || len(local) > 64 || !isPrintable(local) || strings.ContainsAny(local, ` "(),:;<>@[\]`) {
		return Name{}, errors.New("not an e-mail address")
	}
	if err := checkDNS(domain); err != nil {
		return Name{}, fmt.Errorf("in the domain of the e-mail address: %w", err)
	}
	return Name{Kind: EmailName, Value: local + "@" + domain}, nil
}

// checkDNS checks a lower-case name without its wildcard (RFC 1035 section 2.3.1, with digits first as in RFC
// 1123 section 2.1, and with underscores, which Compose puts into names).
func checkDNS(s string) error {
	if s == "" {
		return errors.New("not a DNS name")
	}
	if len(s) > 253 {
		return errors.New("longer than the 253 characters of a DNS name")
	}
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', isDigit(c), strings.IndexByte("-_.", c) >= 0:
		case c == '*':
			return errors.New(`a wildcard is the whole first label, as in "*.example.com"`)
		case c == ':':
			return errors.New("a name in a certificate has no port")
		case c == '/':
			return errors.New("a network or a path is no name")
		case c >= 0x80:
			return errors.New(`letters outside of ASCII are written in their "xn--" form`)
		default:
			return fmt.Errorf("a DNS name has no %q", c)
		}
	}
	labels := strings.Split(s, ".")
	for i, label := range labels {
		switch {
		case label == "" && i > 0 && i == len(labels)-1:
			return errors.New("a name in a certificate has no dot at its end")
		case label == "":
			return errors.New("a DNS name has no empty label")
		case len(label) > 63:
			return errors.New("a label of a DNS name has at most 63 characters")
		case label[0] == '-' || label[len(label)-1] == '-':
			return errors.New(`a label of a DNS name neither starts nor ends with "-"`)
		}
	}
	if last := labels[len(labels)-1]; strings.Trim(last, "0123456789") == "" {
		return errors.New("looks like an address and is none")
	}
	return nil
}

// isPrintable reports whether s is printable ASCII.
func isPrintable(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

// names reads the names of an identity.
func (p *parser) names(v value) []Name {
	elements := p.list(v)
	if len(elements) > maxNames {
		p.errorf(v, "at most %d names", maxNames)
		return nil
	}
	var names []Name
	for _, each := range elements {
		s := p.text(each)
		if s == "" {
			continue
		}
		n, err := ParseName(s)
		if err != nil {
			p.errorf(each, "%s: %v", quote(each.node.Value), err)
			continue
		}
		n.Pos = each.pos()
		for _, other := range names {
			if other.Kind == n.Kind && other.Value == n.Value {
				p.errorf(each, "%s is there already, at %s", quote(n.Value), other.Pos)
			}
		}
		if n.Kind == DNSName && strings.Contains(n.Value, "_") {
			p.warnf(each, "%s has an underscore, which some clients refuse: give the server an alias without one, and name that", quote(n.Value))
		}
		names = append(names, n)
	}
	return names
}
