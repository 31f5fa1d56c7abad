package acmeca

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// order is the one under way for the identity, with the CSR of its key, or a new one. It is kept before anything is done
// about it.
func (s *signing) order(ctx context.Context) (acme.Order, []byte, error) {
	k, err := s.read()
	if err != nil {
		return acme.Order{}, nil, err
	}
	if o, ok := k.Orders[s.q.Identity.Name]; ok && !o.over(s.q) {
		order, err := s.client.GetOrder(ctx, s.account, acme.Order{Location: o.Location})
		if err != nil && !gone(err) {
			return order, nil, err
		}
		if err == nil && order.Status != acme.StatusInvalid {
			csr, err := s.q.Resume(reconcile.NewPrivateKey(o.Key))
			if !errors.Is(err, reconcile.ErrOtherKey) && (err != nil || s.useful(ctx, order)) {
				s.resumed = true
				return order, csr, err
			}
		}
	}
	s.resumed = false
	order, err := s.newOrder(ctx)
	if err != nil {
		return order, nil, err
	}
	o := keptOrder{Location: order.Location, Key: s.q.Key.PKCS8(), For: wanted(s.q.Identity), Made: s.q.Now}
	if s.q.Current != nil {
		o.Replaces = s.q.Current.Serial
	}
	if err := s.change(func(k *kept) { k.Orders[s.q.Identity.Name] = o }); err != nil {
		return order, nil, err
	}
	csr, err := s.q.Resume(s.q.Key) // the order before may have had another
	return order, csr, err
}

// gone reports whether the server has no such order any more, or not for this account.
func gone(err error) bool {
	p, ok := problem(err)
	return ok && (p.Status == http.StatusNotFound || p.Type == acme.ProblemTypeUnauthorized)
}

// useful reports whether an order may still lead to a certificate that is taken. One that is finished has it, and gives no
// other: that may have expired since, lead to a root that is one no longer, or never have been what was asked for.
func (s *signing) useful(ctx context.Context, order acme.Order) bool {
	if order.Status != acme.StatusValid {
		return true
	}
	chain, err := s.chain(ctx, order)
	if err != nil {
		var away reconcile.Away
		return errors.As(err, &away) || s.wire.refused() // which passes; what the server has made of it does not
	}
	return s.q.Accepts(chain, s.begins(chain[0]))
}

// begins is when a certificate is to be judged: where this clock is a little behind the server's, when it becomes valid. Another
// one would begin no earlier.
func (s *signing) begins(der []byte) time.Time {
	cert, err := x509.ParseCertificate(der)
	if err != nil || cert.NotBefore.Before(s.q.Now) || cert.NotBefore.Sub(s.q.Now) > slack {
		return s.q.Now
	}
	return cert.NotBefore
}

// newOrder names what it replaces, so that the server lets the renewals it has asked for pass its limits (RFC 9773 section 5).
func (s *signing) newOrder(ctx context.Context) (acme.Order, error) {
	order := acme.Order{Identifiers: identifiers(s.q.Identity)}
	directory, err := s.client.GetDirectory(ctx)
	if err != nil {
		return order, err
	}
	if directory.RenewalInfo != "" && s.q.Current != nil {
		order.Replaces = certificateID(s.q.Current.Certificate)
	}
	made, err := s.client.NewOrder(ctx, s.account, order)
	// Whatever a server has against that, it is no reason to have no certificate.
	if order.Replaces != "" && isProblem(err, acme.ProblemTypeAlreadyReplaced, acme.ProblemTypeMalformed, acme.ProblemTypeServerInternal) {
		order.Replaces = ""
		made, err = s.client.NewOrder(ctx, s.account, order)
	}
	if err == nil && made.Location == "" {
		err = errors.New("the server made an order without a location")
	}
	return made, err
}

// certificateID is the name of a certificate in orders and renewal information (RFC 9773 section 4.1), "" if it has none.
func certificateID(der []byte) string {
	cert, err := x509.ParseCertificate(der)
	if err != nil || len(cert.AuthorityKeyId) == 0 {
		return ""
	}
	id, err := acme.ARIUniqueIdentifier(cert)
	if err != nil {
		return ""
	}
	return id
}

func identifiers(id spec.Identity) []acme.Identifier {
	out := make([]acme.Identifier, len(id.Names))
	for i, n := range id.Names {
		out[i] = acme.Identifier{Type: string(n.Kind), Value: n.Value}
	}
	return out
}

// finalize has the CSR of an order that is ready signed, and waits until it is.
func (s *signing) finalize(ctx context.Context, order acme.Order, csr []byte) (acme.Order, error) {
	if order.Status == acme.StatusReady {
		return s.client.FinalizeOrder(ctx, s.account, order, csr)
	}
	for order.Status == acme.StatusProcessing {
		if err := wait(ctx, max(s.wire.waitSaid(), time.Second)); err != nil {
			return order, err
		}
		var err error
		if order, err = s.client.GetOrder(ctx, s.account, order); err != nil {
			return order, err
		}
	}
	if order.Status != acme.StatusValid {
		return order, orderFailed(order)
	}
	return order, nil
}

func orderFailed(order acme.Order) error {
	if order.Error != nil {
		return *order.Error
	}
	return fmt.Errorf("the order is %q", order.Status)
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// chain joins the chains that the server offers: whoever has the roots finds the way to one of them.
func (s *signing) chain(ctx context.Context, order acme.Order) ([][]byte, error) {
	offered, err := s.client.GetCertificateChain(ctx, s.account, order.Certificate)
	if err != nil {
		return nil, err
	}
	var all [][]byte
	for _, c := range offered {
		for rest := c.ChainPEM; ; {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				break
			}
			known := func(der []byte) bool { return slices.Equal(der, block.Bytes) }
			if block.Type == "CERTIFICATE" && !slices.ContainsFunc(all, known) {
				all = append(all, block.Bytes)
			}
		}
	}
	if len(all) == 0 {
		return nil, errors.New("the server answered without a certificate")
	}
	return all, nil
}
