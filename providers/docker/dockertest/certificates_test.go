package dockertest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"time"
)

// authority is a root and an intermediate made with the standard library alone, so that the test bed is proven
// without certwright.
type authority struct {
	root, intermediate *x509.Certificate
	key                *ecdsa.PrivateKey // the intermediate's
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	ca := x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	rootKey, key := newKey(t), newKey(t)
	ca.Subject = pkix.Name{CommonName: "test root"}
	root := sign(t, ca, nil, rootKey, rootKey)
	ca.Subject = pkix.Name{CommonName: "test services"}
	return authority{root, sign(t, ca, root, key, rootKey), key}
}

// issue returns a certificate for name (its common name, and a DNS name beside localhost), its chain and its key.
func (a authority) issue(t *testing.T, name string, usage x509.ExtKeyUsage) tls.Certificate {
	t.Helper()
	key := newKey(t)
	leaf := sign(t, x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name, "localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage},
	}, a.intermediate, key, a.key)
	return tls.Certificate{Certificate: [][]byte{leaf.Raw, a.intermediate.Raw}, PrivateKey: key, Leaf: leaf}
}

// sign fills in a serial number and an hour of life; a nil issuer signs itself.
func sign(t *testing.T, template x509.Certificate, issuer *x509.Certificate, key, with *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber, template.NotBefore, template.NotAfter = serial, time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if issuer == nil {
		issuer = &template
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, issuer, key.Public(), with)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.root)
	return pool
}

// files returns the PEM of a certificate with its chain, its key, and the root, under the given names.
func (a authority) files(t *testing.T, c tls.Certificate, certificate, key, ca string) map[string][]byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	var chain []byte
	for _, der := range c.Certificate {
		chain = append(chain, block("CERTIFICATE", der)...)
	}
	return map[string][]byte{certificate: chain, key: block("PRIVATE KEY", der), ca: block("CERTIFICATE", a.root.Raw)}
}
