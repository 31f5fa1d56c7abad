package reconcile_test

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// bring has an estate at rest with a CA that was brought along, which signs for web. It returns that, and what writes its files.
func bring(t *testing.T) (e *estate, g reconcile.Generation, write func(name, kind string, der []byte) string) {
	t.Helper()
	e = newEstate(t)
	g, write = e.along("")
	e.steady()
	return e, g, write
}

// along edits the spec so that web is signed by a CA that was brought along, and says more of web.
func (e *estate) along(more string) (g reconcile.Generation, write func(name, kind string, der []byte) string) {
	t := e.t
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
	e.edit("cas:", fmt.Sprintf("cas:\n  company: {local: {certificate: %s, key: %s}}", cert, key),
		"web: {ca: services", "web: {ca: company"+more, "    trust: [internal]\n    directory: /srv/roots", "    trust: [company]\n    directory: /srv/roots")
	return g, write
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

// alongWithPair brings web along, with what its CA signed for it for so long, now. It returns the files.
func (e *estate) alongWithPair(life time.Duration) *spec.Brought {
	e.t.Helper()
	g, write := e.along(", brought: {certificate: web.pem, key: web-key.pem}")
	web := e.spec.IdentityByName("web")
	id := *web
	id.Lifetime = life
	var err error
	if e.pair, err = (&localca.CA{Now: time.Now}).Issue(id, g, reconcile.PrivateKey{}, time.Now()); err != nil {
		e.t.Fatal(err)
	}
	web.Brought.Certificate = write("web.pem", "CERTIFICATE", e.pair.Certificate)
	web.Brought.Key = write("web-key.pem", "PRIVATE KEY", e.pair.Key.PKCS8())
	return web.Brought
}

// TestBroughtIdentity takes in what an identity has, places that, and has the CA renew it when it is due: not before, and
// without its files, which are read but once.
func TestBroughtIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		files := e.alongWithPair(40 * 24 * time.Hour)
		steps := text(e.plan(reconcile.Scope{Only: []string{"web"}}))
		want := `1 take in CA company: brought along, not taken in yet
2 take in web: brought along, not taken in yet [1]
3 place web in /srv/web: not placed [2]
Waiting binding/web: web is not running (created)
`
		if d := cmp.Diff(want, steps); d != "" {
			t.Errorf("-want +got:\n%s", d)
		}
		e.steady()
		if err := os.Remove(files.Certificate); err != nil {
			t.Fatal(err)
		}
		e.audit()
		serial := func() string { return e.load().Identities["web"].Serial }
		if got := serial(); got != e.pair.Serial {
			t.Errorf("it has the serial %s, not %s as it had", got, e.pair.Serial)
		}
		// 14 days are asked for: what has 40 is kept while it outlives what could be issued.
		time.Sleep(24 * 24 * time.Hour)
		e.converge()
		if got := serial(); got != e.pair.Serial {
			t.Errorf("it was issued again with 16 days left")
		}
		time.Sleep(4 * 24 * time.Hour)
		e.converge()
		if i := e.load().Identities["web"]; i.Serial == e.pair.Serial || i.Reason != "expires soon" {
			t.Errorf("with 12 days left it has the serial %s, for the reason %q", i.Serial, i.Reason)
		}
		e.audit()
	})
}

// TestBroughtIdentityIsAnother has files that are not what the spec asks for: nothing is issued in their place.
func TestBroughtIdentityIsAnother(t *testing.T) {
	for want, do := range map[string]func(e *estate, files *spec.Brought){
		"no such file":               func(_ *estate, files *spec.Brought) { _ = os.Remove(files.Key) },
		"expired on":                 func(*estate, *spec.Brought) { time.Sleep(15 * 24 * time.Hour) },
		"and the spec wants rsa-204": func(e *estate, _ *spec.Brought) { e.spec.IdentityByName("web").Key = spec.RSA2048 },
		`has the names ["dns:web"]`:  func(e *estate, _ *spec.Brought) { e.spec.IdentityByName("web").Names[0].Value = "www" },
		"is not for a client":        func(e *estate, _ *spec.Brought) { e.spec.IdentityByName("web").Usages = []spec.Usage{spec.Client} },
		"was not signed by CA other": func(e *estate, _ *spec.Brought) {
			e.spec.CAs[0].Name, e.spec.IdentityByName("web").CA.Name = "other", "other"
			e.spec.CAs[0].Local = &spec.LocalCA{Subject: spec.Subject{CommonName: "Other"}, Key: spec.ECDSAP256, Lifetime: 365 * 24 * time.Hour}
			e.converge()
		},
		"CA own is not there yet": func(e *estate, _ *spec.Brought) {
			e.spec.CAs = append(e.spec.CAs, spec.CA{Name: "own", Local: &spec.LocalCA{Key: spec.ECDSAP256, Lifetime: 365 * 24 * time.Hour}})
			e.spec.IdentityByName("web").CA.Name = "own"
		},
	} {
		t.Run(want, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEstate(t)
				files := e.alongWithPair(14 * 24 * time.Hour)
				do(e, files)
				first := e.plan(reconcile.Scope{})
				e.converge()
				plan := e.plan(reconcile.Scope{})
				if i, ok := e.load().Identities["web"]; ok {
					t.Errorf("web has the serial %s", i.Serial)
				}
				said := fmt.Sprint(first.Blocked, plan.Blocked)
				if !strings.Contains(said, want) || !strings.Contains(said, "take `brought` out of the spec") {
					t.Errorf("blocked is %s, want %q", said, want)
				}
			})
		})
	}
}
