package reconcile_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// company is a CA outside, with a hook that fails it.
type company struct {
	t    *testing.T
	root *x509.Certificate
	key  *ecdsa.PrivateKey
	life time.Duration

	mu    sync.Mutex
	hook  func() error // before it signs; may take its time
	asked []reconcile.SigningRequest

	around  reconcile.Around // what it is asked to revoke
	revoked []reconcile.RevocationRequest
	resume  reconcile.PrivateKey // of what is under way
}

func (c *company) Revoke(_ context.Context, _ spec.CA, q reconcile.RevocationRequest) error {
	return c.around.Do("POST /revoke", func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.revoked = append(c.revoked, q)
		return nil
	})
}

func newCompany(t *testing.T) *company {
	t.Helper()
	c := &company{t: t, life: 30 * 24 * time.Hour}
	c.another()
	return c
}

// another gives it another root.
func (c *company) another() {
	c.t.Helper()
	var err error
	if c.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		c.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "Company"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(20 * 365 * 24 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &c.key.PublicKey, c.key)
	if err != nil {
		c.t.Fatal(err)
	}
	if c.root, err = x509.ParseCertificate(der); err != nil {
		c.t.Fatal(err)
	}
}

func (c *company) fingerprint() string {
	sum := sha256.Sum256(c.root.Raw)
	return hex.EncodeToString(sum[:])
}

func (c *company) Roots(context.Context, spec.CA) ([][]byte, error) { return [][]byte{c.root.Raw}, nil }

func (c *company) Sign(_ context.Context, _ spec.CA, q reconcile.SigningRequest) ([][]byte, error) {
	c.mu.Lock()
	c.asked = append(c.asked, q)
	hook, serial := c.hook, big.NewInt(time.Now().UnixNano()+int64(len(c.asked)))
	c.mu.Unlock()
	if hook != nil {
		if err := hook(); err != nil {
			return nil, err
		}
	}
	request := q.CSR
	if len(c.resume.PKCS8()) > 0 {
		again, err := q.Resume(c.resume)
		switch {
		case err == nil:
			request = again
		case !errors.Is(err, reconcile.ErrOtherKey):
			return nil, err
		}
	}
	csr, err := x509.ParseCertificateRequest(request)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, Subject: csr.Subject, DNSNames: csr.DNSNames, NotBefore: time.Now().Add(-10 * time.Second), NotAfter: time.Now().Add(c.life),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, c.root, csr.PublicKey, c.key)
	return [][]byte{der}, err
}

// requests are those since it was asked last.
func (c *company) requests() []reconcile.SigningRequest {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.asked
	c.asked = nil
	return all
}

// companyYAML has some identities of a company, and one of a CA of certwright's own.
func companyYAML(c *company, identities int) string {
	var b strings.Builder
	fmt.Fprintf(&b, `
version: 1
project: shop
cas:
  internal: {local: {lifetime: 10y}}
  company: {step: {url: "https://ca.test", fingerprint: %s, provisioner: docker, password: {env: P}}}
identities:
  own: {ca: internal, names: [own]}
`, c.fingerprint())
	for i := range identities {
		fmt.Fprintf(&b, "  web-%d: {ca: company, names: [web-%d]}\n", i, i)
	}
	b.WriteString("bindings:\n  own: {identity: own, directory: /srv/own}\n")
	for i := range identities {
		fmt.Fprintf(&b, "  web-%d: {identity: web-%d, directory: /srv/web-%d}\n", i, i, i)
	}
	return b.String()
}

// askedEstate is one with that many identities of a company.
func askedEstate(t *testing.T, identities int) (*estate, *company, func() reconcile.Outcome) {
	t.Helper()
	e, c := newEstate(t), newCompany(t)
	e.read(companyYAML(c, identities))
	return e, c, func() reconcile.Outcome {
		t.Helper()
		a := e.applier()
		a.Outside = map[string]reconcile.Outside{"step": c}
		out, err := a.Converge(t.Context(), reconcile.Scope{Patient: true})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
}

// TestOutsideAway has a CA that hangs up after half a minute, or says when to come back: of forty identities few ask it, each
// says why it has no certificate, what is of another CA goes on, and it heals.
func TestOutsideAway(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		few  bool
	}{
		{"no answer", reconcile.Away{Err: errors.New("it hangs up")}, true},
		{"later", reconcile.RetryAfter{Err: errors.New("it is busy"), Wait: 10 * time.Minute}, true},
		{"another error", errors.New("it has not liked this one"), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const identities = 40
				e, company, pass := askedEstate(t, identities)
				company.hook = func() error { time.Sleep(30 * time.Second); return c.err }
				began := time.Now()
				pass()
				took, asked := time.Since(began), len(company.requests())
				if c.few && (took > time.Minute || asked >= identities/2) {
					t.Errorf("%s, asked %d times", took, asked)
				}
				if !c.few && asked != identities {
					t.Errorf("asked %d times", asked)
				}
				st := e.load()
				if _, ok := st.Identities["own"]; !ok {
					t.Error("what is of another CA was not issued")
				}
				for i := range identities {
					f := st.Failures[fmt.Sprintf("identity/web-%d issue", i)]
					if !strings.Contains(f.Error, c.err.Error()) {
						t.Fatalf("web-%d failed with %q", i, f.Error)
					}
				}
				company.hook = nil
				time.Sleep(time.Hour)
				if out := pass(); out.Err != nil || len(e.load().Identities) != identities+1 {
					t.Errorf("it does not heal: %v", out.Err)
				}
			})
		})
	}
}

// TestOutsideSlow has a CA that takes its time: what it gives is from later than the pass began, and what needs nobody is in
// its place by then.
func TestOutsideSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, company, pass := askedEstate(t, 8)
		company.hook = func() error {
			own := reconcile.PlaceQuery{At: reconcile.Location{Host: "local", Dir: "/srv/own", Machine: true}, Files: []string{"cert.pem"}}
			if is := e.Read(t.Context(), []reconcile.PlaceQuery{own}, false)[0]; is.Files["cert.pem"].Data == nil {
				t.Error("what needs nobody waits for a CA")
			}
			time.Sleep(20 * time.Second)
			return nil
		}
		if out := pass(); out.Err != nil || len(e.load().Identities) != 9 {
			t.Errorf("%d identities: %v", len(e.load().Identities), out.Err)
		}
	})
}

// TestOutsideCurrent lets a certificate speak for the next one only where that is to be the same, of the same CA.
func TestOutsideCurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, company, pass := askedEstate(t, 1)
		text := companyYAML(company, 1)
		edit := func(old, next string) { text = strings.ReplaceAll(text, old, next); e.read(text) }
		for _, c := range []struct {
			name   string
			change func()
			want   bool
		}{
			{"first", func() {}, false},
			{"due", func() { time.Sleep(21 * 24 * time.Hour) }, true},
			{"asked for", func() { e.wish("identity/web-0") }, true},
			{"names", func() { edit("names: [web-0]", "names: [web-0, www]") }, false},
			{"lifetime", func() { edit("www]", "www], lifetime: 20d") }, false},
			{"expired", func() { time.Sleep(40 * 24 * time.Hour) }, false},
			{"another root", func() { old := company.fingerprint(); company.another(); edit(old, company.fingerprint()) }, false},
		} {
			c.change()
			if out := pass(); out.Err != nil {
				t.Fatalf("%s: %v", c.name, out.Err)
			}
			asked := company.requests()
			if len(asked) != 1 {
				t.Fatalf("%s: asked %d times", c.name, len(asked))
			}
			if got := asked[0].Current != nil; got != c.want {
				t.Errorf("%s: the last certificate is shown: %v", c.name, got)
			}
			if len(asked[0].Roots) != 1 || string(asked[0].Roots[0]) != string(company.root.Raw) {
				t.Errorf("%s: another root is pinned", c.name)
			}
		}
		if out := pass(); len(out.Done) > 0 {
			t.Errorf("it does not come to rest: %v", out.Done)
		}
	})
}

// TestOutsideDay has a CA that is not well for a day, while certificates of five minutes end: what is stored stays as it is, the CA
// is tried every few minutes, or when it said, and no more often, and all is well again when it would have been tried next.
func TestOutsideDay(t *testing.T) {
	const identities, day = 10, 24 * time.Hour
	// In each pass each processor may ask once before it is known that nobody answers.
	once := runtime.GOMAXPROCS(0) + 2
	for _, row := range []struct {
		name    string
		slow    time.Duration
		err     error
		between time.Duration // two tries at most
		most    int           // requests in one
	}{
		{"no answer", 0, reconcile.Away{Err: errors.New("connection refused")}, 5 * time.Minute, once},
		{"no answer, after half a minute", 30 * time.Second, reconcile.Away{Err: errors.New("it hangs up")}, 5 * time.Minute, 2 * once}, // what was told so later is tried later
		{"429", 0, reconcile.RetryAfter{Err: errors.New("429"), Wait: time.Hour}, time.Hour, once},
		{"500", 0, errors.New("500"), 5 * time.Minute, identities},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				e, company, pass := askedEstate(t, identities)
				company.life = 5 * time.Minute
				watch := func(end time.Time) {
					for out := pass(); time.Now().Before(end); out = pass() {
						next := time.Now().Add(5 * time.Minute)
						if out.Plan.Next.After(time.Now()) && out.Plan.Next.Before(next) {
							next = out.Plan.Next
						}
						time.Sleep(time.Until(next))
					}
				}
				e.read(strings.ReplaceAll(companyYAML(company, identities), "names: [web-", "lifetime: 5m, names: [web-"))
				watch(time.Now().Add(time.Minute))
				before := e.load().Identities
				company.requests()
				company.hook = func() error { time.Sleep(row.slow); return row.err }
				watch(time.Now().Add(day))
				st := e.load()
				for name, i := range st.Identities {
					if i.Serial != before[name].Serial {
						t.Errorf("%s has another certificate", name)
					}
					if f := st.Failures["identity/"+name+" issue"]; name != "own" && !strings.Contains(f.Error, row.err.Error()) {
						t.Errorf("%s failed with %q", name, f.Error)
					}
				}
				// At first it is tried after a second, two, four and so on.
				tries := int(day/row.between) + 10
				n := len(company.requests())
				if least := int(day / (row.between + row.between/5)); n < least || n > row.most*tries {
					t.Errorf("it was asked %d times in a day, want %d to %d", n, least, row.most*tries)
				}
				t.Logf("asked %d times", n)
				company.hook = nil
				watch(time.Now().Add(row.between + row.between/10 + 30*time.Second))
				for name, i := range e.load().Identities {
					if name != "own" && !time.Now().Before(i.NotAfter) {
						t.Errorf("%s has not healed", name)
					}
				}
			})
		})
	}
}

// TestOwnBecomesOutside has a spec say that a CA of certwright's own is outside from now on: its key stays.
func TestOwnBecomesOutside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, c, converge := askedEstate(t, 1)
		converge()
		key := e.load().CAs["internal"].Active().KeyID
		e.read(strings.Replace(companyYAML(c, 1), "internal: {local: {lifetime: 10y}}", `internal: {step: {url: "https://ca.test", fingerprint: `+c.fingerprint()+`, provisioner: docker, password: {env: P}}}`, 1))
		out := converge()
		want := "Blocked ca/internal: it was one of certwright's own, and its key would be lost\n"
		if got := text(out.Plan); !strings.Contains(got, want) {
			t.Errorf("the plan is\n%s", got)
		}
		if g := e.load().CAs["internal"].Active(); g.KeyID != key || len(g.Key.PKCS8()) == 0 {
			t.Error("the key of the CA is gone")
		}
	})
}
