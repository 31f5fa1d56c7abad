package localca

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/youmark/pkcs8"
)

// errWrongPassphrase is also what a key that was damaged inside its encryption looks like.
var errWrongPassphrase = errors.New("the passphrase is wrong, or the file is damaged")

// key opens the private key of a file: PKCS#1, SEC1 or PKCS#8, plain or encrypted. passphrase is called for an
// encrypted one alone.
func (f file) key(passphrase func() ([]byte, error)) (crypto.Signer, error) {
	block, err := f.keyBlock()
	if err != nil {
		return nil, err
	}
	key, err := openKey(block, passphrase)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.name, err)
	}
	return key, nil
}

func openKey(block *pem.Block, passphrase func() ([]byte, error)) (crypto.Signer, error) {
	//lint:ignore SA1019 the encryption of RFC 1421 is weak, but `openssl genrsa -traditional` still writes it
	legacy := x509.IsEncryptedPEMBlock(block)
	if !legacy && block.Type != "ENCRYPTED PRIVATE KEY" {
		return parseKey(block.Type, block.Bytes)
	}
	secret, err := passphrase()
	if err != nil {
		return nil, err
	}
	if len(secret) == 0 {
		return nil, errors.New("it is encrypted and the passphrase given is empty")
	}
	if !legacy {
		return decryptPKCS8(block.Bytes, secret)
	}
	//lint:ignore SA1019 as above
	der, err := x509.DecryptPEMBlock(block, secret)
	if errors.Is(err, x509.IncorrectPasswordError) {
		return nil, errWrongPassphrase
	} else if err != nil {
		return nil, fmt.Errorf("its encryption is damaged or unknown (%s): encrypt it anew with openssl pkey -aes256",
			block.Headers["DEK-Info"])
	}
	key, err := parseKey(block.Type, der)
	if err != nil {
		return nil, errWrongPassphrase // one wrong passphrase in 256 leaves a correct padding
	}
	return key, nil
}

// parseKey parses a plain key by the type of its PEM block.
func parseKey(kind string, der []byte) (crypto.Signer, error) {
	var key crypto.Signer
	var err error
	switch kind {
	case "PRIVATE KEY":
		return parsePKCS8(der)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(der)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(der)
	default:
		return nil, fmt.Errorf("a block %q is not read: convert it with openssl pkcs8 -topk8", kind)
	}
	if err != nil {
		return nil, errors.New("the key is damaged or of an unknown kind") // the cause could quote what it read
	}
	return key, nil
}

// The parts of an encrypted PKCS#8 key that tell what opening it costs (RFC 8018 appendix A, RFC 7914 section 7).
type (
	encryptedKey struct {
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}
	pbes2 struct {
		KDF, Cipher pkix.AlgorithmIdentifier
	}
	pbkdf2Cost struct {
		Salt       []byte
		Iterations int
		PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
	}
	scryptCost struct {
		Salt    []byte
		N, R, P int
	}
)

var (
	oidPBES2  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	oidScrypt = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11591, 4, 11}
	// cipherBlocks are the ciphers that are read, with their block sizes: triple DES and AES, in CBC.
	cipherBlocks = map[string]int{
		"1.2.840.113549.3.7":      8,
		"2.16.840.1.101.3.4.1.2":  16,
		"2.16.840.1.101.3.4.1.22": 16,
		"2.16.840.1.101.3.4.1.42": 16,
	}
)

// What opening a key may cost: about a second, and 64 MiB.
const (
	maxIterations = 2_000_000 // OpenSSL writes 2,048, careful tools 600,000
	maxScrypt     = 1 << 19   // N*r*p; memory is 128 bytes times N*r
)

var errUnknownEncryption = errors.New("its encryption is damaged or not supported: encrypt it anew with openssl pkcs8 -topk8 -v2 aes-256-cbc")

// decryptPKCS8 opens an encrypted PKCS#8 key. The library that does it trusts the file's parameters, and panics
// on a block size that does not fit, so they are checked first.
func decryptPKCS8(der, secret []byte) (crypto.Signer, error) {
	if err := checkEncryption(der); err != nil {
		return nil, err
	}
	key, err := pkcs8.ParsePKCS8PrivateKey(der, secret)
	if err != nil {
		return nil, errWrongPassphrase
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("keys of the type %T do not sign", key)
	}
	return signer, nil
}

func checkEncryption(der []byte) error {
	var outer encryptedKey
	var scheme pbes2
	var iv []byte
	if _, err := asn1.Unmarshal(der, &outer); err != nil || !outer.Algorithm.Algorithm.Equal(oidPBES2) {
		return errUnknownEncryption
	}
	if _, err := asn1.Unmarshal(outer.Algorithm.Parameters.FullBytes, &scheme); err != nil {
		return errUnknownEncryption
	}
	if _, err := asn1.Unmarshal(scheme.Cipher.Parameters.FullBytes, &iv); err != nil {
		return errUnknownEncryption
	}
	block := cipherBlocks[scheme.Cipher.Algorithm.String()]
	if block == 0 || len(iv) != block || len(outer.Data) == 0 || len(outer.Data)%block != 0 {
		return errUnknownEncryption
	}
	return checkKDF(scheme.KDF)
}

func checkKDF(kdf pkix.AlgorithmIdentifier) error {
	var cost, limit int
	switch {
	case kdf.Algorithm.Equal(oidPBKDF2):
		var p pbkdf2Cost
		if _, err := asn1.Unmarshal(kdf.Parameters.FullBytes, &p); err != nil || p.Iterations < 1 {
			return errUnknownEncryption
		}
		cost, limit = p.Iterations, maxIterations
	case kdf.Algorithm.Equal(oidScrypt):
		var p scryptCost
		if _, err := asn1.Unmarshal(kdf.Parameters.FullBytes, &p); err != nil || min(p.N, p.R, p.P) < 1 {
			return errUnknownEncryption
		}
		limit = maxScrypt
		if cost = max(p.N, p.R, p.P); cost <= limit { // so that the product does not overflow
			cost = p.N * p.R * p.P
		}
	default:
		return errUnknownEncryption
	}
	if cost > limit {
		return fmt.Errorf("opening it would take too long (a cost of %d, at most %d): encrypt it anew with openssl pkcs8 -topk8 -v2 aes-256-cbc",
			cost, limit)
	}
	return nil
}
