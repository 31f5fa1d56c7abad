package formats_test

import (
	"bytes"
	"crypto"
	"encoding/pem"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/formats"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// same compares two holdings as reconcile does; a difference never shows a key.
func same(c spec.Content, a, b reconcile.Holding) bool {
	if c == spec.ContentTrustJKS || c == spec.ContentTrustPKCS12 {
		a.Certificates, b.Certificates = sorted(a.Certificates), sorted(b.Certificates)
	}
	return slices.EqualFunc(a.Certificates, b.Certificates, bytes.Equal) &&
		bytes.Equal(a.Key.PKCS8(), b.Key.PKCS8()) && a.KeyFirst == b.KeyFirst && a.Context == b.Context
}

func sorted(ders [][]byte) [][]byte {
	return slices.SortedFunc(slices.Values(ders), bytes.Compare)
}

func encode(t testing.TB, c spec.Content, h reconcile.Holding) []byte {
	t.Helper()
	data, err := formats.Formats{}.Encode(c, h, alias, password)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestRoundTrip(t *testing.T) {
	for name, newKey := range map[string]func(testing.TB) crypto.Signer{
		"ecdsa": newECDSA, "rsa": newRSA, "ed25519": newEd25519,
	} {
		m := newMaterial(t, newKey(t))
		for _, c := range contents {
			t.Run(name+"/"+string(c), func(t *testing.T) {
				want := m.holding(c)
				got, err := formats.Formats{}.Decode(c, encode(t, c, want), password)
				if err != nil {
					t.Fatal(err)
				}
				if !same(c, want, got) {
					t.Errorf("decoded %d certificates, key %t, key first %t; want %d, %t, %t", len(got.Certificates),
						got.Key.PKCS8() != nil, got.KeyFirst, len(want.Certificates), want.Key.PKCS8() != nil, want.KeyFirst)
				}
			})
		}
	}
}

func TestOneContentIsNoOther(t *testing.T) {
	m := newMaterial(t, newECDSA(t))
	for _, c := range contents {
		data := encode(t, c, m.holding(c))
		for _, other := range contents {
			h, err := formats.Formats{}.Decode(other, data, password)
			if err == nil && !same(c, m.holding(c), h) {
				t.Errorf("%s read as %s holds something else", c, other)
			}
			if err == nil && c.HoldsKey() != other.HoldsKey() {
				t.Errorf("%s passes for %s", c, other)
			}
		}
	}
}

func TestChainMayBeEmpty(t *testing.T) {
	data := encode(t, spec.ContentChain, reconcile.Holding{})
	h, err := formats.Formats{}.Decode(spec.ContentChain, data, "")
	if len(data) != 0 || err != nil || len(h.Certificates) != 0 {
		t.Errorf("%d bytes, %d certificates, error %v; want an empty file", len(data), len(h.Certificates), err)
	}
}

// TestTorn cuts every file at every length: what is left is an error or holds something else.
func TestTorn(t *testing.T) {
	m := newMaterial(t, newECDSA(t))
	for _, c := range contents {
		t.Run(string(c), func(t *testing.T) {
			t.Parallel()
			want := m.holding(c)
			data := encode(t, c, want)
			for n := range data {
				if h, err := (formats.Formats{}).Decode(c, data[:n], password); err == nil && same(c, want, h) {
					t.Errorf("%d of %d bytes hold the same", n, len(data))
				}
			}
			if _, err := (formats.Formats{}).Decode(c, append(slices.Clone(data), "x\n"...), password); err == nil {
				t.Error("bytes after the end are not seen")
			}
		})
	}
}

func TestWrongPassword(t *testing.T) {
	m := newMaterial(t, newECDSA(t))
	for _, c := range contents {
		if !c.Keystore() {
			continue
		}
		data := encode(t, c, m.holding(c))
		for _, wrong := range []string{"", "correct", password + "x", "пароль"} {
			if _, err := (formats.Formats{}).Decode(c, data, wrong); err == nil {
				t.Errorf("%s opens with a wrong password", c)
			}
		}
		if _, err := (formats.Formats{}).Encode(c, m.holding(c), alias, ""); err == nil {
			t.Errorf("%s is written without a password", c)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	m := newMaterial(t, newECDSA(t))
	two := [][]byte{m.root, m.root}
	for _, tt := range []struct {
		c    spec.Content
		h    reconcile.Holding
		want string
	}{
		{spec.ContentCert, reconcile.Holding{}, "encode cert: 0 certificates do not make a file of this content"},
		{spec.ContentCADER, reconcile.Holding{Certificates: two}, "encode ca-der: 2 certificates do not make a file of this content"},
		{spec.ContentKey, reconcile.Holding{}, "encode key: the private key is missing"},
		{spec.ContentCA, reconcile.Holding{Certificates: two, Key: m.key}, "encode ca: a private key has no place in this content"},
		{spec.ContentCombinedKeyFirst, m.holding(spec.ContentCombined), "encode combined-key-first: the private key and the certificates are in the wrong order"},
		{spec.ContentCert, reconcile.Holding{Certificates: [][]byte{m.key.PKCS8()}}, "encode cert: certificate 1 is not a certificate (RFC 5280 section 4.1)"},
		{spec.ContentKeyDER, reconcile.Holding{Key: reconcile.NewPrivateKey(m.leaf)}, "encode key-der: the private key is not PKCS#8 (RFC 5958)"},
		{spec.ContentTrustJKS, reconcile.Holding{Certificates: two}, "encode truststore-jks: a certificate is in the truststore twice"},
		{spec.ContentCRL, reconcile.Holding{}, `encode crl: content "crl" is not in this version`},
	} {
		_, err := formats.Formats{}.Encode(tt.c, tt.h, alias, password)
		if got := message(err); got != tt.want {
			t.Error(cmp.Diff(tt.want, got))
		}
	}
}

func TestDecodePEM(t *testing.T) {
	m := newMaterial(t, newECDSA(t))
	leaf := string(encode(t, spec.ContentCert, m.holding(spec.ContentCert)))
	key := string(encode(t, spec.ContentKey, m.holding(spec.ContentKey)))
	sec1 := string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: m.key.PKCS8()}))
	locked := string(pem.EncodeToMemory(&pem.Block{
		Type: "PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED"}, Bytes: m.key.PKCS8(),
	}))
	for _, tt := range []struct {
		name, data string
		c          spec.Content
		want       string // of the error
	}{
		{"comments and blank lines", "# ours\n\n" + leaf + "\n# end\n", spec.ContentCert, ""},
		{"CRLF", strings.ReplaceAll(leaf, "\n", "\r\n"), spec.ContentCert, ""},
		{"a comment without end", leaf + "# end", spec.ContentCert, ""},
		{"text", "web\n" + leaf, spec.ContentCert, "PEM block 1: something that is no PEM stands before it"},
		{"text after", leaf + "web\n", spec.ContentCert, "PEM block 2: something that is no PEM stands before it"},
		{"half a block before a whole one", leaf[:100] + "\n" + leaf, spec.ContentCert, "PEM block 1: it is cut off by another"},
		{"no last newline", strings.TrimSpace(leaf), spec.ContentCert, "PEM block 1: its last line is cut off"},
		{"two keys", key + key, spec.ContentKey, "PEM block 2: a second private key"},
		{"a key in a certificate file", leaf + key, spec.ContentCert, "a private key has no place in this content"},
		{"a key in the middle", leaf + key + leaf, spec.ContentCombined, "PEM block 3: a certificate after the private key"},
		{"the other order", key + leaf, spec.ContentCombined, "the private key and the certificates are in the wrong order"},
		{"another kind of key", sec1, spec.ContentKey, "PEM block 1: neither a certificate nor a PKCS#8 private key"},
		{"an encrypted key", locked, spec.ContentKey, "PEM block 1: it has headers, as encrypted keys have; only plain blocks are read"},
		{"an empty block", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", spec.ContentCert, "PEM block 1: it is empty"},
		{"nothing", "", spec.ContentCert, "0 certificates do not make a file of this content"},
		{"too much", strings.Repeat("\n", 1<<20) + leaf, spec.ContentCert, "more than the 1048576 a file may have"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := formats.Formats{}.Decode(tt.c, []byte(tt.data), "")
			if got := message(err); (tt.want == "") != (got == "") || !strings.HasSuffix(got, tt.want) {
				t.Errorf("error %q, want one that ends with %q", got, tt.want)
			}
		})
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// BenchmarkDecode reads one file of each kind. Three thousand of the default files (ca, cert, key) take 8 ms.
func BenchmarkDecode(b *testing.B) {
	m := newMaterial(b, newECDSA(b))
	for _, c := range contents {
		h := m.holding(c)
		if c == spec.ContentCA {
			h.Certificates = h.Certificates[:1]
		}
		data := encode(b, c, h)
		b.Run(string(c), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := (formats.Formats{}).Decode(c, data, password); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
