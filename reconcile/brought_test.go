package reconcile_test

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/localca"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// TestBroughtAlongAndRenewed has a CA's owner give its key another certificate: consumers get it before the old one ends,
// beside leaves that carry it.
func TestBroughtAlongAndRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, g, write := bring(t)

		write("ca.pem", "CERTIFICATE", renewed(t, g))
		want := `1 take in CA company: its certificate was renewed
2 place roots in /srv/roots: follows its certificate [1]
`
		if d := cmp.Diff(want, text(e.plan(reconcile.Scope{}))); d != "" {
			t.Errorf("-want +got:\n%s", d)
		}
		out := e.converge()
		if last := out.Done[len(out.Done)-1]; out.Passes != 2 || out.Done[2].Reason != "issuer renewed" {
			t.Errorf("%d passes, ending with %s: %s", out.Passes, last.Action, last.Reason)
		}
		time.Sleep(time.Until(g.NotAfter) + time.Hour)
		e.converge()
		e.audit()
	})
}

// bring has an estate with a CA that was brought along, which signs for web. It returns that, and what writes its files.
func bring(t *testing.T) (e *estate, g reconcile.Generation, write func(name, kind string, der []byte) string) {
	t.Helper()
	ca := spec.CA{Name: "company", Local: &spec.LocalCA{
		Subject: spec.Subject{CommonName: "Company"}, Key: spec.ECDSAP256, Lifetime: 365 * 24 * time.Hour,
	}}
	g, err := (&localca.CA{Now: time.Now}).Create(ca, nil, 1, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write = func(name, kind string, der []byte) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	cert, key := write("ca.pem", "CERTIFICATE", g.Certificate), write("key.pem", "PRIVATE KEY", g.Key.PKCS8())
	e = newEstate(t)
	e.edit("cas:", fmt.Sprintf("cas:\n  company: {local: {certificate: %s, key: %s}}", cert, key),
		"web: {ca: services", "web: {ca: company", "    trust: [internal]\n    directory: /srv/roots", "    trust: [company]\n    directory: /srv/roots")
	e.steady()
	return e, g, write
}

// TestBroughtAlongBecomesOwn has a spec forget where the key of a CA is: the store never had it.
func TestBroughtAlongBecomesOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _, _ := bring(t)
		e.spec.CAs[slices.IndexFunc(e.spec.CAs, func(c spec.CA) bool { return c.Name == "company" })].Local.Certificate = ""
		e.wish("identity/web")
		want := `Blocked ca/company: it was brought along, and its key is not in the store
Blocked identity/web: CA company: it was brought along, and its key is not in the store
`
		if d := cmp.Diff(want, text(e.plan(reconcile.Scope{}))); d != "" {
			t.Errorf("-want +got:\n%s", d)
		}
	})
}

// renewed gives a root's key another certificate that lives longer.
func renewed(t *testing.T, g reconcile.Generation) []byte {
	t.Helper()
	cert, err := x509.ParseCertificate(g.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.ParsePKCS8PrivateKey(g.Key.PKCS8())
	if err != nil {
		t.Fatal(err)
	}
	cert.NotAfter = cert.NotAfter.AddDate(5, 0, 0)
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, cert.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}
