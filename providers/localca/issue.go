package localca

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// Issue signs a leaf. A reused key must be of the kind the spec asks for. Reason and Wanted are the caller's; the
// DER of the issuers is shared by all their leaves and must not be changed.
//
// Its signature needs no verification of its own: x509.CreateCertificate verifies what it signed with the
// issuer's key, and that key was compared with the issuer's certificate, and that certificate verified up to
// its root, when the issuer was opened. Everything else is compared after reading the leaf back.
func (c *CA) Issue(id spec.Identity, by reconcile.Generation, reuse reconcile.PrivateKey, now time.Time) (reconcile.Issued, error) {
	issued, err := c.issue(id, by, reuse, now)
	if err != nil {
		return reconcile.Issued{}, fmt.Errorf("identity %q: %w", id.Name, err)
	}
	return issued, nil
}

// Client makes the client certificate the probe shows: five minutes, P-256, never stored.
func (c *CA) Client(by reconcile.Generation, now time.Time) (reconcile.Issued, error) {
	return c.Issue(spec.Identity{
		Name:     "certwright probe",
		Usages:   []spec.Usage{spec.Client},
		Subject:  spec.Subject{CommonName: "certwright probe"},
		Key:      spec.ECDSAP256,
		Lifetime: 5 * time.Minute,
	}, by, reconcile.PrivateKey{}, now)
}

func (c *CA) issue(id spec.Identity, g reconcile.Generation, reuse reconcile.PrivateKey, now time.Time) (reconcile.Issued, error) {
	key, pkcs8, err := leafKey(id.Key, reuse)
	if err != nil {
		return reconcile.Issued{}, err
	}
	issued, err := c.certify(id, key.Public(), g, now)
	issued.Key = pkcs8
	return issued, err
}

// certify signs a certificate of a key, of which the private half may be anywhere.
func (c *CA) certify(id spec.Identity, key crypto.PublicKey, g reconcile.Generation, now time.Time) (reconcile.Issued, error) {
	var none reconcile.Issued
	by, err := c.open(g)
	if err != nil {
		return none, err
	}
	template, err := c.leafTemplate(id)
	if err != nil {
		return none, err
	}
	if err := by.mayIssue(id, template); err != nil {
		return none, err
	}
	if template.NotBefore, template.NotAfter, err = by.validity(id.Lifetime, now); err != nil {
		return none, err
	}
	if _, ok := key.(*rsa.PublicKey); ok && id.Usage(spec.Server) {
		// TLS 1.2 without forward secrecy needs it of a server; it is at odds with clientAuth alone (RFC 5280
		// section 4.2.1.12).
		template.KeyUsage |= x509.KeyUsageKeyEncipherment
	}
	template.SubjectKeyId = keyID(key)
	template.AuthorityKeyId = by.keyID
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, key, by.signer)
	if err != nil {
		return none, err
	}
	if err := confirm(der, template, by, key); err != nil {
		return none, err
	}
	return reconcile.Issued{
		Serial:      serialText(template.SerialNumber),
		Certificate: der,
		Chain:       by.path,
		Root:        g.Root(),
		CA:          id.CA.Name,
		IssuerKeyID: hex.EncodeToString(by.keyID),
		NotBefore:   template.NotBefore,
		NotAfter:    template.NotAfter,
		IssuedAt:    now.UTC(),
	}, nil
}

// leafKey opens the key to be kept, or makes a new one.
func leafKey(kind spec.KeyKind, reuse reconcile.PrivateKey) (crypto.Signer, reconcile.PrivateKey, error) {
	if len(reuse.PKCS8()) == 0 {
		key, err := newKey(kind)
		if err != nil {
			return nil, reuse, err
		}
		pkcs8, err := marshalKey(key)
		return key, pkcs8, err
	}
	key, err := parsePKCS8(reuse.PKCS8())
	if err != nil {
		return nil, reuse, fmt.Errorf("the key to be kept: %w", err)
	}
	if is := kindOf(key.Public()); is != kind {
		return nil, reuse, fmt.Errorf("the key to be kept is %s and the spec wants %s: issue with a new key", is, kind)
	}
	return key, reuse, nil
}

// leafTemplate has all of a leaf's certificate but its dates and keys.
func (c *CA) leafTemplate(id spec.Identity) (*x509.Certificate, error) {
	subject, err := encodeSubject(id.Subject)
	if err != nil {
		return nil, err
	}
	serial, err := c.serial()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber:          serial,
		RawSubject:            subject,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true, // says CA:FALSE
	}
	if id.Usage(spec.Server) {
		t.ExtKeyUsage = append(t.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	if id.Usage(spec.Client) {
		t.ExtKeyUsage = append(t.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	}
	if len(t.ExtKeyUsage) == 0 {
		return nil, errors.New("it is neither for a server nor for a client: set usages")
	}
	for _, n := range id.Names {
		if err := addName(t, n); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func addName(t *x509.Certificate, n spec.Name) error {
	switch n.Kind {
	case spec.DNSName:
		t.DNSNames = append(t.DNSNames, n.Value)
	case spec.EmailName:
		t.EmailAddresses = append(t.EmailAddresses, n.Value)
	case spec.IPName:
		ip, err := netip.ParseAddr(n.Value)
		if err != nil || ip.Zone() != "" {
			return fmt.Errorf("the name %q is no address", n.Value)
		}
		t.IPAddresses = append(t.IPAddresses, ip.Unmap().AsSlice())
	case spec.URIName:
		u, err := url.Parse(n.Value)
		if err != nil {
			return fmt.Errorf("the name %q is no URI", n.Value)
		}
		t.URIs = append(t.URIs, u)
	default:
		return fmt.Errorf("the name %q is of the unknown kind %q", n.Value, n.Kind)
	}
	return nil
}

// confirm reads a leaf back and compares it with what was asked for. A wrong certificate ends here.
func confirm(der []byte, want *x509.Certificate, by *issuer, key crypto.PublicKey) error {
	got, err := parseCertificate(der)
	if err != nil {
		return err
	}
	for _, check := range []struct {
		what string
		ok   bool
	}{
		{"key", samePublic(got.PublicKey, key)},
		{"serial", got.SerialNumber.Cmp(want.SerialNumber) == 0},
		{"subject", bytes.Equal(got.RawSubject, want.RawSubject)},
		{"issuer", bytes.Equal(got.RawIssuer, by.cert.RawSubject) && bytes.Equal(got.AuthorityKeyId, by.keyID)},
		{"key id", bytes.Equal(got.SubjectKeyId, keyID(key))},
		{"dates", got.NotBefore.Equal(want.NotBefore) && got.NotAfter.Equal(want.NotAfter) && !got.NotAfter.After(by.notAfter)},
		{"DNS names", slices.Equal(got.DNSNames, want.DNSNames)},
		{"addresses", slices.EqualFunc(got.IPAddresses, want.IPAddresses, equalBytes)},
		{"e-mail addresses", slices.Equal(got.EmailAddresses, want.EmailAddresses)},
		{"URIs", slices.EqualFunc(got.URIs, want.URIs, func(a, b *url.URL) bool { return a.String() == b.String() })},
		{"usages", got.KeyUsage == want.KeyUsage && slices.Equal(got.ExtKeyUsage, want.ExtKeyUsage)},
		{"basic constraints", got.BasicConstraintsValid && !got.IsCA},
	} {
		if !check.ok {
			return fmt.Errorf("the certificate that was signed has other %s than asked for; it was thrown away", check.what)
		}
	}
	if by.constrained() && len(got.URIs)+len(got.EmailAddresses) > 0 {
		return verify(append([]*x509.Certificate{got}, by.chain...), got.NotAfter) // mayIssue looked at DNS names and addresses only
	}
	return nil
}

func equalBytes[T ~[]byte](a, b T) bool { return bytes.Equal(a, b) }

// serialText is how State writes serials: lower-case hex, two digits a byte.
func serialText(n *big.Int) string {
	if n.Sign() == 0 {
		return "00"
	}
	return hex.EncodeToString(n.Bytes())
}
