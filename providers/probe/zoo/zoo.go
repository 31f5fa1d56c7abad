// Package zoo makes the certificates and starts the real servers that tests of the wire look at. It is for tests
// only: whatever fails, fails the test.
package zoo

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/certwright/certwright/reconcile"
)

// Certificates of the zoo are valid from Begin to End unless a test changes that.
var (
	Begin = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	End   = time.Date(2125, 1, 1, 0, 0, 0, 0, time.UTC)
)

// Cert is a certificate with its key and issuers.
type Cert struct {
	*x509.Certificate
	Signer crypto.Signer
	Chain  []*x509.Certificate // its issuers without the root, nearest first
	Anchor *x509.Certificate   // the root
}

// Root makes a root CA. Its key id is made of its name, so that a test can say it.
func Root(t testing.TB, name string, change ...func(*x509.Certificate)) Cert {
	t.Helper()
	return certify(t, authority(name), nil, Key(t), change)
}

// CA makes an intermediate CA.
func (c Cert) CA(t testing.TB, name string, change ...func(*x509.Certificate)) Cert {
	t.Helper()
	return certify(t, authority(name), &c, Key(t), change)
}

// Leaf makes a certificate for name and 127.0.0.1, for servers and clients.
func (c Cert) Leaf(t testing.TB, name string, change ...func(*x509.Certificate)) Cert {
	t.Helper()
	return c.LeafOf(t, Key(t), name, change...)
}

// LeafOf is Leaf with a key that is there already.
func (c Cert) LeafOf(t testing.TB, key crypto.Signer, name string, change ...func(*x509.Certificate)) Cert {
	t.Helper()
	template := x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		DNSNames:    []string{name},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	return certify(t, template, &c, key, change)
}

// Key makes a key for a certificate.
func Key(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// KeyID returns the key id of a CA of that name, in hex.
func KeyID(name string) string { return hex.EncodeToString(keyID(name)) }

func keyID(name string) []byte {
	id := sha256.Sum256([]byte(name))
	return id[:4]
}

func authority(name string) x509.Certificate {
	return x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		SubjectKeyId:          keyID(name),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
}

func certify(t testing.TB, template x509.Certificate, issuer *Cert, key crypto.Signer, change []func(*x509.Certificate)) Cert {
	t.Helper()
	serial := make([]byte, 16)
	if _, err := rand.Read(serial); err != nil {
		t.Fatal(err)
	}
	serial[0] = serial[0]&0x7f | 0x40
	template.SerialNumber = new(big.Int).SetBytes(serial)
	template.NotBefore, template.NotAfter = Begin, End
	for _, f := range change {
		f(&template)
	}
	c := Cert{Signer: key}
	parent, signer := &template, key
	if issuer != nil {
		parent, signer = issuer.Certificate, issuer.Signer
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	if c.Certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	c.Anchor = c.Certificate
	if issuer != nil {
		c.Anchor = issuer.Anchor
		if issuer.Anchor != issuer.Certificate {
			c.Chain = append([]*x509.Certificate{issuer.Certificate}, issuer.Chain...)
		}
	}
	return c
}

// TLS returns the certificate and its chain for a server or client.
func (c Cert) TLS() tls.Certificate {
	out := tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: c.Signer, Leaf: c.Certificate}
	for _, i := range c.Chain {
		out.Certificate = append(out.Certificate, i.Raw)
	}
	return out
}

// Pool returns a pool of the certificate alone.
func (c Cert) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(c.Certificate)
	return pool
}

// Serial returns the serial number as State writes it.
func (c Cert) Serial() string { return hex.EncodeToString(c.SerialNumber.Bytes()) }

// Issued returns what the store would keep of it, as far as a probe needs it.
func (c Cert) Issued(t testing.TB) *reconcile.Issued {
	t.Helper()
	id := reconcile.Issued{Serial: c.Serial(), Certificate: c.Raw, Root: c.Anchor.Raw, Key: reconcile.NewPrivateKey(c.pkcs8(t))}
	for _, i := range c.Chain {
		id.Chain = append(id.Chain, i.Raw)
	}
	return &id
}

func (c Cert) pkcs8(t testing.TB) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.Signer)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// Write puts cert.pem (with the chain), key.pem and ca.pem (of trust) into a directory.
func (c Cert) Write(t testing.TB, dir string, trust ...Cert) {
	t.Helper()
	chain := block("CERTIFICATE", c.Raw)
	for _, i := range c.Chain {
		chain = append(chain, block("CERTIFICATE", i.Raw)...)
	}
	var cas []byte
	for _, ca := range trust {
		cas = append(cas, block("CERTIFICATE", ca.Raw)...)
	}
	for name, data := range map[string][]byte{
		"cert.pem": chain, "key.pem": block("PRIVATE KEY", c.pkcs8(t)), "ca.pem": cas,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
