package localca

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// Create makes generation id of a CA of certwright's own; parent signs it, nil makes a root. It is Active and
// Wanted is empty: both are the caller's to change. It has no path length: what stands below a CA is the spec's matter, and
// a spec may put another CA below it at any time.
func (c *CA) Create(ca spec.CA, parent *reconcile.Generation, id int, now time.Time) (reconcile.Generation, error) {
	g, err := c.create(ca, parent, id, now)
	if err != nil {
		return reconcile.Generation{}, fmt.Errorf("CA %q: %w", ca.Name, err)
	}
	return g, nil
}

func (c *CA) create(ca spec.CA, parent *reconcile.Generation, id int, now time.Time) (reconcile.Generation, error) {
	var none reconcile.Generation
	switch {
	case ca.Local == nil || ca.Local.Certificate != "":
		return none, errors.New("it is not one that certwright makes")
	case (ca.Local.Parent == nil) != (parent == nil):
		return none, errors.New("its parent in the spec is not the one that should sign it")
	}
	key, err := newKey(ca.Local.Key)
	if err != nil {
		return none, err
	}
	template, err := c.caTemplate(ca, id)
	if err != nil {
		return none, err
	}
	template.SubjectKeyId = keyID(key.Public())

	// A root is its own issuer.
	by := &issuer{cert: template, signer: key, keyID: template.SubjectKeyId}
	if parent == nil {
		template.NotBefore, template.NotAfter, err = validity(ca.Local.Lifetime, now)
	} else {
		if by, err = c.open(*parent); err != nil {
			return none, err
		}
		if bytes.Equal(by.cert.RawSubject, template.RawSubject) {
			return none, fmt.Errorf("its subject is that of its parent, %s: give it another commonName", caName(by.cert))
		}
		template.NotBefore, template.NotAfter, err = by.validity(ca.Local.Lifetime, now)
	}
	if err != nil {
		return none, err
	}
	template.AuthorityKeyId = by.keyID

	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, key.Public(), by.signer)
	if err != nil {
		return none, err
	}
	pkcs8, err := marshalKey(key)
	if err != nil {
		return none, err
	}
	g := reconcile.Generation{
		ID:          id,
		State:       reconcile.GenerationActive,
		Certificate: der,
		Chain:       ders(by.chain),
		Key:         pkcs8,
		KeyID:       hex.EncodeToString(template.SubjectKeyId),
		NotBefore:   template.NotBefore,
		NotAfter:    template.NotAfter,
		Created:     now.UTC(),
	}
	return g, c.Check(g, now)
}

// caTemplate has all of a CA's certificate but its dates and keys.
func (c *CA) caTemplate(ca spec.CA, id int) (*x509.Certificate, error) {
	subject, err := encodeSubject(generationSubject(ca, id))
	if err != nil {
		return nil, err
	}
	serial, err := c.serial()
	if err != nil {
		return nil, err
	}
	limits := ca.Local.Constraints
	return &x509.Certificate{
		SerialNumber:                serial,
		RawSubject:                  subject,
		KeyUsage:                    x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid:       true,
		IsCA:                        true,
		PermittedDNSDomainsCritical: !limits.Empty(), // of all constraints, in spite of its name
		PermittedDNSDomains:         limits.PermitDNS,
		ExcludedDNSDomains:          limits.ExcludeDNS,
		PermittedIPRanges:           networks(limits.PermitIP),
		ExcludedIPRanges:            networks(limits.ExcludeIP),
	}, nil
}

func networks(prefixes []netip.Prefix) []*net.IPNet {
	var out []*net.IPNet
	for _, p := range prefixes {
		out = append(out, &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())})
	}
	return out
}
