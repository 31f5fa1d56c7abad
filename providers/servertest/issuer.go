package servertest

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
	"os"
	"testing"
	"time"
)

// Issuer is a key with a certificate, of a CA or of what one issued.
type Issuer struct {
	Certificate *x509.Certificate
	Key         *ecdsa.PrivateKey
}

// NewIssuer makes a root, or an intermediate of one.
func NewIssuer(t testing.TB, name string, parent *Issuer) Issuer {
	t.Helper()
	return Issue(t, x509.Certificate{
		Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(10 * 365 * 24 * time.Hour),
		IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}, parent)
}

// Leaf makes one for loopback, for both sides of a connection, that ends at a time.
func (i Issuer) Leaf(t testing.TB, name string, end time.Time) Issuer {
	t.Helper()
	return Issue(t, x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: end,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, &i)
}

// Issue gives what a template says to a new key; by itself where there is no parent.
func Issue(t testing.TB, template x509.Certificate, parent *Issuer) Issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if parent == nil {
		parent = &Issuer{&template, key}
	}
	return Issuer{parent.Sign(t, template, &key.PublicKey), key}
}

// Sign gives what a template says to a public key, from an hour ago unless it says otherwise.
func (i Issuer) Sign(t testing.TB, template x509.Certificate, key any) *x509.Certificate {
	t.Helper()
	var err error
	if template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
		t.Fatal(err)
	}
	if template.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-time.Hour)
	}
	template.BasicConstraintsValid = true
	der, err := x509.CreateCertificate(rand.Reader, &template, i.Certificate, key, i.Key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

// TLS is what a server shows, with the certificates above it.
func (i Issuer) TLS(above ...Issuer) tls.Certificate {
	pair := tls.Certificate{Certificate: [][]byte{i.Certificate.Raw}, PrivateKey: i.Key}
	for _, a := range above {
		pair.Certificate = append(pair.Certificate, a.Certificate.Raw)
	}
	return pair
}

// PEM is the certificate.
func (i Issuer) PEM() []byte { return PEM("CERTIFICATE", i.Certificate.Raw) }

// KeyPEM is the key (PKCS#8).
func (i Issuer) KeyPEM(t testing.TB) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(i.Key)
	if err != nil {
		t.Fatal(err)
	}
	return PEM("PRIVATE KEY", der)
}

// Write puts both into files.
func (i Issuer) Write(t testing.TB, certificate, key string) {
	t.Helper()
	for name, data := range map[string][]byte{certificate: i.PEM(), key: i.KeyPEM(t)} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// PEM is a block of a type.
func PEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
