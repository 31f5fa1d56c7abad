package acmeca

import (
	"context"
	"crypto/x509"
	"errors"

	"github.com/mholt/acmez/v3/acme"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// Revoke implements reconcile.Revoker. The certificate's own key asks for it (RFC 8555 section 7.6), so no account is needed:
// whatever became of the one it was issued to, and whoever else has the key may do the same.
func (c *CA) Revoke(ctx context.Context, ca spec.CA, q reconcile.RevocationRequest) error {
	if q.Own == nil {
		return errors.New("an ACME server revokes what it is shown, and the store does not have this certificate: revoke it where it is")
	}
	certificate, err := x509.ParseCertificate(q.Own.Certificate)
	if err != nil {
		return err
	}
	key, err := parseKey(q.Own.Key.PKCS8())
	if err != nil {
		return err
	}
	of := reconcile.SigningRequest{Roots: q.Roots, Now: q.Now}
	w, err := newWire(ca, of, c.Around)
	if err != nil {
		return err
	}
	defer w.close()
	s := &signing{CA: c, ca: ca, q: of, wire: w, client: &acme.Client{Directory: ca.ACME.Directory, HTTPClient: w.client(), UserAgent: userAgent}}
	err = s.client.RevokeCertificate(ctx, acme.Account{}, certificate, key, acme.ReasonUnspecified)
	if err == nil || isProblem(err, acme.ProblemTypeAlreadyRevoked) {
		return nil
	}
	return s.explain(err)
}
