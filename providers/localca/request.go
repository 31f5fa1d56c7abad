package localca

import (
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// Request makes a PKCS#10 request (RFC 2986) with the subject and the names of an identity, signed by its key. What it
// may be used for is not in it: CAs that are asked from outside decide that.
func (c *CA) Request(id spec.Identity, reuse reconcile.PrivateKey) ([]byte, reconcile.PrivateKey, error) {
	csr, key, err := c.request(id, reuse)
	if err != nil {
		return nil, reconcile.PrivateKey{}, fmt.Errorf("identity %q: %w", id.Name, err)
	}
	return csr, key, nil
}

func (c *CA) request(id spec.Identity, reuse reconcile.PrivateKey) ([]byte, reconcile.PrivateKey, error) {
	signer, key, err := leafKey(id.Key, reuse)
	if err != nil {
		return nil, key, err
	}
	var names x509.Certificate
	for _, n := range id.Names {
		if err := addName(&names, n); err != nil {
			return nil, key, err
		}
	}
	subject, err := encodeSubject(id.Subject)
	if err != nil {
		return nil, key, err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		RawSubject: subject, DNSNames: names.DNSNames, IPAddresses: names.IPAddresses, EmailAddresses: names.EmailAddresses, URIs: names.URIs,
	}, signer)
	return csr, key, err
}

// Requested reads a PKCS#10 request that somebody else made: the identity has its subject, its names and the kind of its
// key, and the request is signed by that key. Everything else in it, like usages, is left out: that is for the CA to say.
func (c *CA) Requested(csr []byte) (spec.Identity, error) {
	var none spec.Identity
	r, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		return none, err
	}
	if err := r.CheckSignature(); err != nil {
		return none, fmt.Errorf("it is not signed by its own key: %w", err)
	}
	if err := checkKey(r.PublicKey); err != nil {
		return none, err
	}
	id := spec.Identity{Key: kindOf(r.PublicKey), Subject: subjectOf(r.Subject)}
	for kind, values := range map[spec.NameKind][]string{
		spec.DNSName: r.DNSNames, spec.IPName: addresses(r), spec.EmailName: r.EmailAddresses, spec.URIName: texts(r.URIs),
	} {
		for _, value := range values {
			n, err := spec.ParseName(value)
			if err != nil || n.Kind != kind {
				return none, fmt.Errorf("the name %q cannot stand in a certificate as %s", value, kind)
			}
			id.Names = append(id.Names, n)
		}
	}
	if len(id.Names) == 0 && id.Subject.CommonName == "" {
		return none, errors.New("it names nobody")
	}
	return id, nil
}

func addresses(r *x509.CertificateRequest) (out []string) {
	for _, ip := range r.IPAddresses {
		out = append(out, ip.String())
	}
	return out
}

func texts(uris []*url.URL) (out []string) {
	for _, u := range uris {
		out = append(out, u.String())
	}
	return out
}

// Certify signs a request for an identity as Requested reads it, under the constraints of the CA. It returns the leaf, and
// what leads from it to the root without that.
func (c *CA) Certify(id spec.Identity, csr []byte, g reconcile.Generation, now time.Time) ([][]byte, error) {
	r, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		return nil, err
	}
	issued, err := c.certify(id, r.PublicKey, g, now)
	if err != nil {
		return nil, err
	}
	return append([][]byte{issued.Certificate}, issued.Chain...), nil
}
