package localca

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"

	"github.com/youmark/pkcs8"
)

// Parameters that would make the library panic, run for ever or fill the memory are refused.
func TestEncryptionParametersAreChecked(t *testing.T) {
	for name, row := range map[string]struct {
		kdf  pkcs8.KDFOpts
		edit func(*testing.T, *encryptedKey, *pbes2)
		want string
	}{
		"good":            {pbkdf2Opts, func(*testing.T, *encryptedKey, *pbes2) {}, ""},
		"good scrypt":     {scryptOpts, func(*testing.T, *encryptedKey, *pbes2) {}, ""},
		"short vector":    {pbkdf2Opts, func(t *testing.T, _ *encryptedKey, p *pbes2) { p.Cipher.Parameters = raw(t, make([]byte, 8)) }, "not supported"},
		"no vector":       {pbkdf2Opts, func(t *testing.T, _ *encryptedKey, p *pbes2) { p.Cipher.Parameters = asn1.RawValue{} }, "not supported"},
		"broken block":    {pbkdf2Opts, func(_ *testing.T, k *encryptedKey, _ *pbes2) { k.Data = k.Data[1:] }, "not supported"},
		"no data":         {pbkdf2Opts, func(_ *testing.T, k *encryptedKey, _ *pbes2) { k.Data = nil }, "not supported"},
		"unknown cipher":  {pbkdf2Opts, func(_ *testing.T, _ *encryptedKey, p *pbes2) { p.Cipher.Algorithm = asn1.ObjectIdentifier{1, 2} }, "not supported"},
		"unknown KDF":     {pbkdf2Opts, func(_ *testing.T, _ *encryptedKey, p *pbes2) { p.KDF.Algorithm = asn1.ObjectIdentifier{1, 2} }, "not supported"},
		"no rounds":       {pbkdf2Opts, kdf(pbkdf2Cost{Salt: make([]byte, 8)}), "not supported"},
		"negative rounds": {pbkdf2Opts, kdf(pbkdf2Cost{Salt: make([]byte, 8), Iterations: -1}), "not supported"},
		"many rounds":     {pbkdf2Opts, kdf(pbkdf2Cost{Salt: make([]byte, 8), Iterations: 1 << 40}), "too long"},
		"no scrypt":       {scryptOpts, kdf(scryptCost{N: 2, R: 0, P: 1}), "not supported"},
		"much memory":     {scryptOpts, kdf(scryptCost{N: 1 << 40, R: 8, P: 1}), "too long"},
		"an overflow":     {scryptOpts, kdf(scryptCost{N: 1 << 32, R: 1 << 31, P: 2}), "too long"},
		"many at once":    {scryptOpts, kdf(scryptCost{N: 1 << 14, R: 8, P: 5}), "too long"},
	} {
		t.Run(name, func(t *testing.T) {
			der, err := pkcs8.MarshalPrivateKey(newSigner(t), []byte(secret), &pkcs8.Opts{Cipher: pkcs8.AES256CBC, KDFOpts: row.kdf})
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			_, err = decryptPKCS8(edited(t, der, row.edit), []byte(secret))
			if row.want == "" && err != nil {
				t.Error(err)
			} else if row.want != "" {
				wantError(t, err, row.want)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// kdf exchanges the parameters of the key derivation.
func kdf(params any) func(*testing.T, *encryptedKey, *pbes2) {
	return func(t *testing.T, _ *encryptedKey, p *pbes2) {
		if c, ok := params.(pbkdf2Cost); ok {
			params = struct { // the optional part is left out
				Salt       []byte
				Iterations int
			}{c.Salt, c.Iterations}
		}
		p.KDF.Parameters = raw(t, params)
	}
}

// edited takes an encrypted key apart and puts it together again.
func edited(t *testing.T, der []byte, edit func(*testing.T, *encryptedKey, *pbes2)) []byte {
	t.Helper()
	var outer encryptedKey
	var scheme pbes2
	if _, err := asn1.Unmarshal(der, &outer); err != nil {
		t.Fatal(err)
	}
	if _, err := asn1.Unmarshal(outer.Algorithm.Parameters.FullBytes, &scheme); err != nil {
		t.Fatal(err)
	}
	edit(t, &outer, &scheme)
	outer.Algorithm.Parameters = raw(t, scheme)
	return raw(t, outer).FullBytes
}

func raw(t *testing.T, v any) asn1.RawValue {
	t.Helper()
	der, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return asn1.RawValue{FullBytes: der}
}

// A certificate whose signature would take minutes to verify is refused when it is parsed.
func TestLargeRSAIsRefused(t *testing.T) {
	var c CA
	root := create(t, &c, wantCA(), nil)
	by, err := c.open(root)
	if err != nil {
		t.Fatal(err)
	}
	for bits, want := range map[uint]string{maxRSABits: "", maxRSABits + 1: "its RSA key has 16385 bits; no more than 16384 are supported"} {
		n := new(big.Int).SetBit(big.NewInt(1), int(bits)-1, 1)
		der, err := x509.CreateCertificate(rand.Reader, by.cert, by.cert, &rsa.PublicKey{N: n, E: 65537}, by.signer)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := (file{"ca.pem", pemOf(der)}).certificates(); want != "" {
			wantError(t, err, "ca.pem: certificate 1: "+want)
		} else if err != nil {
			t.Error(err)
		}
	}
}
