package vault

import (
	"context"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"strings"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// Revoke implements reconcile.Revoker. Where the role keeps none of what it signed (no_store) the engine has to be shown the
// certificate. Its key stays here, so revoke-with-key is not asked.
func (c *CA) Revoke(ctx context.Context, ca spec.CA, q reconcile.RevocationRequest) error {
	number, err := hex.DecodeString(q.Serial)
	if err != nil || len(number) == 0 {
		return errors.New("a serial is a number in hex")
	}
	path := ca.Vault.Mount + "/revoke"
	err = c.post(ctx, ca, path, map[string]any{"serial_number": colons(number)}, &struct{}{})
	if q.Own != nil && errors.Is(err, reconcile.ErrRefused) && strings.Contains(err.Error(), "not found") {
		shown := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: q.Own.Certificate})
		err = c.post(ctx, ca, path, map[string]any{"certificate": string(shown)}, &struct{}{})
	}
	return err
}

// colons is a serial as the API has it.
func colons(number []byte) string {
	parts := make([]string, len(number))
	for i, b := range number {
		parts[i] = hex.EncodeToString([]byte{b})
	}
	return strings.Join(parts, ":")
}
