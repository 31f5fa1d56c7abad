package localca

import (
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// BringIdentity implements reconcile.Authority. IssuedAt is when the certificate became valid; Reason and Wanted are the
// caller's.
func (c *CA) BringIdentity(id spec.Identity, by reconcile.Generation) (reconcile.Issued, error) {
	issued, err := c.bringIdentity(id, by)
	if err != nil {
		return reconcile.Issued{}, fmt.Errorf("identity %q: %w", id.Name, err)
	}
	return issued, nil
}

func (c *CA) bringIdentity(id spec.Identity, by reconcile.Generation) (reconcile.Issued, error) {
	var none reconcile.Issued
	if id.Brought == nil {
		return none, errors.New("it is not one that was brought along")
	}
	path, err := parseAll(append([][]byte{by.Certificate}, by.Chain...))
	if err != nil {
		return none, err
	}
	certFile, keyFile, err := readPair(id.Brought.Certificate, id.Brought.Key)
	if err != nil {
		return none, err
	}
	certs, err := certFile.certificates()
	if err != nil {
		return none, err
	}
	leaf := certs[0]
	key, err := keyFile.matching(certFile, leaf.PublicKey, func() ([]byte, error) { return c.ofPair(id) })
	if err != nil {
		return none, err
	}
	pkcs8, err := marshalKey(key)
	if err != nil {
		return none, err
	}
	switch err := leaf.CheckSignatureFrom(path[0]); {
	case err != nil:
		return none, fmt.Errorf("%s was not signed by CA %s: %w", certFile.name, id.CA.Name, err)
	case c.now().After(leaf.NotAfter):
		return none, fmt.Errorf("%s expired on %s", certFile.name, date(leaf.NotAfter))
	case kindOf(leaf.PublicKey) != id.Key:
		return none, fmt.Errorf("%s: its key is of the kind %s, and the spec wants %s", certFile.name, kindOf(leaf.PublicKey), id.Key)
	}
	if err := asked(id, leaf); err != nil {
		return none, fmt.Errorf("%s: %w", certFile.name, err)
	}
	if err := verify(append([]*x509.Certificate{leaf}, path...), c.now()); err != nil {
		return none, fmt.Errorf("%s: %w", certFile.name, err)
	}
	return reconcile.Issued{
		Serial:      serialText(leaf.SerialNumber),
		Certificate: leaf.Raw,
		Chain:       ders(path[:len(path)-1]),
		Root:        path[len(path)-1].Raw,
		Key:         pkcs8,
		CA:          id.CA.Name,
		IssuerKeyID: by.KeyID,
		NotBefore:   leaf.NotBefore,
		NotAfter:    leaf.NotAfter,
		IssuedAt:    leaf.NotBefore,
	}, nil
}

// ofPair resolves the passphrase of a key that was brought along with an identity.
func (c *CA) ofPair(id spec.Identity) ([]byte, error) {
	if id.Brought.Passphrase == nil || c.Passphrase == nil {
		return nil, errors.New("it is encrypted: set passphrase beside its file")
	}
	return c.Passphrase(*id.Brought.Passphrase)
}
