package reconcile

import (
	"cmp"
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/certwright/certwright/spec"
)

// As many handshakes are under way at once, and with each of many hosts.
const (
	probeWorkers       = 32
	probeWorkersOfHost = 8
)

// probes looks at the wire: every running consumer of every binding that says how.
func (o *observer) probes(ctx context.Context) {
	var questions []question
	var mu sync.Mutex
	clients := newClients(o.p, o.view)
	var bindings []*spec.Binding
	for i := range o.s.Bindings {
		if b := &o.s.Bindings[i]; b.Probe != nil && (len(o.look.Only) == 0 || slices.Contains(o.look.Only, b.Name)) {
			bindings = append(bindings, b)
		}
	}
	ways, recall := o.reach(ctx, o.p, bindings, o.look.Couriers)
	defer recall()
	for host, err := range Sorted(ways.err) {
		if away := (Away{}); errors.As(err, &away) {
			o.leave(host, away.Error())
		}
	}
	for _, b := range bindings {
		for _, c := range o.consumers(b) {
			c = ways.to(c)
			if no := ways.none(c, o.look.Couriers); no != "" {
				o.w.Served[TargetKey(b.Name, c)] = Served{At: o.w.Now, Unreachable: true, Err: no}
			} else if c.Running() {
				req := o.request(o.p, b, c, o.w.State, o.look.Couriers)
				clients.add(&req, b, o.w.State)
				questions = append(questions, o.knock(TargetKey(b.Name, c), c.Host, req, &mu))
			}
		}
	}
	o.ask(ctx, max(probeWorkers/(1+len(o.s.Hosts)), probeWorkersOfHost), questions)
}

// knock is the handshakes with one target as a question to its host, which is away where nothing leads to the target because
// of that. What is given up shows nothing.
func (o *observer) knock(key, host string, req ProbeRequest, mu *sync.Mutex) question {
	return question{host, "the way to a port", func(v *visit) error {
		var away error
		dial := req.Dial
		req.Dial = func(ctx context.Context) (conn net.Conn, err error) {
			_ = v.asks(func(context.Context) error {
				conn, err = dial(ctx)
				return err
			})
			if is := (Away{}); errors.As(err, &is) {
				mu.Lock()
				defer mu.Unlock()
				away = is
			}
			return conn, err
		}
		served := probe(v.ctx, o.p, req)
		mu.Lock()
		defer mu.Unlock()
		if away != nil || v.ctx.Err() != nil {
			return cmp.Or(away, v.ctx.Err())
		}
		o.w.Served[key] = served
		return nil
	}}
}

// probe makes the handshakes of one request, and tells a server that is out of reach from one that is down.
func probe(ctx context.Context, p Providers, req ProbeRequest) Served {
	beyond, within, late := false, false, false
	dial := req.Dial
	req.Dial = func(ctx context.Context) (net.Conn, error) {
		conn, err := dial(ctx)
		if errors.Is(err, ErrNotHere) {
			beyond = true
		}
		late = late || errors.Is(err, context.DeadlineExceeded)
		_, within = conn.(Within)
		return conn, err
	}
	served, err := guarded(p, func() (Served, error) { return p.Prober.Probe(ctx, req), nil })
	if err != nil {
		served.Err = err.Error()
	}
	served.At, served.Address, served.NoClient = req.Now, req.Address, req.Good == nil
	served.Unreachable, served.Within, served.Late = served.Unreachable || beyond, within, late
	return served
}

// request is what to ask of one consumer of a binding, without the clients to ask as.
func (v *view) request(p Providers, b *spec.Binding, c Container, st State, couriers bool) ProbeRequest {
	m, _ := v.material(b, st)
	roots := m.trust
	if m.issued != nil {
		roots = distinct(append([][]byte{m.issued.Root}, m.trust...))
	}
	dial, address := func(ctx context.Context) (net.Conn, error) {
		return p.Engines.Dial(ctx, c, b.Probe.Port, couriers)
	}, c.Name+":"+strconv.Itoa(b.Probe.Port)
	if e := b.Place.Engine; e != nil {
		address = e.Address()
		dial = func(ctx context.Context) (net.Conn, error) { return p.Daemons.Reach(ctx, c.Host, address) }
	}
	return ProbeRequest{
		Dial: dial, Address: address,
		Protocol: protocolOf(b, c), ServerName: b.Probe.ServerName, Roots: roots,
		User: b.Probe.User, Database: b.Probe.Database, Timeout: b.Probe.Timeout, Now: v.w.Now,
	}
}

// clients are the certificates a pass knocks with; each is made once and never stored.
type clients struct {
	*view
	p       Providers
	byCA    map[string]*Issued
	foreign *Issued
}

func newClients(p Providers, v *view) *clients {
	return &clients{view: v, p: p, byCA: map[string]*Issued{}}
}

// add gives a request the client that must be let in and the one that must not.
func (c *clients) add(req *ProbeRequest, b *spec.Binding, st State) {
	req.ClientAuth = b.Probe.ClientAuth
	if req.ClientAuth == spec.ClientAuthNone {
		return
	}
	req.Good, req.Foreign = c.good(b, st), c.stranger()
}

func (c *clients) good(b *spec.Binding, st State) *Issued {
	if ref := b.Probe.Identity; ref != nil {
		if i, ok := c.issued(ref.Name, st); ok {
			return &i
		}
		return nil
	}
	names := make([]string, 0, len(b.Trust)+1)
	for _, t := range b.Trust {
		names = append(names, t.Name)
	}
	if len(names) == 0 && b.Identity != nil && c.ids[b.Identity.Name] != nil {
		names = append(names, c.ids[b.Identity.Name].CA.Name)
	}
	for _, name := range names {
		if i := c.of(name, st); i != nil {
			return i
		}
	}
	return nil
}

// of makes the client certificate of a CA, or nil where it cannot sign.
func (c *clients) of(ca string, st State) *Issued {
	if i, done := c.byCA[ca]; done {
		return i
	}
	c.byCA[ca] = nil
	if g, ok := c.signer(ca, st); ok {
		if i, err := c.p.Authority.Client(g, c.w.Now); err == nil {
			c.byCA[ca] = &i
		}
	}
	return c.byCA[ca]
}

// signer is the generation of a CA that signs, with its key.
func (v *view) signer(ca string, st State) (Generation, bool) {
	if b, ok := v.w.Brought[ca]; ok {
		return b.Generation, b.Err == ""
	}
	g := st.CAs[ca].Active()
	if g == nil {
		return Generation{}, false
	}
	return *g, true
}

// stranger is a client of a CA that nobody trusts.
func (c *clients) stranger() *Issued {
	if c.foreign != nil {
		return c.foreign
	}
	ca := spec.CA{Name: "stranger", Local: &spec.LocalCA{
		Subject: spec.Subject{CommonName: "certwright probe, not to be trusted"}, Key: spec.ECDSAP256, Lifetime: time.Hour,
	}}
	g, err := c.p.Authority.Create(ca, nil, 1, c.w.Now)
	if err != nil {
		return nil
	}
	if i, err := c.p.Authority.Client(g, c.w.Now); err == nil {
		c.foreign = &i
	}
	return c.foreign
}
