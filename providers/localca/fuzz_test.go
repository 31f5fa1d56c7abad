package localca

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"testing"
	"time"

	"github.com/youmark/pkcs8"

	"github.com/certwright/certwright/reconcile"
)

var (
	pbkdf2Opts = pkcs8.PBKDF2Opts{SaltSize: 16, IterationCount: 2048, HMACHash: crypto.SHA256}
	scryptOpts = pkcs8.ScryptOpts{SaltSize: 16, CostParameter: 1024, BlockSize: 8, ParallelizationParameter: 1}
)

// encryptedForms encrypts a key as the brought-along ones are.
func encryptedForms(f *testing.F, key reconcile.PrivateKey) [][]byte {
	f.Helper()
	signer, err := parsePKCS8(key.PKCS8())
	if err != nil {
		f.Fatal(err)
	}
	//lint:ignore SA1019 this is the old form that is read
	block, err := x509.EncryptPEMBlock(rand.Reader, "PRIVATE KEY", key.PKCS8(), []byte(secret), x509.PEMCipherAES256)
	if err != nil {
		f.Fatal(err)
	}
	forms := [][]byte{pem.EncodeToMemory(block)}
	for _, kdf := range []pkcs8.KDFOpts{pbkdf2Opts, scryptOpts} {
		der, err := pkcs8.MarshalPrivateKey(signer, []byte(secret), &pkcs8.Opts{Cipher: pkcs8.AES256CBC, KDFOpts: kdf})
		if err != nil {
			f.Fatal(err)
		}
		forms = append(forms, pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: der}))
	}
	return forms
}

// FuzzBring gives any bytes as the files of a CA: no panic, an answer in good time, and what is taken in signs.
func FuzzBring(f *testing.F) {
	var c CA
	root := create(f, &c, wantCA(), nil)
	sub := create(f, &c, wantCA(below("internal")), &root)
	for _, g := range []reconcile.Generation{root, sub} {
		p := pairOf(f, g)
		f.Add(p.cert, p.key)
		f.Add(p.key, p.cert)
		f.Add(p.cert[:len(p.cert)/2], p.key[:len(p.key)/2])
	}
	for _, key := range encryptedForms(f, root.Key) {
		f.Add(pairOf(f, root).cert, key)
	}
	f.Fuzz(func(t *testing.T, cert, key []byte) {
		if len(cert) > maxCertificateFile || len(key) > maxKeyFile {
			return // readFile ends these
		}
		c := CA{Now: func() time.Time { return noon }}
		began := time.Now()
		g, err := c.bringFiles(file{"ca.pem", cert}, file{"key.pem", key}, nil, func() ([]byte, error) { return []byte(secret), nil })
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %s", took)
		}
		if err != nil {
			if g.Certificate != nil {
				t.Error("there is a generation beside the error")
			}
			return
		}
		if err := c.Check(g, noon); err != nil {
			t.Errorf("what was taken in cannot sign: %v", err)
		}
	})
}
