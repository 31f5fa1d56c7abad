package vault

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// session is what a CA is logged in by. It is kept in memory and nowhere else.
type session struct {
	mu    sync.Mutex
	lease lease
}

// lease is a token and how long it is good for.
type lease struct {
	token     string // "" for none
	life      time.Duration
	end       time.Time // zero where it has none
	renewable bool
}

func (l lease) ended(now time.Time) bool {
	return l.token == "" || !l.end.IsZero() && !now.Before(l.end)
}

// wanes reports whether less than a third of its life is left.
func (l lease) wanes(now time.Time) bool { return !l.end.IsZero() && l.end.Sub(now) < l.life/3 }

// post asks for a path as whoever the spec says. A token that is denied what it was not denied before, or was never asked
// for, is given up for another one, once.
func (c *CA) post(ctx context.Context, ca spec.CA, path string, question, answer any) error {
	to, err := c.client(ca)
	if err != nil {
		return err
	}
	s := c.session(ca.Name)
	token, used, err := s.open(ctx, c, to, "")
	if err != nil {
		return err
	}
	refused := to.as(token).post(ctx, path, question, answer)
	if no := (denied{}); !used || !errors.As(refused, &no) {
		return refused
	}
	another, _, err := s.open(ctx, c, to, token)
	if err != nil || another == token {
		return cmp.Or(err, refused)
	}
	return to.as(another).post(ctx, path, question, answer)
}

func (c *CA) session(ca string) *session {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sessions == nil {
		c.sessions = map[string]*session{}
	}
	if c.sessions[ca] == nil {
		c.sessions[ca] = &session{}
	}
	return c.sessions[ca]
}

// open returns a token other than the one that is of no use any more, and whether it was used before. It logs in where there
// is none, and renews one that wanes.
func (s *session) open(ctx context.Context, c *CA, to client, useless string) (token string, used bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	login := func() (err error) {
		used = false
		s.lease, err = c.login(ctx, to)
		return err
	}
	used = true
	if s.lease.ended(c.Now()) || s.lease.token == useless {
		err = login()
	}
	if err == nil && s.lease.renewable && s.lease.wanes(c.Now()) {
		var renewed lease
		switch renewed, err = s.lease.renew(ctx, to); {
		case err == nil:
			s.lease = renewed
		case errors.Is(err, reconcile.ErrRefused) && used:
			err = login()
		case errors.Is(err, reconcile.ErrRefused): // one that was given like this is good for the rest
			err = nil
		}
	}
	return s.lease.token, used, err
}

// renew asks for another life of a token (API documentation, Renew a token (self)).
func (l lease) renew(ctx context.Context, to client) (lease, error) {
	var answer loggedIn
	if err := to.as(l.token).post(ctx, "auth/token/renew-self", map[string]any{}, &answer); err != nil {
		return lease{}, err
	}
	return answer.lease(to.now())
}
