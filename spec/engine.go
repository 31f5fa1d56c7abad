package spec

import (
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// EngineTLS is dockerd's own TLS: where it listens for clients with a certificate, and for nobody else.
type EngineTLS struct {
	Listen       []string // tcp://HOST:PORT
	AllowRestart bool     // dockerd takes up a certificate only when it starts
}

// Address is where the first of Listen is reached on its own machine: every address includes the loopback's.
func (e EngineTLS) Address() string {
	u, err := url.Parse(e.Listen[0])
	if err != nil {
		return e.Listen[0]
	}
	host := u.Hostname()
	switch ip := net.ParseIP(host); {
	case host == "" || ip != nil && ip.IsUnspecified() && ip.To4() != nil:
		host = "127.0.0.1"
	case ip != nil && ip.IsUnspecified():
		host = "::1"
	}
	return net.JoinHostPort(host, u.Port())
}

// engine reads dockerd's own TLS; nil when there is none.
func (p *parser) engine(v value, host Ref) *EngineTLS {
	m := p.section(v, &engineSection)
	if m == nil {
		return nil
	}
	e := &EngineTLS{AllowRestart: p.boolean(m.get("allowRestart"))}
	for _, each := range p.list(m.get("listen")) {
		s := p.endpoint(each, "tcp")
		if u, err := url.Parse(s); s != "" && err == nil && u.Scheme == "tcp" && (u.Port() == "" || u.Path != "" || u.RawQuery != "") {
			p.errorf(each, "%s must be tcp://HOST:PORT", quote(s))
		}
		e.Listen = append(e.Listen, s)
	}
	if at, ok := p.hosts.at[host.Name]; ok {
		if h := p.spec.Hosts[at]; h.Endpoint != "" && !strings.HasPrefix(h.Endpoint, "ssh://") {
			p.errorf(v, "dockerd is restarted where its service manager is, and nothing of host %s is reached but its engine, at %s: name it as ssh://root@HOST, or run certwright on its machine", quote(host.Name), h.Endpoint)
		}
	}
	p.take(v, host.Name+" engine")
	return e
}

// engineProbe is how dockerd's TLS is proved: whoever has no certificate of the trusted CAs is to be refused.
func (p *parser) engineProbe(v value, b Binding) *Probe {
	probe := &Probe{Protocol: "tls", ClientAuth: ClientAuthRequired, Timeout: 5 * time.Second, Pos: b.Pos}
	if len(b.Place.Engine.Listen) > 0 {
		_, port, _ := net.SplitHostPort(b.Place.Engine.Address())
		probe.Port, _ = strconv.Atoi(port)
	}
	if b.Identity == nil {
		return probe
	}
	id := p.spec.Identities[p.identities.at[b.Identity.Name]]
	if probe.ServerName = id.askedFor(); probe.ServerName == "" && id.From == nil && id.Usage(Server) {
		p.errorf(v, "needs an identity with a name, and %s has none but wildcards", quote(id.Name))
	}
	return probe
}
