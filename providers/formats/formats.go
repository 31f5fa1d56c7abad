// Package formats turns certificates and keys into the bytes of a file and back.
//
// A reconcile.Holding says what a file holds, a spec.Content says in which form. Encode and Decode are inverses:
// two files are equal when they decode to the same Holding, never when their bytes are equal, because keystores
// are salted.
//
// Decode accepts what Encode writes and nothing beside it: a torn file, a block too many, another order or
// another cipher are errors. It looks at the outer ASN.1 of certificates and keys in PEM and DER files and does
// not check signatures, dates or whether a key fits; whoever issues or reads identities does.
//
// Nothing here touches a file, but Roots, which reads the host's trust bundle.
package formats

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// Formats implements reconcile.Formats.
type Formats struct {
	// Rand is the source of the salts of keystores; nil is crypto/rand.Reader.
	Rand io.Reader
}

var _ reconcile.Formats = Formats{}

// maxFile bounds what Decode looks at, in bytes: four times the largest public trust bundle.
const maxFile = 1 << 20

// shape says what a file of one content holds.
type shape struct {
	least, most int // certificates
	key         bool
	keyFirst    bool
	context     bool
}

const many = int(^uint(0) >> 1)

func shapeOf(c spec.Content) (shape, error) {
	switch c {
	case spec.ContentCert, spec.ContentCertDER, spec.ContentCADER:
		return shape{least: 1, most: 1}, nil
	case spec.ContentChain:
		return shape{most: many}, nil
	case spec.ContentFullchain, spec.ContentCA, spec.ContentTrustPKCS12, spec.ContentTrustJKS:
		return shape{least: 1, most: many}, nil
	case spec.ContentKey, spec.ContentKeyDER:
		return shape{key: true}, nil
	case spec.ContentCombined, spec.ContentPKCS12, spec.ContentJKS:
		return shape{least: 1, most: many, key: true}, nil
	case spec.ContentCombinedKeyFirst:
		return shape{least: 1, most: many, key: true, keyFirst: true}, nil
	case spec.ContentContext:
		return shape{context: true}, nil
	}
	return shape{}, fmt.Errorf("content %q is not in this version", string(c))
}

// check reports why h is not what a file of content c holds. KeyFirst is true of combined-key-first alone.
func check(c spec.Content, h reconcile.Holding) error {
	want, err := shapeOf(c)
	if err != nil {
		return err
	}
	key := h.Key.PKCS8()
	switch n := len(h.Certificates); {
	case n < want.least || n > want.most:
		return fmt.Errorf("%d certificates do not make a file of this content", n)
	case want.key && key == nil:
		return errors.New("the private key is missing")
	case !want.key && key != nil:
		return errors.New("a private key has no place in this content")
	case want.context != (h.Context != reconcile.DockerContext{}):
		return errors.New("a docker context is described by itself, and by nothing else")
	case want.keyFirst != h.KeyFirst:
		return errors.New("the private key and the certificates are in the wrong order")
	case key != nil && !isPKCS8(key):
		return errors.New("the private key is not PKCS#8 (RFC 5958)")
	}
	for i, der := range h.Certificates {
		if !isCertificate(der) {
			return fmt.Errorf("certificate %d is not a certificate (RFC 5280 section 4.1)", i+1)
		}
	}
	if trust := c.Keystore() && c.HoldsTrust(); trust && len(sortedSet(slices.Clone(h.Certificates))) < len(h.Certificates) {
		return errors.New("a certificate is in the truststore twice")
	}
	return nil
}

// Encode gives the bytes of a file of content c that holds h. h must hold exactly what the content does: one
// certificate for cert, cert-der and ca-der, leaf and chain for fullchain, combined and the keystores, the CAs for
// ca and the truststores, and a key where the content holds one.
//
// Keystores need a password. alias names the entry of a JKS and the entries of truststores, each followed by a
// piece of its hash when there are several; PKCS#12 entries with a key have no name, which Java shows as "1".
func (f Formats) Encode(c spec.Content, h reconcile.Holding, alias, password string) ([]byte, error) {
	data, err := f.encode(c, h, alias, password)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", c, err)
	}
	return data, nil
}

func (f Formats) encode(c spec.Content, h reconcile.Holding, alias, password string) ([]byte, error) {
	if err := check(c, h); err != nil {
		return nil, err
	}
	if c.Keystore() && password == "" {
		return nil, errNoPassword
	}
	salts := f.Rand
	if salts == nil {
		salts = rand.Reader
	}
	switch c {
	case spec.ContentCertDER, spec.ContentCADER:
		return bytes.Clone(h.Certificates[0]), nil
	case spec.ContentKeyDER:
		return bytes.Clone(h.Key.PKCS8()), nil
	case spec.ContentPKCS12:
		return encodePKCS12(h, password, salts)
	case spec.ContentTrustPKCS12:
		return encodeTrustPKCS12(h.Certificates, alias, password, salts)
	case spec.ContentJKS:
		return encodeJKS(h, alias, password, salts)
	case spec.ContentTrustJKS:
		return encodeTrustJKS(h.Certificates, alias, password)
	case spec.ContentContext:
		return encodeContext(h.Context)
	}
	return encodePEM(h), nil
}

var errNoPassword = errors.New("a keystore needs a password")

// Decode is the inverse of Encode. Truststores come back sorted by their bytes, as their order does not count.
// Anything but exactly that content is an error, and so is a file of more than 1 MiB, a keystore whose password is
// wrong, and one that asks for more work than Encode would. What comes back may share its memory with data.
func (f Formats) Decode(c spec.Content, data []byte, password string) (reconcile.Holding, error) {
	h, err := decode(c, data, password)
	if err == nil {
		err = check(c, h)
	}
	if err != nil {
		return reconcile.Holding{}, fmt.Errorf("decode %s: %w", c, err)
	}
	return h, nil
}

func decode(c spec.Content, data []byte, password string) (reconcile.Holding, error) {
	if len(data) > maxFile {
		return reconcile.Holding{}, fmt.Errorf("%d bytes are more than the %d a file may have", len(data), maxFile)
	}
	if c.Keystore() && password == "" {
		return reconcile.Holding{}, errNoPassword
	}
	switch c {
	case spec.ContentCertDER, spec.ContentCADER:
		return reconcile.Holding{Certificates: [][]byte{data}}, nil
	case spec.ContentKeyDER:
		return reconcile.Holding{Key: reconcile.NewPrivateKey(data)}, nil
	case spec.ContentPKCS12:
		return decodePKCS12(data, password)
	case spec.ContentTrustPKCS12:
		return decodeTrustPKCS12(data, password)
	case spec.ContentJKS:
		return decodeJKS(data, password)
	case spec.ContentTrustJKS:
		return decodeTrustJKS(data, password)
	case spec.ContentContext:
		return decodeContext(data)
	}
	return decodePEM(data)
}
