package localca

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// outsider is a CA outside: a root, an intermediate that signs, and what it would sign for a request.
type outsider struct {
	t            testing.TB
	root, middle reconcile.Generation
	answer       x509.Certificate
}

func newOutsider(t testing.TB, id spec.Identity, csr []byte) *outsider {
	t.Helper()
	c := &CA{Now: func() time.Time { return noon }}
	o := &outsider{t: t, root: create(t, c, wantCA(), nil)}
	middle := wantCA(below("internal"))
	middle.Name, middle.Local.Subject.CommonName = "middle", "Middle"
	o.middle = create(t, c, middle, &o.root)
	r, err := x509.ParseCertificateRequest(csr)
	if err != nil || r.CheckSignature() != nil {
		t.Fatal(err, r.CheckSignature())
	}
	o.answer = x509.Certificate{
		SerialNumber: big.NewInt(7), RawSubject: r.RawSubject, PublicKey: r.PublicKey, BasicConstraintsValid: true,
		DNSNames: r.DNSNames, IPAddresses: r.IPAddresses, EmailAddresses: r.EmailAddresses, URIs: r.URIs,
		NotBefore: noon.Add(-time.Hour), NotAfter: noon.Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	return o
}

// signed is the leaf as an intermediate, or another CA, signs it.
func (o *outsider) signed(by reconcile.Generation) []byte {
	o.t.Helper()
	key, err := parsePKCS8(by.Key.PKCS8())
	if err != nil {
		o.t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &o.answer, parse(o.t, by.Certificate), o.answer.PublicKey, key)
	if err != nil {
		o.t.Fatal(err)
	}
	return der
}

// TestAccept has a CA outside answer with what was asked for, and with what was not.
func TestAccept(t *testing.T) {
	c := &CA{Now: func() time.Time { return noon }}
	id := wantLeaf()
	csr, key, err := c.Request(id, reconcile.PrivateKey{})
	if err != nil {
		t.Fatal(err)
	}
	good := newOutsider(t, id, csr)
	chain := [][]byte{good.signed(good.middle), good.middle.Certificate}
	got, err := c.Accept(id, csr, chain, [][]byte{good.root.Certificate}, noon)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Certificate, chain[0]) || !bytes.Equal(got.Root, good.root.Certificate) || len(got.Chain) != 1 || got.Serial != "07" ||
		got.IssuerKeyID != good.root.KeyID || !got.NotAfter.Equal(good.answer.NotAfter.Truncate(time.Second)) || !got.IssuedAt.Equal(noon) || got.CA != id.CA.Name {
		t.Errorf("%+v", got)
	}
	kept, same, err := c.Request(id, key)
	if err != nil || !bytes.Equal(same.PKCS8(), key.PKCS8()) || !bytes.Equal(publicOf(t, kept), publicOf(t, csr)) {
		t.Errorf("a key that is to be kept: %v", err)
	}

	stranger := create(t, c, wantCA(), nil)
	for name, row := range map[string]struct {
		do   func(o *outsider) [][]byte
		want string
	}{
		"nothing":          {func(*outsider) [][]byte { return nil }, "0 certificates"},
		"too much":         {func(o *outsider) [][]byte { return slices.Repeat([][]byte{o.signed(o.middle)}, 11) }, "11 certificates"},
		"garbage":          {func(*outsider) [][]byte { return [][]byte{[]byte("garbage")} }, "certificate 1"},
		"no intermediate":  {func(o *outsider) [][]byte { return [][]byte{o.signed(o.middle)} }, "does not lead to a root"},
		"in another order": {func(o *outsider) [][]byte { return [][]byte{o.middle.Certificate, o.signed(o.middle)} }, "one of a CA"},
		"the CA itself":    {func(o *outsider) [][]byte { return [][]byte{o.root.Certificate} }, "one of a CA"},
		"of another root":  {func(o *outsider) [][]byte { return [][]byte{o.signed(stranger), stranger.Certificate} }, "does not lead to a root"},
		"of a leaf": {func(o *outsider) [][]byte {
			o.answer.IsCA = true
			return [][]byte{o.signed(o.middle), o.middle.Certificate}
		}, "one of a CA"},
		"another key": {func(o *outsider) [][]byte {
			o.answer.PublicKey = parse(t, stranger.Certificate).PublicKey
			return o.chain()
		}, "of another key"},
		"a name less": {func(o *outsider) [][]byte { o.answer.DNSNames = o.answer.DNSNames[1:]; return o.chain() }, "has the names"},
		"a name more": {func(o *outsider) [][]byte {
			o.answer.DNSNames = append(slices.Clone(o.answer.DNSNames), "evil.test")
			return o.chain()
		}, "evil.test"},
		"a wildcard": {func(o *outsider) [][]byte { o.answer.DNSNames[0] = "*." + o.answer.DNSNames[0]; return o.chain() }, "has the names"},
		"no names": {func(o *outsider) [][]byte {
			o.answer.DNSNames, o.answer.IPAddresses, o.answer.URIs, o.answer.EmailAddresses = nil, nil, nil, nil
			return o.chain()
		}, "has the names"},
		"not for a server": {func(o *outsider) [][]byte {
			o.answer.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
			return o.chain()
		}, "not for a server"},
		"expired":           {func(o *outsider) [][]byte { o.answer.NotAfter = noon.Add(-time.Second); return o.chain() }, "expired"},
		"not yet valid":     {func(o *outsider) [][]byte { o.answer.NotBefore = noon.Add(time.Minute); return o.chain() }, "not yet valid"},
		"trailing nonsense": {func(o *outsider) [][]byte { return [][]byte{append(o.signed(o.middle), 0)} }, "certificate 1"},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOutsider(t, id, csr)
			o.root, o.middle = good.root, good.middle
			_, err := c.Accept(id, csr, row.do(o), [][]byte{good.root.Certificate}, noon)
			wantError(t, err, row.want)
		})
	}
}

func (o *outsider) chain() [][]byte { return [][]byte{o.signed(o.middle), o.middle.Certificate} }

func publicOf(t *testing.T, csr []byte) []byte {
	t.Helper()
	r, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		t.Fatal(err)
	}
	return r.RawSubjectPublicKeyInfo
}

// TestRoots takes files of roots alone.
func TestRoots(t *testing.T) {
	c := &CA{Now: func() time.Time { return noon }}
	root := create(t, c, wantCA(), nil)
	middle := wantCA(below("internal"))
	middle.Name, middle.Local.Subject.CommonName = "middle", "Middle"
	below := create(t, c, middle, &root)
	file := func(ders ...[]byte) string {
		var text []byte
		for _, der := range ders {
			text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
		}
		return write(t, t.TempDir(), "roots.pem", text)
	}
	other := create(t, c, wantCA(), nil)
	if ders, err := c.Roots(file(root.Certificate, other.Certificate)); err != nil || len(ders) != 2 {
		t.Errorf("%d roots, %v", len(ders), err)
	}
	_, err := c.Roots(file(root.Certificate, below.Certificate))
	wantError(t, err, "certificate 2 is no root")

	g, err := c.TakeIn(root.Certificate, 3, noon)
	if err != nil || g.ID != 3 || g.KeyID != root.KeyID || !g.NotAfter.Equal(root.NotAfter) || len(g.Key.PKCS8()) != 0 || !bytes.Equal(g.Root(), root.Certificate) {
		t.Errorf("%+v, %v", g, err)
	}
	_, err = c.TakeIn(below.Certificate, 1, noon)
	wantError(t, err, "it is no root")
	_, err = c.TakeIn(root.Certificate, 1, root.NotAfter.Add(time.Second))
	wantError(t, err, "expired")
}
