package docker

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/certwright/certwright/reconcile"
)

// authority issues certificates for tests.
type authority struct {
	root *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	a := authority{key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test root"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	a.root = parsed(t)(x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key))
	return a
}

// issue makes a certificate for server and client that ends at a time.
func (a authority) issue(t *testing.T, serial int64, ends time.Time) reconcile.Issued {
	t.Helper()
	key := newKey(t)
	leaf := parsed(t)(x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "redis"}, DNSNames: []string{"redis"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: ends,
	}, a.root, key.Public(), a.key))
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return reconcile.Issued{
		Serial: fmt.Sprintf("%02x", serial), Certificate: leaf.Raw, Root: a.root.Raw, Key: reconcile.NewPrivateKey(der),
	}
}

// lay writes ca.pem, cert.pem and key.pem into a directory, each in place.
func (a authority) lay(t *testing.T, dir string, cert, key reconcile.Issued, uid int) {
	t.Helper()
	for name, b := range map[string]pem.Block{
		"ca.pem":   {Type: "CERTIFICATE", Bytes: a.root.Raw},
		"cert.pem": {Type: "CERTIFICATE", Bytes: cert.Certificate},
		"key.pem":  {Type: "PRIVATE KEY", Bytes: key.Key.PKCS8()},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&b), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, uid, uid); err != nil {
			t.Fatal(err)
		}
	}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func parsed(t *testing.T) func(der []byte, err error) *x509.Certificate {
	return func(der []byte, err error) *x509.Certificate {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
}
