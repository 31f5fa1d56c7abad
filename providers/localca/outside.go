package localca

import (
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// Roots reads what a CA outside leads to from a file of certificates, each a root.
func (c *CA) Roots(name string) ([][]byte, error) {
	f, err := readFile(name, maxCertificateFile)
	if err != nil {
		return nil, err
	}
	certs, err := f.certificates()
	if err != nil {
		return nil, err
	}
	for i, cert := range certs {
		if !cert.IsCA || !isRoot(cert) {
			return nil, fmt.Errorf("%s: certificate %d is no root, that is, a CA signed by itself", name, i+1)
		}
	}
	return ders(certs), nil
}

// TakeIn makes a generation of a root of which the key is elsewhere.
func (c *CA) TakeIn(root []byte, id int, now time.Time) (reconcile.Generation, error) {
	cert, err := parseCertificate(root)
	switch {
	case err != nil:
		return reconcile.Generation{}, err
	case !cert.IsCA || !isRoot(cert):
		return reconcile.Generation{}, errors.New("it is no root, that is, a CA signed by itself")
	case now.After(cert.NotAfter):
		return reconcile.Generation{}, fmt.Errorf("the root expired on %s", date(cert.NotAfter))
	}
	return reconcile.Generation{
		ID: id, State: reconcile.GenerationActive, Certificate: cert.Raw, KeyID: hex.EncodeToString(keyIDOf(cert)),
		NotBefore: cert.NotBefore, NotAfter: cert.NotAfter, Created: now.UTC(),
	}, nil
}

// maxChain is more certificates than any CA answers with.
const maxChain = 10

// Accept implements reconcile.Authority. What a CA outside answers is untrusted, and bounded.
func (c *CA) Accept(id spec.Identity, csr []byte, chain, roots [][]byte, now time.Time) (reconcile.Issued, error) {
	issued, err := c.accept(id, csr, chain, roots, now)
	if err != nil {
		return reconcile.Issued{}, fmt.Errorf("identity %q: %w", id.Name, err)
	}
	return issued, nil
}

func (c *CA) accept(id spec.Identity, csr []byte, chain, roots [][]byte, now time.Time) (reconcile.Issued, error) {
	var none reconcile.Issued
	if len(chain) == 0 || len(chain) > maxChain {
		return none, fmt.Errorf("%d certificates", len(chain))
	}
	certs, err := parseAll(chain)
	if err != nil {
		return none, err
	}
	pinned, err := parseAll(roots)
	if err != nil {
		return none, err
	}
	request, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		return none, err
	}
	leaf := certs[0]
	if err := asked(id, leaf); err != nil {
		return none, err
	}
	if !samePublic(leaf.PublicKey, request.PublicKey) {
		return none, errors.New("the certificate is of another key")
	}
	path, err := pathToRoot(leaf, certs[1:], pinned, now)
	if err != nil {
		return none, fmt.Errorf("the certificate does not lead to a root of the CA: %w", err)
	}
	root := path[len(path)-1]
	return reconcile.Issued{
		Serial: serialText(leaf.SerialNumber), Certificate: leaf.Raw, Chain: ders(path[1:max(1, len(path)-1)]), Root: root.Raw,
		CA: id.CA.Name, IssuerKeyID: hex.EncodeToString(keyIDOf(root)), NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter, IssuedAt: now.UTC(),
	}, nil
}

func parseAll(ders [][]byte) ([]*x509.Certificate, error) {
	out := make([]*x509.Certificate, len(ders))
	for i, der := range ders {
		if len(der) > maxCertificateFile {
			return nil, fmt.Errorf("certificate %d is too large", i+1)
		}
		var err error
		if out[i], err = parseCertificate(der); err != nil {
			return nil, fmt.Errorf("certificate %d: %w", i+1, err)
		}
	}
	return out, nil
}

// asked holds a leaf against what the spec wants of it. The subject is the CA's affair: names are what peers look at.
func asked(id spec.Identity, leaf *x509.Certificate) error {
	var want x509.Certificate
	for _, n := range id.Names {
		if err := addName(&want, n); err != nil {
			return err
		}
	}
	has, wants := sortedNames(leaf), sortedNames(&want)
	// CAs put the common name among the names where there is no other.
	alone := []string{"dns:" + id.Subject.CommonName}
	switch {
	case leaf.IsCA:
		return errors.New("the certificate is one of a CA")
	case !slices.Equal(has, wants) && (len(wants) > 0 || !slices.Equal(has, alone)):
		return fmt.Errorf("the certificate has the names %q and not %q", has, wants)
	case id.Usage(spec.Server) && !mayUse(leaf, x509.ExtKeyUsageServerAuth):
		return errors.New("the certificate is not for a server")
	case id.Usage(spec.Client) && !mayUse(leaf, x509.ExtKeyUsageClientAuth):
		return errors.New("the certificate is not for a client")
	}
	return nil
}

func sortedNames(c *x509.Certificate) []string {
	names := slices.Clone(profileOf(&x509.Certificate{DNSNames: c.DNSNames, IPAddresses: c.IPAddresses, EmailAddresses: c.EmailAddresses, URIs: c.URIs}).Names)
	slices.Sort(names)
	return slices.Compact(names)
}
