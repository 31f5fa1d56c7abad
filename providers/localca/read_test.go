package localca

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

func keyPEM(key reconcile.PrivateKey) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key.PKCS8()})
}

// from writes the three files of an identity that something else issued.
func from(t *testing.T, cert, key, ca []byte) spec.Identity {
	t.Helper()
	dir := t.TempDir()
	return spec.Identity{Name: "legacy", From: &spec.From{
		Certificate: write(t, dir, "fullchain.pem", cert), Key: write(t, dir, "privkey.pem", key), CA: write(t, dir, "root.pem", ca),
	}}
}

func TestRead(t *testing.T) {
	c := CA{Now: func() time.Time { return noon }}
	root := create(t, &c, wantCA(), nil)
	other := create(t, &c, wantCA(), nil)
	sub := create(t, &c, wantCA(below("internal")), &root)
	leaf := issue(t, &c, wantLeaf(func(id *spec.Identity) {
		id.Names = names("dns:a.test", "ip:10.0.0.1", "email:ops@a.test", "uri:spiffe://a.test/b")
	}), sub)
	want := leaf
	want.CA, want.IssuedAt = "", leaf.NotBefore
	want.Wanted = reconcile.Profile{
		Names: []string{"dns:a.test", "ip:10.0.0.1", "email:ops@a.test", "uri:spiffe://a.test/b"}, Usages: []spec.Usage{spec.Server},
		Key: spec.ECDSAP256, Lifetime: 30*day + time.Hour,
	}
	for name, row := range map[string]struct{ cert, ca []byte }{
		"intermediate with the leaf":  {pemOf(leaf.Certificate, sub.Certificate), pemOf(root.Certificate)},
		"root with the leaf too":      {pemOf(leaf.Certificate, sub.Certificate, root.Certificate), pemOf(root.Certificate)},
		"intermediate with the root":  {pemOf(leaf.Certificate), pemOf(sub.Certificate, root.Certificate)},
		"several roots":               {pemOf(leaf.Certificate, sub.Certificate), pemOf(other.Certificate, root.Certificate)},
		"something that is not of it": {pemOf(leaf.Certificate, other.Certificate, sub.Certificate), pemOf(root.Certificate)},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := c.Read(from(t, row.cert, keyPEM(leaf.Key), row.ca))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, cmp.Comparer(sameKey)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Of two ways to a root the shorter one is taken.
func TestReadTakesTheShortPath(t *testing.T) {
	c := CA{Now: func() time.Time { return noon }}
	root := create(t, &c, wantCA(), nil)
	other := create(t, &c, wantCA(func(l *spec.LocalCA) { l.Subject.CommonName = "Other CA" }), nil)
	leaf := issue(t, &c, wantLeaf(), root)
	by, err := c.open(other)
	if err != nil {
		t.Fatal(err)
	}
	old := parse(t, root.Certificate)
	cross, err := x509.CreateCertificate(rand.Reader, old, by.cert, old.PublicKey, by.signer)
	if err != nil {
		t.Fatal(err)
	}
	for _, cas := range [][]byte{pemOf(root.Certificate, other.Certificate), pemOf(other.Certificate, root.Certificate)} {
		got, err := c.Read(from(t, pemOf(leaf.Certificate, cross), keyPEM(leaf.Key), cas))
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Chain) != 0 || string(got.Root) != string(root.Certificate) {
			t.Errorf("the chain has %d certificates", len(got.Chain))
		}
	}
	got, err := c.Read(from(t, pemOf(leaf.Certificate, cross), keyPEM(leaf.Key), pemOf(other.Certificate)))
	if err != nil || len(got.Chain) != 1 || string(got.Root) != string(other.Certificate) {
		t.Errorf("by the cross-signed certificate: chain of %d, %v", len(got.Chain), err)
	}
}

// A certificate that is its own root has no chain.
func TestReadSelfSigned(t *testing.T) {
	dir := t.TempDir()
	key, cert := filepath.Join(dir, "k.pem"), filepath.Join(dir, "c.pem")
	openssl(t, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "30", "-subj", "/CN=self", "-addext", "subjectAltName=DNS:self.test")
	got, err := (&CA{}).Read(spec.Identity{Name: "legacy", From: &spec.From{Certificate: cert, Key: key, CA: cert}})
	if err != nil {
		t.Fatal(err)
	}
	if string(got.Certificate) != string(got.Root) || len(got.Chain) != 0 || got.Wanted.Names[0] != "dns:self.test" {
		t.Errorf("chain of %d, names %q", len(got.Chain), got.Wanted.Names)
	}
	serial, err := exec.Command("openssl", "x509", "-noout", "-serial", "-in", cert).Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := "serial=" + got.Serial + "\n"; want != strings.ToLower(string(serial)) {
		t.Errorf("%q, openssl says %q", want, serial)
	}
}

func TestReadRefuses(t *testing.T) {
	c := CA{Now: func() time.Time { return noon }}
	root := create(t, &c, wantCA(), nil)
	other := create(t, &c, wantCA(), nil)
	sub := create(t, &c, wantCA(below("internal"), lasting(10*day)), &root)
	leaf := issue(t, &c, wantLeaf(), sub)
	cert, key, ca := pemOf(leaf.Certificate, sub.Certificate), keyPEM(leaf.Key), pemOf(root.Certificate)
	dir := t.TempDir()
	encrypted := filepath.Join(dir, "e.pem")
	openssl(t, "pkcs8", "-topk8", "-in", write(t, dir, "k.pem", key), "-out", encrypted, "-passout", "pass:"+secret)
	file, err := readFile(encrypted, maxKeyFile)
	if err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		cert, key, ca []byte
		now           time.Time
		want          string
	}{
		"another key":      {cert, keyPEM(root.Key), ca, noon, "privkey.pem is not the key of the first certificate in "},
		"issuer first":     {pemOf(sub.Certificate, leaf.Certificate), key, ca, noon, "is not the key of the first certificate"},
		"encrypted key":    {cert, file.data, ca, noon, "privkey.pem: it is encrypted, which the key of an identity cannot be: decrypt it"},
		"another root":     {cert, key, pemOf(other.Certificate), noon, "does not lead to a root in "},
		"no intermediate":  {pemOf(leaf.Certificate), key, ca, noon, "does not lead to a root in "},
		"no root":          {cert, key, pemOf(sub.Certificate), noon, "it holds no root"},
		"nothing in ca":    {cert, key, nil, noon, "root.pem holds no certificate"},
		"nothing in cert":  {nil, key, ca, noon, "fullchain.pem holds no certificate"},
		"expired":          {cert, key, ca, noon.Add(11 * day), "fullchain.pem expired on 2026-12-02T12:00:00Z: have it renewed"},
		"not yet valid":    {cert, key, ca, noon.Add(-2 * time.Hour), "not yet valid"},
		"truncated":        {cert[:500], key, ca, noon, "truncated or damaged"},
		"truncated root":   {cert, key, ca[:100], noon, "root.pem: PEM block 1 of 1 is truncated or damaged"},
		"large root file":  {cert, key, make([]byte, maxCertificateFile+1), noon, "root.pem is larger than 256 KiB"},
		"large chain file": {make([]byte, maxCertificateFile+1), key, ca, noon, "fullchain.pem is larger than 256 KiB"},
	} {
		t.Run(name, func(t *testing.T) {
			at := CA{Now: func() time.Time { return row.now }}
			got, err := at.Read(from(t, row.cert, row.key, row.ca))
			wantError(t, err, `identity "legacy": `, row.want)
			if got.Certificate != nil || got.Key.PKCS8() != nil {
				t.Error("there is a certificate beside the error")
			}
		})
	}
	_, err = c.Read(wantLeaf())
	wantError(t, err, "it has no files")
}
