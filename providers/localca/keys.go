package localca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// newKey makes a key of that kind.
func newKey(kind spec.KeyKind) (crypto.Signer, error) {
	switch kind {
	case spec.ECDSAP256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case spec.ECDSAP384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case spec.ECDSAP521:
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case spec.Ed25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	case spec.RSA2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	case spec.RSA3072:
		return rsa.GenerateKey(rand.Reader, 3072)
	case spec.RSA4096:
		return rsa.GenerateKey(rand.Reader, 4096)
	}
	return nil, fmt.Errorf("no keys of the kind %q can be made", kind)
}

// kindOf names the kind of a public key as tls.yaml would; a size or curve that it has no word for is named alike.
func kindOf(public crypto.PublicKey) spec.KeyKind {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		return spec.KeyKind(fmt.Sprintf("ecdsa-p%d", k.Curve.Params().BitSize))
	case ed25519.PublicKey:
		return spec.Ed25519
	case *rsa.PublicKey:
		return spec.KeyKind(fmt.Sprintf("rsa-%d", k.N.BitLen()))
	}
	return spec.KeyKind(fmt.Sprintf("%T", public))
}

// checkKey refuses keys that no current TLS stack accepts of a CA.
func checkKey(public crypto.PublicKey) error {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P224() {
			return errors.New("the curve P-224 is not supported in TLS: use P-256, P-384 or P-521")
		}
		return nil
	case ed25519.PublicKey:
		return nil
	case *rsa.PublicKey:
		if k.N.BitLen() < 2048 {
			return fmt.Errorf("RSA with %d bits is too weak: use 2048 or more", k.N.BitLen())
		}
		return nil
	}
	return fmt.Errorf("keys of the type %T are not supported: use ECDSA, Ed25519 or RSA", public)
}

// signatureOf is an algorithm for test signatures by a key. For certificates x509.CreateCertificate chooses.
func signatureOf(public crypto.PublicKey) (x509.SignatureAlgorithm, crypto.Hash) {
	switch public.(type) {
	case *ecdsa.PublicKey:
		return x509.ECDSAWithSHA256, crypto.SHA256
	case ed25519.PublicKey:
		return x509.PureEd25519, crypto.Hash(0)
	}
	return x509.SHA256WithRSA, crypto.SHA256
}

// keyIDOf gives the key id of a CA: what its certificate says, else what this package would have said.
func keyIDOf(cert *x509.Certificate) []byte {
	if len(cert.SubjectKeyId) > 0 {
		return cert.SubjectKeyId
	}
	return keyID(cert.PublicKey)
}

// keyID is a subject key identifier: the leftmost 160 bits of the SHA-256 of the public key's BIT STRING
// (RFC 7093 section 2, method 1). It is empty for keys that checkKey refuses.
func keyID(public crypto.PublicKey) []byte {
	var bits []byte
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		bits, _ = k.Bytes() // fails on custom curves only
	case *rsa.PublicKey:
		bits = x509.MarshalPKCS1PublicKey(k)
	case ed25519.PublicKey:
		bits = k
	}
	if len(bits) == 0 {
		return nil
	}
	sum := sha256.Sum256(bits)
	return sum[:20]
}

func samePublic(a, b crypto.PublicKey) bool {
	comparable, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && comparable.Equal(b)
}

func parsePKCS8(der []byte) (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("it is damaged or of an unknown kind") // the cause could quote what it read
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("keys of the type %T do not sign", key)
	}
	return signer, nil
}

func marshalKey(key crypto.Signer) (reconcile.PrivateKey, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return reconcile.PrivateKey{}, fmt.Errorf("encode the key: %w", err)
	}
	return reconcile.NewPrivateKey(der), nil
}
