package formats

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
)

// maxIterations bounds the derivation of one key: about 30 ms. OpenSSL writes 2,048, Java 10,000.
const maxIterations = 100_000

var (
	oidData          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidEncryptedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 6}
	oidShroudedKey   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 2}
	oidPBES2         = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidCertificate   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 3}
	oidPBKDF2        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	oidHMACSHA256    = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}
	oidAES256CBC     = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}
	oidSHA256        = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
)

// The outer layers of a PKCS#12 file (RFC 7292 sections 4 and 5, RFC 8018 appendix A). Like the library these use
// encoding/asn1, so that both see the same fields.
type (
	pfx struct {
		Version  int
		AuthSafe contentInfo
		MacData  struct {
			Mac struct {
				Algorithm pkix.AlgorithmIdentifier
				Digest    []byte
			}
			Salt       []byte
			Iterations int `asn1:"optional,default:1"`
		} `asn1:"optional"`
	}
	contentInfo struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue `asn1:"tag:0,explicit,optional"`
	}
	encryptedData struct {
		Version int
		Info    struct {
			Type      asn1.ObjectIdentifier
			Algorithm pkix.AlgorithmIdentifier
			Content   []byte `asn1:"tag:0,optional"`
		}
	}
	safeBag struct {
		ID    asn1.ObjectIdentifier
		Value asn1.RawValue `asn1:"tag:0,explicit"`
	}
	encryptedKey     struct{ Algorithm pkix.AlgorithmIdentifier }
	pbes2            struct{ KDF, Cipher pkix.AlgorithmIdentifier }
	pbkdf2Parameters struct {
		Salt       []byte
		Iterations int
		KeyLength  int                      `asn1:"optional"`
		PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
	}
)

// checkPKCS12 refuses what go-pkcs12 would read and Encode never writes: weaker ciphers, keys in clear, and so many
// rounds of key derivation that one file could keep a pass busy for ever. Whoever owns a place knows the password of
// the keystore in it, so the rounds of what lies in an encrypted part are theirs to choose, too.
func checkPKCS12(data []byte, password string) error {
	var file pfx
	if err := unmarshal(data, &file); err != nil {
		return err
	}
	if !file.MacData.Mac.Algorithm.Algorithm.Equal(oidSHA256) {
		return errors.New("its integrity is not protected by HMAC-SHA-256")
	}
	if err := checkRounds(file.MacData.Iterations); err != nil {
		return err
	}
	var inner []byte
	if err := unmarshal(file.AuthSafe.Content.Bytes, &inner); err != nil {
		return err
	}
	var safes []contentInfo
	if err := unmarshal(inner, &safes); err != nil {
		return err
	}
	if len(safes) > 2 { // each costs a derivation
		return errors.New("it has more than two parts")
	}
	for _, safe := range safes {
		if err := checkSafe(safe, password); err != nil {
			return err
		}
	}
	return nil
}

// checkSafe allows an encrypted safe whose bags are all certificates, and one in clear whose bags are all encrypted keys.
func checkSafe(safe contentInfo, password string) error {
	switch {
	case safe.Type.Equal(oidEncryptedData):
		var e encryptedData
		if err := unmarshal(safe.Content.Bytes, &e); err != nil {
			return err
		}
		data, err := open(e.Info.Algorithm, e.Info.Content, password)
		if err != nil {
			return err
		}
		var bags []safeBag
		if err := unmarshal(data, &bags); err != nil {
			return errPassword
		}
		for _, bag := range bags {
			if !bag.ID.Equal(oidCertificate) {
				return errors.New("it holds something else among its certificates")
			}
		}
		return nil
	case safe.Type.Equal(oidData):
		var data []byte
		if err := unmarshal(safe.Content.Bytes, &data); err != nil {
			return err
		}
		var bags []safeBag
		if err := unmarshal(data, &bags); err != nil {
			return err
		}
		for _, bag := range bags {
			var key encryptedKey
			if !bag.ID.Equal(oidShroudedKey) {
				return errors.New("it holds something in clear")
			}
			if err := unmarshal(bag.Value.Bytes, &key); err != nil {
				return err
			}
			if _, _, err := checkCipher(key.Algorithm); err != nil {
				return err
			}
		}
		return nil
	}
	return errors.New("it has a part that is neither plain nor encrypted with a password")
}

// checkCipher gives how the key is derived, and the initialization vector.
func checkCipher(a pkix.AlgorithmIdentifier) (kdf pbkdf2Parameters, iv []byte, err error) {
	if !a.Algorithm.Equal(oidPBES2) {
		return kdf, nil, errors.New("it is encrypted with something older than PBES2")
	}
	var scheme pbes2
	if err := unmarshal(a.Parameters.FullBytes, &scheme); err != nil {
		return kdf, nil, err
	}
	if err := unmarshal(scheme.KDF.Parameters.FullBytes, &kdf); err != nil {
		return kdf, nil, err
	}
	if err := checkRounds(kdf.Iterations); err != nil {
		return kdf, nil, err
	}
	if !scheme.KDF.Algorithm.Equal(oidPBKDF2) || !kdf.PRF.Algorithm.Equal(oidHMACSHA256) || !scheme.Cipher.Algorithm.Equal(oidAES256CBC) {
		return kdf, nil, errors.New("it is not encrypted with AES-256 under PBKDF2 with HMAC-SHA-256")
	}
	return kdf, scheme.Cipher.Parameters.Bytes, nil
}

// open decrypts a part as the library does, to look into it first (RFC 8018 section 6.2).
func open(a pkix.AlgorithmIdentifier, data []byte, password string) ([]byte, error) {
	kdf, iv, err := checkCipher(a)
	if err != nil {
		return nil, err
	}
	if len(iv) != aes.BlockSize || len(data) == 0 || len(data)%aes.BlockSize != 0 {
		return nil, errors.New("its encryption is damaged")
	}
	key, err := pbkdf2.Key(sha256.New, password, kdf.Salt, kdf.Iterations, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	plain := make([]byte, len(data))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, data)
	padding := int(plain[len(plain)-1])
	if padding < 1 || padding > aes.BlockSize {
		return nil, errPassword
	}
	return plain[:len(plain)-padding], nil
}

var errPassword = errors.New("the password is wrong or the file is damaged")

func checkRounds(n int) error {
	if n < 1 || n > maxIterations {
		return fmt.Errorf("%d rounds of key derivation are not between 1 and %d", n, maxIterations)
	}
	return nil
}

func unmarshal(der []byte, into any) error {
	rest, err := asn1.Unmarshal(der, into)
	if err != nil {
		return fmt.Errorf("it is no PKCS#12 file: %w", err)
	}
	if len(rest) > 0 {
		return errors.New("something follows the PKCS#12 file")
	}
	return nil
}
