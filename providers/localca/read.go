package localca

import (
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// Read takes an identity that something else issued from its files: the leaf, first in its file, its key, and
// the roots it leads to. Intermediates may be in either file; Chain is what leads from the leaf to Root, without
// the root. Wanted is what the leaf says, as nobody asked for it here; IssuedAt is when it became valid.
func (c *CA) Read(id spec.Identity) (reconcile.Issued, error) {
	issued, err := c.read(id)
	if err != nil {
		return reconcile.Issued{}, fmt.Errorf("identity %q: %w", id.Name, err)
	}
	return issued, nil
}

func (c *CA) read(id spec.Identity) (reconcile.Issued, error) {
	var none reconcile.Issued
	if id.From == nil {
		return none, errors.New("it has no files to be read from")
	}
	certFile, keyFile, err := readPair(id.From.Certificate, id.From.Key)
	if err != nil {
		return none, err
	}
	caFile, err := readFile(id.From.CA, maxCertificateFile)
	if err != nil {
		return none, err
	}
	return readFiles(certFile, keyFile, caFile, c.now())
}

var errEncrypted = errors.New("it is encrypted, which the key of an identity cannot be: decrypt it with openssl pkey")

func readFiles(certFile, keyFile, caFile file, now time.Time) (reconcile.Issued, error) {
	var none reconcile.Issued
	certs, err := certFile.certificates()
	if err != nil {
		return none, err
	}
	leaf := certs[0]
	key, err := keyFile.matching(certFile, leaf.PublicKey, func() ([]byte, error) { return nil, errEncrypted })
	if err != nil {
		return none, err
	}
	pkcs8, err := marshalKey(key)
	if err != nil {
		return none, err
	}
	if now.After(leaf.NotAfter) {
		return none, fmt.Errorf("%s expired on %s: have it renewed by what issues it", certFile.name, date(leaf.NotAfter))
	}
	cas, err := caFile.certificates()
	if err != nil {
		return none, err
	}
	path, err := pathToRoot(leaf, certs[1:], cas, now)
	if err != nil {
		return none, fmt.Errorf("%s does not lead to a root in %s: %w", certFile.name, caFile.name, err)
	}
	return reconcile.Issued{
		Serial:      serialText(leaf.SerialNumber),
		Certificate: leaf.Raw,
		Chain:       ders(path[1:max(1, len(path)-1)]),
		Root:        path[len(path)-1].Raw,
		Key:         pkcs8,
		IssuerKeyID: hex.EncodeToString(keyIDOf(path[min(1, len(path)-1)])),
		NotBefore:   leaf.NotBefore,
		NotAfter:    leaf.NotAfter,
		IssuedAt:    leaf.NotBefore,
		Wanted:      profileOf(leaf),
	}, nil
}

// pathToRoot finds the shortest path from the leaf, first, to a root, last.
func pathToRoot(leaf *x509.Certificate, chain, cas []*x509.Certificate, now time.Time) ([]*x509.Certificate, error) {
	roots, others := x509.NewCertPool(), pool(chain...)
	found := false
	for _, ca := range cas {
		if isRoot(ca) {
			roots.AddCert(ca)
			found = true
		} else {
			others.AddCert(ca)
		}
	}
	if !found {
		return nil, errors.New("it holds no root, that is, no certificate signed by itself: add it")
	}
	paths, err := leaf.Verify(x509.VerifyOptions{
		Roots:         roots,
		Intermediates: others,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
		CurrentTime:   now,
	})
	if err != nil {
		return nil, err
	}
	shortest := paths[0]
	for _, path := range paths[1:] {
		if len(path) < len(shortest) {
			shortest = path
		}
	}
	return shortest, nil
}

// profileOf says what a certificate is for, in the words of a spec.
func profileOf(cert *x509.Certificate) reconcile.Profile {
	p := reconcile.Profile{Key: kindOf(cert.PublicKey), Lifetime: cert.NotAfter.Sub(cert.NotBefore)}
	add := func(kind spec.NameKind, value string) { p.Names = append(p.Names, string(kind)+":"+value) }
	for _, n := range cert.DNSNames {
		add(spec.DNSName, n)
	}
	for _, ip := range cert.IPAddresses {
		add(spec.IPName, ip.String())
	}
	for _, n := range cert.EmailAddresses {
		add(spec.EmailName, n)
	}
	for _, u := range cert.URIs {
		add(spec.URIName, u.String())
	}
	if mayUse(cert, x509.ExtKeyUsageServerAuth) {
		p.Usages = append(p.Usages, spec.Server)
	}
	if mayUse(cert, x509.ExtKeyUsageClientAuth) {
		p.Usages = append(p.Usages, spec.Client)
	}
	return p
}
