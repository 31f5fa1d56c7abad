package spec

import (
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	defaultStore = ".certwright"
	maxPerHour   = 1000
)

// defaults is what holds where an entry says nothing.
type defaults struct {
	key      KeyKind
	lifetime time.Duration
	renew    Renew
	reuseKey bool
	limits   Limits
}

func (p *parser) project(v value, roots []*mapping) {
	if v.node == nil {
		if len(roots) > 0 && !p.partial {
			p.errorf(roots[0].missing("project"), "missing: it marks everything certwright makes")
		}
		return
	}
	p.spec.Project = p.text(v)
	if s := p.spec.Project; s != "" && (!isName(s) || s != strings.ToLower(s)) {
		p.errorf(v, `%s is no project: want lower-case letters, digits, "_", "." and "-", starting with a letter or digit, at most 63`, quote(v.node.Value))
	}
}

func (p *parser) store(v value) {
	beside := "."
	if len(p.spec.Files) > 0 {
		beside = filepath.Dir(p.spec.Files[0])
	}
	p.spec.Store.Directory = filepath.Join(beside, defaultStore)
	m := p.section(v, &storeSection)
	if m == nil {
		return
	}
	p.spec.Store.Pos = v.pos()
	p.spec.Store.Passphrase = p.source(m.get("passphrase"))
	p.oneOf(m, optional, "directory", "swarm")
	if m.has("directory") {
		p.spec.Store.Directory = p.path(m.get("directory"))
	}
	if swarm := m.get("swarm"); swarm.node != nil {
		p.section(swarm, &emptySection)
		if !m.has("passphrase") {
			p.errorf(m.missing("passphrase"), "missing: a store in the Swarm is always encrypted")
		}
		p.spec.Store.Directory, p.spec.Store.Swarm = "", true
	}
}

func (p *parser) host(name string, v value) {
	if name == LocalHost {
		p.errorf(v, "the name is taken: it stands for the engine of the environment")
	}
	p.hosts.at[name] = len(p.spec.Hosts)
	m := p.section(v, &hostSection)
	p.oneOf(m, required, "endpoint", "context")
	host := Host{Name: name, Endpoint: p.endpoint(m.get("endpoint"), "ssh", "tcp", "unix"), Context: p.text(m.get("context")), Pos: v.pos()}
	for _, other := range p.spec.Hosts {
		if host.Endpoint+host.Context != "" && host.Endpoint == other.Endpoint && host.Context == other.Context {
			p.errorf(v, "is the engine of host %s as well: two bindings could have one place there unseen", quote(other.Name))
		}
	}
	p.spec.Hosts = append(p.spec.Hosts, host)
}

// endpoint returns the address of an engine.
func (p *parser) endpoint(v value, schemes ...string) string {
	s := p.text(v)
	if s == "" {
		return ""
	}
	u, err := url.Parse(s)
	if err != nil || !slices.Contains(schemes, u.Scheme) || u.Host == "" && u.Scheme != "unix" || u.Scheme == "unix" && u.Path == "" {
		p.errorf(v, "%s is no endpoint: want %s", quote(v.node.Value), strings.Join(schemes, "://…, ")+"://…")
	} else if _, secret := u.User.Password(); secret {
		p.errorf(v, "must not hold a password")
	}
	return s
}

func (p *parser) readDefaults(v value) {
	d := &p.defaults
	*d = defaults{ECDSAP256, 30 * day, Renew{Num: 2, Den: 3}, false, Limits{RestartsPerHour: 3, IssuesPerHour: 5}}
	m := p.section(v, &defaultsSection)
	d.limits = p.limits(m.get("limits"))
	id := p.section(m.get("identity"), &identityDefaultsSection)
	p.keyAndLife(id, d)
}

// keyAndLife reads what identities and their defaults have in common, over what d holds.
func (p *parser) keyAndLife(m *mapping, d *defaults) {
	if k := p.keyKind(m.get("key")); k != "" {
		d.key = k
	}
	if life := p.duration(m.get("lifetime"), minLife, maxLife); life > 0 {
		d.lifetime = life
	}
	switch due := p.oneOf(m, optional, "renew", "renewBefore"); due.key {
	case "renew":
		d.renew = p.fraction(due)
	case "renewBefore":
		d.renew = Renew{Before: p.duration(due, time.Second, maxLife)}
	}
	if m.has("reuseKey") {
		d.reuseKey = p.boolean(m.get("reuseKey"))
	}
}

func (p *parser) keyKind(v value) KeyKind {
	if v.node != nil && strings.HasPrefix(v.node.Value, "rsa-") && !slices.Contains(KeyKinds(), KeyKind(v.node.Value)) {
		p.errorf(v, "no key kind %s (RSA keys have 2048, 3072 or 4096 bits)", quote(v.node.Value))
		return ""
	}
	return choice(p, v, "key kind", KeyKinds())
}

// limits returns what v says, and the default for the rest.
func (p *parser) limits(v value) Limits {
	l := p.defaults.limits
	m := p.section(v, &limitsSection)
	if m.has("restartsPerHour") {
		l.RestartsPerHour = p.integer(m.get("restartsPerHour"), 0, maxPerHour)
	}
	if m.has("issuesPerHour") {
		l.IssuesPerHour = p.integer(m.get("issuesPerHour"), 0, maxPerHour)
	}
	return l
}

func (p *parser) swarm(v value) {
	m := p.section(v, &swarmSection)
	if m == nil {
		return
	}
	s := &Swarm{NodeCertLifetime: p.duration(m.get("nodeCertLifetime"), time.Hour, maxLife), Pos: v.pos()}
	if m.has("rotation") {
		n := p.integer(m.get("rotation"), 0, 1<<31-1)
		s.Rotation = &n
	}
	if external := m.get("externalCA"); external.node != nil {
		p.exclude(external, "rotation")
		e := p.section(external, &externalCASection)
		s.External = &ExternalCA{URL: p.url(e.get("url"), "https"), Root: p.path(e.get("root"))}
	}
	p.spec.Swarm = s
}
