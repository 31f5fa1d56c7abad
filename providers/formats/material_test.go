package formats_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// contents lists every content this version writes.
var contents = []spec.Content{
	spec.ContentCert, spec.ContentChain, spec.ContentFullchain, spec.ContentKey, spec.ContentCA, spec.ContentCombined,
	spec.ContentCombinedKeyFirst, spec.ContentPKCS12, spec.ContentJKS, spec.ContentTrustPKCS12, spec.ContentTrustJKS,
	spec.ContentCertDER, spec.ContentKeyDER, spec.ContentCADER, spec.ContentContext,
}

const (
	password = "correct horse"
	alias    = "web"
)

// material is a leaf with its key, an intermediate and two roots.
type material struct {
	leaf, intermediate, root, other []byte
	key                             reconcile.PrivateKey
}

func newMaterial(t testing.TB, key crypto.Signer) material {
	t.Helper()
	rootKey, root := certify(t, "Root", newECDSA(t), nil, nil)
	_, other := certify(t, "Other Root", newECDSA(t), nil, nil)
	middleKey, middle := certify(t, "Intermediate", newECDSA(t), root, rootKey)
	_, leaf := certify(t, "web", key, middle, middleKey)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return material{leaf.Raw, middle.Raw, root.Raw, other.Raw, reconcile.NewPrivateKey(der)}
}

// holding is what a file of content c holds of m.
func (m material) holding(c spec.Content) reconcile.Holding {
	var h reconcile.Holding
	switch c {
	case spec.ContentCert, spec.ContentCertDER:
		h.Certificates = [][]byte{m.leaf}
	case spec.ContentChain:
		h.Certificates = [][]byte{m.intermediate}
	case spec.ContentCADER:
		h.Certificates = [][]byte{m.root}
	case spec.ContentCA, spec.ContentTrustJKS, spec.ContentTrustPKCS12:
		h.Certificates = [][]byte{m.root, m.other}
	case spec.ContentKey, spec.ContentKeyDER:
	case spec.ContentContext:
		h.Context = reconcile.DockerContext{Name: "core-02", Endpoint: "tcp://core-02:2376"}
	default:
		h.Certificates = [][]byte{m.leaf, m.intermediate}
	}
	if c.HoldsKey() {
		h.Key = m.key
	}
	h.KeyFirst = c == spec.ContentCombinedKeyFirst
	return h
}

var serial int64

func certify(t testing.TB, name string, key crypto.Signer, by *x509.Certificate, byKey crypto.Signer) (crypto.Signer, *x509.Certificate) {
	t.Helper()
	serial++
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(serial),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		NotAfter:              time.Date(2036, 1, 2, 3, 4, 5, 0, time.UTC),
		IsCA:                  key != nil && name != "web",
		BasicConstraintsValid: true,
	}
	if by == nil {
		by, byKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by, key.Public(), byKey)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return key, c
}

func newECDSA(t testing.TB) crypto.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newRSA(t testing.TB) crypto.Signer {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newEd25519(t testing.TB) crypto.Signer {
	t.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}
