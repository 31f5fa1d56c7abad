// Package acmeca is a CA that certifies names which are proved to it: an ACME server (RFC 8555, docs/ca-acme.md).
//
// The protocol's messages are those of github.com/mholt/acmez/v3/acme. What is here is what certwright adds: an account and
// orders that survive a kill, one place where names are proved for all orders at once, and errors that say when to ask again.
package acmeca

import (
	"context"
	"errors"
	"net"
	"sync"

	"github.com/mholt/acmez/v3/acme"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// CA implements reconcile.Outside. It must not be copied.
type CA struct {
	Environ []string                          // of commands that set DNS records; no password is in it
	Secret  func(spec.Source) ([]byte, error) // reads the key of an external account
	Around  reconcile.Around
	// Courier runs `certwright courier` with these arguments in the network of a container, until what it returns, its
	// standard input and output, is closed. nil where no courier may be made.
	Courier func(ctx context.Context, container string, args ...string) (net.Conn, error)

	desk    desk
	hearing sync.Mutex             // guards said
	said    map[string]remembered  // by server and certificate
	mu      sync.Mutex             // guards locks
	locks   map[string]*sync.Mutex // by name of the CA: what is kept of one is changed by one at a time
}

// userAgent is what the server logs (RFC 8555 section 6.1 wants one).
const userAgent = "certwright"

// Roots is not asked for: the spec names a file of them, or the server is a public CA.
func (*CA) Roots(context.Context, spec.CA) ([][]byte, error) {
	return nil, errors.New("an ACME server does not say what it leads to")
}

// Sign finishes the order that is under way for the identity, or makes one: it proves the names, has the CSR signed and
// returns the chains that the server offers as one, the leaf first. The account and the order are kept before they are used,
// so that a Sign that was cut off at any moment goes on in the next one.
//
// The error is a reconcile.RetryAfter where the server said when to ask again, or where it counts the tries; it wraps
// reconcile.ErrRefused where the server will not certify this. Any other passes.
func (c *CA) Sign(ctx context.Context, ca spec.CA, q reconcile.SigningRequest) ([][]byte, error) {
	w, err := newWire(ca, q, c.Around)
	if err != nil {
		return nil, err
	}
	defer w.close()
	s := &signing{CA: c, ca: ca, q: q, wire: w, client: &acme.Client{Directory: ca.ACME.Directory, HTTPClient: w.client(), UserAgent: userAgent}}
	chain, err := s.sign(ctx)
	if err != nil {
		return nil, s.explain(err)
	}
	return chain, nil
}

// signing is one Sign under way.
type signing struct {
	*CA
	ca      spec.CA
	q       reconcile.SigningRequest
	wire    *wire
	client  *acme.Client
	account acme.Account
	resumed bool // the order is of an earlier Sign
}

// sign asks once more where the server has lost the account, as one does that kept it in memory, and where it looked for a
// proof while nobody was there to give it.
func (s *signing) sign(ctx context.Context) ([][]byte, error) {
	chain, err := s.once(ctx)
	var name unproved
	switch {
	case isProblem(err, acme.ProblemTypeAccountDoesNotExist):
		if err := s.forgetAccount(); err != nil {
			return nil, err
		}
	case s.resumed && errors.As(err, &name):
	default:
		return chain, err
	}
	return s.once(ctx)
}

func (s *signing) once(ctx context.Context) ([][]byte, error) {
	if err := s.enrol(ctx); err != nil {
		return nil, err
	}
	order, csr, err := s.order(ctx)
	if err != nil {
		return nil, err
	}
	if s.resumed {
		s.tidy(ctx, order)
	}
	if order.Status == acme.StatusPending {
		if order, err = s.prove(ctx, order); err != nil {
			return nil, err
		}
	}
	if order, err = s.finalize(ctx, order, csr); err != nil {
		return nil, err
	}
	return s.chain(ctx, order)
}

// locked calls do while nobody else changes what is kept of the CA.
func (s *signing) locked(do func() error) error {
	s.mu.Lock()
	if s.locks == nil {
		s.locks = map[string]*sync.Mutex{}
	}
	lock := s.locks[s.ca.Name]
	if lock == nil {
		lock = new(sync.Mutex)
		s.locks[s.ca.Name] = lock
	}
	s.mu.Unlock()
	lock.Lock()
	defer lock.Unlock()
	return do()
}
