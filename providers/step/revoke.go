package step

import (
	"context"
	"errors"
	"math/big"
	"strings"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// Revoke implements reconcile.Revoker: the certificate is renewed no more. One that is known revokes itself, else a token of
// the provisioner does.
func (c *CA) Revoke(ctx context.Context, ca spec.CA, q reconcile.RevocationRequest) error {
	number, ok := new(big.Int).SetString(q.Serial, 16)
	if !ok {
		return errors.New("a serial is a number in hex")
	}
	client, err := c.known(ca, q.Roots, q.Own)
	if err != nil {
		return err
	}
	// The API knows no other kind of revocation than a passive one, which refuses renewal and shows in the CRL.
	question := map[string]any{"serial": number.String(), "passive": true}
	if q.Own == nil {
		by, err := c.provisioner(ctx, client, ca)
		if err != nil {
			return err
		}
		if question["ott"], err = by.token(revokePath, number.String(), nil, nil, c.Now()); err != nil {
			return err
		}
	}
	err = client.post(ctx, revokePath, question, &struct{}{})
	if errors.Is(err, reconcile.ErrRefused) && strings.Contains(err.Error(), "is already revoked") {
		return nil
	}
	return err
}
