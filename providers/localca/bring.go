package localca

import (
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// Bring reads a CA that was made elsewhere: its certificate, then its issuers up to the root, and its key. The
// generation has its key, for as long as it is in memory: the key stays in its file, and the caller keeps the
// generation without it. Its life is that of its chain, as it can sign for no longer; Created and Wanted are empty.
func (c *CA) Bring(ca spec.CA) (reconcile.Generation, error) {
	g, err := c.bring(ca)
	if err != nil {
		return reconcile.Generation{}, fmt.Errorf("CA %q: %w", ca.Name, err)
	}
	return g, nil
}

func (c *CA) bring(ca spec.CA) (reconcile.Generation, error) {
	var none reconcile.Generation
	if ca.Local == nil || ca.Local.Certificate == "" {
		return none, errors.New("it is not one that was brought along")
	}
	certFile, keyFile, err := readPair(ca.Local.Certificate, ca.Local.KeyFile)
	if err != nil {
		return none, err
	}
	var issuers []*x509.Certificate
	if ca.Local.Chain != "" {
		chainFile, err := readFile(ca.Local.Chain, maxCertificateFile)
		if err != nil {
			return none, err
		}
		if issuers, err = chainFile.certificates(); err != nil {
			return none, err
		}
	}
	return c.bringFiles(certFile, keyFile, issuers, func() ([]byte, error) { return c.passphrase(ca) })
}

func (c *CA) bringFiles(certFile, keyFile file, issuers []*x509.Certificate, passphrase func() ([]byte, error)) (reconcile.Generation, error) {
	var none reconcile.Generation
	certs, err := certFile.certificates()
	if err != nil {
		return none, err
	}
	certs = append(certs, issuers...)
	key, err := keyFile.matching(certFile, certs[0].PublicKey, passphrase)
	if err != nil {
		return none, err
	}
	pkcs8, err := marshalKey(key)
	if err != nil {
		return none, err
	}
	notBefore, notAfter := window(certs)
	g := reconcile.Generation{
		ID:          1,
		State:       reconcile.GenerationActive,
		Certificate: certs[0].Raw,
		Chain:       ders(certs[1:]),
		Key:         pkcs8,
		KeyID:       hex.EncodeToString(keyIDOf(certs[0])),
		NotBefore:   notBefore,
		NotAfter:    notAfter,
	}
	if err := c.Check(g, c.now()); err != nil {
		return none, fmt.Errorf("%s: %w", certFile.name, err)
	}
	return g, nil
}

// passphrase resolves the passphrase of a brought-along key.
func (c *CA) passphrase(ca spec.CA) ([]byte, error) {
	if ca.Local.Passphrase == nil || c.Passphrase == nil {
		return nil, fmt.Errorf("the key is encrypted: set passphrase of the CA %q", ca.Name)
	}
	return c.Passphrase(*ca.Local.Passphrase)
}

// matching opens the key of a file and holds it against the public key of a certificate's file.
func (f file) matching(certFile file, public crypto.PublicKey, passphrase func() ([]byte, error)) (crypto.Signer, error) {
	key, err := f.key(passphrase)
	if err != nil {
		return nil, err
	}
	if !samePublic(key.Public(), public) {
		return nil, fmt.Errorf("%s is not the key of the first certificate in %s (%s and %s): give files that belong together",
			f.name, certFile.name, kindOf(key.Public()), kindOf(public))
	}
	return key, nil
}

// Root reads the certificate of a CA of which the key is elsewhere.
func (c *CA) Root(name string) ([]byte, error) {
	f, err := readFile(name, maxCertificateFile)
	if err != nil {
		return nil, err
	}
	certs, err := f.certificates()
	switch {
	case err != nil:
		return nil, err
	case len(certs) > 1:
		return nil, fmt.Errorf("%s holds %d certificates: give the one that signs", name, len(certs))
	case !certs[0].IsCA:
		return nil, fmt.Errorf("%s is no certificate of a CA", name)
	}
	return certs[0].Raw, nil
}
