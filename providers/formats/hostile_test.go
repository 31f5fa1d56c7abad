package formats_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/certwright/certwright/providers/formats"
	"github.com/certwright/certwright/spec"
)

// TestWeakerPKCS12 has files the library reads and Encode never writes.
func TestWeakerPKCS12(t *testing.T) {
	m := newMaterial(t, newECDSA(t))
	key, err := x509.ParsePKCS8PrivateKey(m.key.PKCS8())
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(m.leaf)
	if err != nil {
		t.Fatal(err)
	}
	const noMAC = "its integrity is not protected by HMAC-SHA-256"
	for _, tt := range []struct {
		encoder        *pkcs12.Encoder
		password, want string
	}{
		{pkcs12.LegacyDES, password, noMAC},
		{pkcs12.Modern2026, password, noMAC},
		{pkcs12.Passwordless, "", noMAC},
		{pkcs12.Modern2023.WithIterations(100_001), password, "100001 rounds of key derivation are not between 1 and 100000"},
	} {
		data, err := tt.encoder.Encode(key, leaf, nil, tt.password)
		if err != nil {
			t.Fatal(err)
		}
		_, err = formats.Formats{}.Decode(spec.ContentPKCS12, data, password)
		if got := message(err); got != "decode pkcs12: "+tt.want {
			t.Errorf("error %q, want %q", got, tt.want)
		}
	}
}

// TestWeakerInside has files of OpenSSL's whose outside is as ours and whose inside is not.
func TestWeakerInside(t *testing.T) {
	openssl := tool(t, "openssl")
	m := newMaterial(t, newECDSA(t))
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from.pem"), filepath.Join(dir, "to.p12")
	if err := os.WriteFile(from, encode(t, spec.ContentCombined, m.holding(spec.ContentCombined)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, ""},
		{[]string{"-certpbe", "PBE-SHA1-3DES"}, "decode pkcs12: it is encrypted with something older than PBES2"},
		{[]string{"-keypbe", "PBE-SHA1-3DES"}, "decode pkcs12: it is encrypted with something older than PBES2"},
		{[]string{"-keypbe", "NONE"}, "decode pkcs12: it holds something in clear"},
		{[]string{"-certpbe", "NONE"}, "decode pkcs12: it holds something in clear"},
		{[]string{"-iter", "100001", "-nomaciter"}, "decode pkcs12: 100001 rounds of key derivation are not between 1 and 100000"},
	} {
		openssl(append([]string{"pkcs12", "-export", "-in", from, "-out", to, "-passout", "env:SECRET", "-macalg", "sha256"}, tt.args...)...)
		data, err := os.ReadFile(to)
		if err != nil {
			t.Fatal(err)
		}
		h, err := formats.Formats{}.Decode(spec.ContentPKCS12, data, password)
		if got := message(err); got != tt.want {
			t.Errorf("%v: error %q, want %q", tt.args, got, tt.want)
		}
		if err == nil && !same(spec.ContentPKCS12, m.holding(spec.ContentPKCS12), h) {
			t.Errorf("%v: it is read as something else", tt.args)
		}
	}
}

// TestSlowInside hides what a library would work on for years behind an encryption that is as ours: whoever owns a
// place knows the password. The check sum over the file need not be right, as the check comes before it.
func TestSlowInside(t *testing.T) {
	m := newMaterial(t, newECDSA(t))
	type contentInfo struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue `asn1:"tag:0,explicit"`
	}
	type encryptedData struct {
		Version int
		Info    struct {
			Type      asn1.ObjectIdentifier
			Algorithm struct {
				ID     asn1.ObjectIdentifier
				Scheme struct {
					KDF struct {
						ID         asn1.ObjectIdentifier
						Parameters struct {
							Salt       []byte
							Iterations int
							PRF        pkix.AlgorithmIdentifier
						}
					}
					Cipher struct {
						ID asn1.ObjectIdentifier
						IV []byte
					}
				}
			}
			Content []byte `asn1:"tag:0"`
		}
	}
	var file struct {
		Version  int
		AuthSafe contentInfo
		MAC      asn1.RawValue
	}
	var inner, bags []byte
	var safes []contentInfo
	var certificates encryptedData
	into := func(der []byte, v any) {
		t.Helper()
		if _, err := asn1.Unmarshal(der, v); err != nil {
			t.Fatal(err)
		}
	}
	der := func(v any) []byte {
		t.Helper()
		data, err := asn1.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	wrap := func(content []byte) asn1.RawValue {
		return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: content}
	}
	into(encode(t, spec.ContentPKCS12, m.holding(spec.ContentPKCS12)), &file)
	into(file.AuthSafe.Content.Bytes, &inner)
	into(inner, &safes)
	into(safes[0].Content.Bytes, &certificates)
	into(safes[1].Content.Bytes, &bags)

	// The key's bags, encrypted as the certificates are.
	info := &certificates.Info
	kdf := info.Algorithm.Scheme.KDF.Parameters
	secret, err := pbkdf2.Key(sha256.New, password, kdf.Salt, kdf.Iterations, 32)
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		t.Fatal(err)
	}
	padding := aes.BlockSize - len(bags)%aes.BlockSize
	info.Content = append(bags, bytes.Repeat([]byte{byte(padding)}, padding)...)
	cipher.NewCBCEncrypter(block, info.Algorithm.Scheme.Cipher.IV).CryptBlocks(info.Content, info.Content)

	raw := func(c contentInfo) asn1.RawValue {
		return asn1.RawValue{FullBytes: der(struct {
			Type    asn1.ObjectIdentifier
			Content asn1.RawValue
		}{c.Type, wrap(c.Content.Bytes)})}
	}
	hidden := safes[0]
	hidden.Content.Bytes = der(certificates)
	var mac struct {
		Digest asn1.RawValue
		Salt   []byte
		Rounds int
	}
	into(file.MAC.FullBytes, &mac)
	quick := der(mac)
	mac.Rounds = 100_001
	for want, row := range map[string]struct {
		parts []contentInfo
		mac   []byte
	}{
		"it holds something else among its certificates":               {[]contentInfo{hidden}, quick},
		"it has more than two parts":                                   {[]contentInfo{safes[0], safes[0], safes[1]}, quick},
		"100001 rounds of key derivation are not between 1 and 100000": {safes, der(mac)},
	} {
		var list []asn1.RawValue
		for _, c := range row.parts {
			list = append(list, raw(c))
		}
		safe := file.AuthSafe
		safe.Content.Bytes = der(der(list))
		bad := der([]asn1.RawValue{{FullBytes: der(file.Version)}, raw(safe), {FullBytes: row.mac}})
		_, err := formats.Formats{}.Decode(spec.ContentPKCS12, bad, password)
		if got := message(err); got != "decode pkcs12: "+want {
			t.Errorf("error %q, want %q", got, want)
		}
	}
}

// TestHostileJKS changes every byte of a JKS in turn: no allocation by a length in the file, no panic, no key.
func TestHostileJKS(t *testing.T) {
	m := newMaterial(t, newECDSA(t))
	data := encode(t, spec.ContentJKS, m.holding(spec.ContentJKS))
	for i := range data {
		for _, b := range []byte{0, 1, 0x7f, 0xff} {
			bad := slices.Clone(data)
			if bad[i] == b {
				continue
			}
			bad[i] = b
			if _, err := (formats.Formats{}).Decode(spec.ContentJKS, bad, password); err == nil {
				t.Fatalf("byte %d changed to %#x goes unseen", i, b)
			}
		}
	}
}

// TestSignedHostileJKS has files whose check sum is right, as anyone makes them who knows the password.
func TestSignedHostileJKS(t *testing.T) {
	m := newMaterial(t, newECDSA(t))
	whole := encode(t, spec.ContentJKS, m.holding(spec.ContentJKS))
	body := whole[:len(whole)-sha1.Size]
	const keyAt = 4 + 4 + 4 + 4 + 2 + len(alias) + 8 // behind magic, version, count, tag, alias and time
	keyLength := 4 + int(binary.BigEndian.Uint32(body[keyAt:]))
	bomb := slices.Clone(body)
	binary.BigEndian.PutUint32(bomb[keyAt+keyLength:], 1<<31)
	key, err := asn1.Marshal(struct { // with the cipher of a JKS
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}{pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 42, 2, 17, 1, 1}}, make([]byte, 39)})
	if err != nil {
		t.Fatal(err)
	}
	shortKey := append([]byte{0, 0, 0, byte(len(key))}, key...)
	for name, data := range map[string][]byte{
		"a certificate of another kind":     bytes.Replace(body, []byte("X.509"), []byte("X.508"), 1),
		"a key too short for its salt":      slices.Concat(body[:keyAt], shortKey, body[keyAt+keyLength:]),
		"two thousand million certificates": bomb,
		"the same entry twice":              slices.Concat(body[:11], []byte{2}, body[12:], body[12:]),
		"no entry":                          slices.Concat(body[:11], []byte{0}),
		"more behind the last entry":        slices.Concat(body, body[12:]),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := (formats.Formats{}).Decode(spec.ContentJKS, signJKS(data), password); err == nil {
				t.Error("it is read")
			}
		})
	}
	if _, err := (formats.Formats{}).Decode(spec.ContentJKS, signJKS(body), password); err != nil {
		t.Errorf("the test's own signature is wrong: %v", err)
	}
}

// signJKS puts the check sum behind a JKS that Java wants there.
func signJKS(body []byte) []byte {
	h := sha1.New()
	for _, b := range []byte(password) {
		h.Write([]byte{0, b})
	}
	h.Write([]byte("Mighty Aphrodite"))
	h.Write(body)
	return h.Sum(slices.Clone(body))
}
