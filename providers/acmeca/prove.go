package acmeca

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"github.com/certwright/certwright/reconcile"
)

// A proof is one way to prove names (RFC 8555 section 8). The server looks between set and unset.
type proof interface {
	// set makes it so that the server finds what it looks for. Setting the same twice succeeds.
	set(ctx context.Context, c acme.Challenge) error
	unset(ctx context.Context, c acme.Challenge) error
}

// proof is the way that the spec names.
func (s *signing) proof() (kind string, p proof) {
	switch ca := s.ca.ACME; {
	case ca.HTTP01 != nil:
		return acme.ChallengeTypeHTTP01, listener{s, stand{acme.ChallengeTypeHTTP01, *ca.HTTP01}}
	case ca.Webroot != "":
		return acme.ChallengeTypeHTTP01, webroot{ca.Webroot, s.Around}
	case ca.TLSALPN01 != nil:
		return acme.ChallengeTypeTLSALPN01, listener{s, stand{acme.ChallengeTypeTLSALPN01, *ca.TLSALPN01}}
	case ca.DNS01.Update != nil:
		return acme.ChallengeTypeDNS01, update{s, *ca.DNS01.Update}
	}
	return acme.ChallengeTypeDNS01, dns01{s}
}

// pending is a name that is to be proved.
type pending struct {
	authorization acme.Authorization
	challenge     acme.Challenge
}

// cleanUp is how long it may take to unset what was set, when all else is over.
const cleanUp = 30 * time.Second

// prove proves all names of an order, and returns it as it is then. All are set before the server looks for the first: a
// record in the DNS may take long to show, and a name and its wildcard have the same one.
func (s *signing) prove(ctx context.Context, order acme.Order) (_ acme.Order, err error) {
	kind, way := s.proof()
	if kind == acme.ChallengeTypeTLSALPN01 { // a name has one certificate at a time, whoever asks for it
		s.desk.turn.Lock()
		defer s.desk.turn.Unlock()
	}
	all, err := s.pending(ctx, order, kind)
	if err != nil {
		return order, err
	}
	done := 0
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUp)
		defer cancel()
		for _, p := range all[:done] {
			undone := way.unset(ctx, p.challenge)
			if undone != nil && (err == nil || !strings.Contains(err.Error(), undone.Error())) { // often it is why set failed
				err = errors.Join(err, undone)
			}
		}
	}()
	for _, p := range all {
		done++
		if err := way.set(ctx, p.challenge); err != nil {
			return order, fmt.Errorf("%s: %w", kind, err)
		}
	}
	for _, p := range all {
		if p.challenge.Status != acme.StatusPending {
			continue // the server was told before
		}
		if _, err := s.client.InitiateChallenge(ctx, s.account, p.challenge); err != nil {
			return order, err
		}
	}
	for _, p := range all {
		if _, err := s.client.PollAuthorization(ctx, s.account, p.authorization); err != nil {
			if _, answered := problem(err); answered && ctx.Err() == nil {
				err = unproved{p.authorization.IdentifierValue(), err}
			}
			return order, err
		}
	}
	return s.ready(ctx, order)
}

// pending asks which names the server has no proof of, and how it may be given.
func (s *signing) pending(ctx context.Context, order acme.Order, kind string) ([]pending, error) {
	var all []pending
	for _, at := range order.Authorizations {
		a, err := s.client.GetAuthorization(ctx, s.account, at)
		if err != nil {
			return nil, err
		}
		if a.Status != acme.StatusPending {
			continue
		}
		var offers []string
		p := pending{authorization: a}
		for _, c := range a.Challenges {
			offers = append(offers, c.Type)
			if c.Type == kind {
				p.challenge = c
			}
		}
		switch {
		case p.challenge.URL == "":
			return nil, fmt.Errorf("%w: the server takes no %s for %q, it takes %q", reconcile.ErrRefused, kind, a.IdentifierValue(), offers)
		case !isToken(p.challenge.Token):
			return nil, errors.New("the server sent a token that is none")
		}
		all = append(all, p)
	}
	return all, nil
}

// tidy unsets what a Sign that was cut off has left of names that are proved by now. What stays all the same is no reason not
// to go on.
func (s *signing) tidy(ctx context.Context, order acme.Order) {
	kind, way := s.proof()
	for _, at := range order.Authorizations {
		a, err := s.client.GetAuthorization(ctx, s.account, at)
		if err != nil || a.Status == acme.StatusPending {
			continue
		}
		for _, c := range a.Challenges {
			if c.Type == kind && isToken(c.Token) {
				_ = way.unset(ctx, c)
			}
		}
	}
}

// isToken holds a token against RFC 8555 section 8.1. It becomes a part of paths.
func isToken(s string) bool {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return s != "" && len(s) <= 255 && strings.Trim(s, alphabet) == ""
}

// ready waits until the server has noticed that all names are proved.
func (s *signing) ready(ctx context.Context, order acme.Order) (acme.Order, error) {
	for {
		var err error
		if order, err = s.client.GetOrder(ctx, s.account, order); err != nil {
			return order, err
		}
		switch order.Status {
		case acme.StatusPending:
		case acme.StatusInvalid:
			return order, orderFailed(order)
		default:
			return order, nil
		}
		if err := wait(ctx, max(s.wire.waitSaid(), time.Second)); err != nil {
			return order, err
		}
	}
}
