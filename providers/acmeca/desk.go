package acmeca

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"

	"github.com/mholt/acmez/v3/acme"

	"github.com/certwright/certwright/spec"
)

// desk is where names are proved for all orders of this process: one listener at a place, as long as somebody has a
// challenge there.
type desk struct {
	turn sync.Mutex // of those of whom only one at a time can prove a name
	mu   sync.Mutex
	open map[stand]*attended
}

// stand is a place to listen at for servers that look in one way.
type stand struct {
	kind string // of the challenges
	at   spec.Listener
}

// attended is a stand with what is answered there.
type attended struct {
	answers
	all []acme.Challenge
}

// answers are given by a listener until it is closed.
type answers interface {
	// give has these challenges answered, and no others.
	give([]acme.Challenge) error
	io.Closer
}

// listener proves names to a server that asks at an address of this machine, or in the network of a container: over HTTP
// (RFC 8555 section 8.3) or in a handshake (RFC 8737).
type listener struct {
	*signing
	stand
}

func (l listener) set(ctx context.Context, c acme.Challenge) error {
	d := &l.desk
	d.mu.Lock()
	defer d.mu.Unlock()
	a := d.open[l.stand]
	if a == nil {
		opened, err := l.listen(ctx)
		if err != nil {
			return err
		}
		a = &attended{answers: opened}
	}
	all := append(slices.Clip(a.all), c)
	if err := a.give(all); err != nil {
		if len(a.all) == 0 {
			_ = a.Close()
		}
		return err
	}
	a.all = all
	if d.open == nil {
		d.open = map[stand]*attended{}
	}
	d.open[l.stand] = a
	return nil
}

// unset takes an answer back, and ends the listener with the last one.
func (l listener) unset(_ context.Context, c acme.Challenge) error {
	d := &l.desk
	d.mu.Lock()
	defer d.mu.Unlock()
	a := d.open[l.stand]
	if a == nil {
		return nil
	}
	// Two orders may share a challenge: one is left then.
	if i := slices.IndexFunc(a.all, func(o acme.Challenge) bool { return o.Token == c.Token }); i >= 0 {
		a.all = slices.Delete(slices.Clone(a.all), i, i+1)
	}
	if len(a.all) > 0 {
		return a.give(a.all)
	}
	delete(d.open, l.stand)
	if err := a.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

func (l listener) listen(ctx context.Context) (answers, error) {
	if l.at.Container != "" {
		return l.listenInside(ctx)
	}
	ln, err := net.Listen("tcp", l.at.Address)
	if err != nil {
		return nil, err
	}
	return answer(l.kind, ln)
}
