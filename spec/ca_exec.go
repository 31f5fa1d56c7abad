package spec

import (
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

func (p *parser) execCA(v value) *ExecCA {
	m := p.section(v, &execSection)
	ca := &ExecCA{Command: p.command(m.get("command")), Roots: p.path(m.get("roots")), Timeout: time.Minute}
	if m.has("timeout") {
		ca.Timeout = p.duration(m.get("timeout"), time.Second, 10*time.Minute)
	}
	return ca
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
