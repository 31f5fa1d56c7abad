package reload

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"
)

// signed is a certificate that ends at a time, signed by itself or by another one.
func signed(t *testing.T, until time.Time, by *x509.Certificate, key *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: until.Add(-time.Hour), NotAfter: until,
		IsCA: by == nil, BasicConstraintsValid: true, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if by == nil {
		by, key = c, own
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by, &own.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return made, own
}

// TestChains lets an expired leaf through and nothing else.
func TestChains(t *testing.T) {
	soon := time.Now().Add(time.Minute)
	root, key := signed(t, soon, nil, nil)
	other, otherKey := signed(t, soon, nil, nil)
	pool := x509.NewCertPool()
	pool.AddCert(root)
	expired, _ := signed(t, time.Now().Add(-time.Minute/2), root, key)
	foreign, _ := signed(t, soon, other, otherKey)
	if err := chains([]*x509.Certificate{expired}, pool, time.Now()); err != nil {
		t.Errorf("expired: %v", err)
	}
	if err := chains([]*x509.Certificate{foreign}, pool, time.Now()); err == nil {
		t.Error("a leaf of another root was let through")
	}
	if err := chains(nil, pool, time.Now()); err == nil {
		t.Error("no certificate was let through")
	}
}
