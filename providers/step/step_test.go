package step_test

import (
	"encoding/hex"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/providers/docker/dockertest"
	"github.com/certwright/certwright/providers/localca"
	"github.com/certwright/certwright/providers/step"
	"github.com/certwright/certwright/providers/step/steptest"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// asker asks a real CA as the core does.
type asker struct {
	t    *testing.T
	ca   *step.CA
	spec spec.CA
	root []byte
	now  func() time.Time
	sent []string
}

// newAsker asks through a JWK provisioner, or through the one of type X5C for a machine that is vouched for until end.
func newAsker(t *testing.T, server *steptest.CA, provisioner string, end time.Time) *asker {
	t.Helper()
	a := &asker{t: t, root: server.Root, now: time.Now}
	a.ca = &step.CA{
		Secret: func(spec.Source) ([]byte, error) { return []byte(steptest.Password), nil },
		Now:    func() time.Time { return a.now() },
		Around: func(what string, do func() error) error { a.sent = append(a.sent, what); return do() },
	}
	a.spec = spec.CA{Name: "company", Step: &spec.StepCA{URL: server.URL, Fingerprint: server.Fingerprint, Provisioner: provisioner}}
	if provisioner == steptest.Birth {
		dir := t.TempDir()
		server.Vouch(dir, end)
		a.spec.Step.Certificate, a.spec.Step.KeyFile = filepath.Join(dir, "birth.pem"), filepath.Join(dir, "birth.key")
	} else {
		a.spec.Step.Password = &spec.Source{Env: "P", Pos: spec.Pos{File: "tls.yaml", Line: 5, Column: 3}}
	}
	return a
}

func identity(life time.Duration) spec.Identity {
	return spec.Identity{
		Name: "web", CA: spec.Ref{Name: "company"}, Subject: spec.Subject{CommonName: "web"}, Key: spec.ECDSAP256, Lifetime: life,
		Names: []spec.Name{{Kind: spec.DNSName, Value: "web.test"}, {Kind: spec.URIName, Value: "spiffe://test/web"}}, Usages: []spec.Usage{spec.Server},
	}
}

// sign asks for a certificate and has it accepted, as the core does.
func (a *asker) sign(id spec.Identity, current *reconcile.Issued) (*reconcile.Issued, error) {
	a.t.Helper()
	a.sent = nil
	authority := &localca.CA{Now: a.now}
	csr, key, err := authority.Request(id, reconcile.PrivateKey{})
	if err != nil {
		a.t.Fatal(err)
	}
	q := reconcile.SigningRequest{Identity: id, CSR: csr, Roots: [][]byte{a.root}, Current: current, Now: a.now()}
	chain, err := a.ca.Sign(a.t.Context(), a.spec, q)
	if err != nil {
		return nil, err
	}
	issued, err := authority.Accept(id, csr, chain, q.Roots, a.now())
	if err != nil {
		a.t.Fatal(err)
	}
	issued.Key = key
	return &issued, nil
}

func (a *asker) must(id spec.Identity, current *reconcile.Issued) *reconcile.Issued {
	a.t.Helper()
	issued, err := a.sign(id, current)
	if err != nil {
		a.t.Fatal(err)
	}
	return issued
}

func (a *asker) asked(want ...string) {
	a.t.Helper()
	if got, want := strings.Join(a.sent, ", "), strings.Join(want, ", "); !strings.HasSuffix(got, want) {
		a.t.Errorf("sent %s, want %s", got, want)
	}
}

// TestKinds goes through a life by each way to enrol: enrolled, renewed, expired by the CA's clock alone, revoked in both ways.
func TestKinds(t *testing.T) {
	t.Parallel()
	server := steptest.Start(t)
	for _, provisioner := range []string{steptest.Docker, steptest.Birth} {
		t.Run(provisioner, func(t *testing.T) {
			t.Parallel()
			a := newAsker(t, server, provisioner, time.Now().Add(time.Hour))
			roots, err := a.ca.Roots(t.Context(), a.spec)
			if err != nil || len(roots) != 1 || string(roots[0]) != string(server.Root) {
				t.Fatalf("roots: %v, %v", roots, err)
			}
			short := a.must(identity(10*time.Second), nil)
			a.asked("POST step /1.0/sign")
			first := a.must(identity(5*time.Minute), nil)
			next := a.must(identity(5*time.Minute), first)
			if a.asked("POST step /1.0/rekey"); next.Serial == first.Serial || len(a.sent) != 1 {
				t.Errorf("%s after %s by %v", next.Serial, first.Serial, a.sent)
			}
			// What the CA does not take any more is enrolled anew: revoked by itself, revoked by a token, expired.
			if err := a.ca.Revoke(t.Context(), a.spec, reconcile.RevocationRequest{Roots: roots, Serial: first.Serial, Own: first}); err != nil {
				t.Fatal(err)
			}
			a.must(identity(5*time.Minute), first)
			a.asked("POST step /1.0/sign")
			for range 2 { // the second time it is revoked already
				if err := a.ca.Revoke(t.Context(), a.spec, reconcile.RevocationRequest{Roots: roots, Serial: next.Serial, Own: nil}); err != nil {
					t.Fatal(err)
				}
			}
			a.must(identity(5*time.Minute), next)
			a.asked("POST step /1.0/sign")
			dockertest.Poll(t, 30*time.Second, "a certificate of ten seconds to expire", func() error {
				a.must(identity(5*time.Minute), short)
				if len(a.sent) == 1 {
					return errors.New("it is still taken")
				}
				return nil
			})
			if a.asked("POST step /1.0/sign"); time.Now().Before(short.NotAfter) {
				t.Error("it was not taken before its end")
			}
			if err := a.ca.Revoke(t.Context(), a.spec, reconcile.RevocationRequest{Roots: roots, Serial: "nothing", Own: nil}); err == nil {
				t.Error("a serial that is none was revoked")
			}
		})
	}
}

// TestBirthCertificate bounds what it vouches for by its own end, and says what is wrong with it.
func TestBirthCertificate(t *testing.T) {
	t.Parallel()
	server := steptest.Start(t)
	end := time.Now().Add(10 * time.Minute).Truncate(time.Second)
	a := newAsker(t, server, steptest.Birth, end)
	first := a.must(identity(time.Hour), nil)
	if !first.NotAfter.Equal(end) {
		t.Errorf("it ends at %s, want %s", first.NotAfter, end)
	}
	if err := os.Remove(a.spec.Step.KeyFile); err != nil {
		t.Fatal(err)
	}
	a.must(identity(time.Hour), first) // by itself
	for _, c := range []struct {
		wrong func()
		want  string
	}{
		{func() {}, "birth.key: no such file"},
		{func() { server.Vouch(filepath.Dir(a.spec.Step.KeyFile), time.Now().Add(-time.Minute)) }, "birth.pem expired at "},
		{func() { _ = os.WriteFile(a.spec.Step.KeyFile, []byte("nothing"), 0o600) }, "birth.key: tls: failed to find any PEM data"},
		{func() { _ = os.WriteFile(a.spec.Step.Certificate, make([]byte, 1<<20), 0o600) }, "birth.pem is larger than 262144 bytes"},
	} {
		c.wrong()
		if _, err := a.sign(identity(time.Hour), nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

// TestRefused asks for what the CA will not give.
func TestRefused(t *testing.T) {
	t.Parallel()
	server := steptest.Start(t)
	for _, c := range []struct {
		name    string
		wrong   func(a *asker)
		life    time.Duration
		want    string
		refused bool
	}{
		{"a life that is too long", func(*asker) {}, 10_000 * time.Hour, "more than the authorized maximum", true},
		{"a token of the future", func(a *asker) { a.now = func() time.Time { return time.Now().Add(10 * time.Minute) } }, time.Hour, "401 Unauthorized", true},
		{"a wrong password", func(a *asker) { a.ca.Secret = func(spec.Source) ([]byte, error) { return []byte("wrong"), nil } }, time.Hour, `tls.yaml:5:3: the password does not decrypt the key of the provisioner "docker"`, false},
		{"no password", func(a *asker) { a.ca.Secret = func(spec.Source) ([]byte, error) { return nil, errors.New("not set") } }, time.Hour, "not set", false},
		{"no such provisioner", func(a *asker) { a.spec.Step.Provisioner = "dokcer" }, time.Hour, `the CA has no provisioner "dokcer"`, false},
		{"a provisioner of another type", func(a *asker) { a.spec.Step.Provisioner = "acme-3" }, time.Hour, `is of the type "ACME"`, false},
		{"another root in the store", func(a *asker) { a.root = []byte("another") }, time.Hour, "is not the one that the spec pins", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := newAsker(t, server, steptest.Docker, time.Time{})
			c.wrong(a)
			_, err := a.sign(identity(c.life), nil)
			if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, reconcile.ErrRefused) != c.refused {
				t.Errorf("%v, want %q, refused %v", err, c.want, c.refused)
			}
		})
	}
}

// TestTokenIsForOneRequest takes a token that was used to the CA again, with another key and with none.
func TestTokenIsForOneRequest(t *testing.T) {
	t.Parallel()
	server := steptest.Start(t)
	var bodies []string
	url := server.Front(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/1.0/sign" {
			b := new(strings.Builder)
			_ = r.Write(b)
			_, body, _ := strings.Cut(b.String(), "\r\n\r\n")
			bodies = append(bodies, body)
			w.WriteHeader(http.StatusBadGateway) // the token does not reach the CA
			return true
		}
		return false
	})
	a := newAsker(t, server, steptest.Docker, time.Time{})
	a.spec.Step.URL = url
	for range 2 {
		if _, err := a.sign(identity(time.Hour), nil); err == nil {
			t.Fatal("it was signed")
		}
	}
	post := func(body string) int {
		t.Helper()
		client := &http.Client{Transport: server.Transport()}
		r, err := client.Post(server.URL+"/1.0/sign", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		return r.StatusCode
	}
	stolen := steptest.Swap(t, bodies[0], bodies[1], "csr")
	for _, c := range []struct {
		body string
		want int
	}{{stolen, http.StatusForbidden}, {bodies[1], http.StatusCreated}, {bodies[1], http.StatusUnauthorized}} {
		if got := post(c.body); got != c.want {
			t.Errorf("%d, want %d", got, c.want)
		}
	}
}

// TestBehindProxy renews where a proxy ends TLS, so that the CA sees no certificate: a token does it.
func TestBehindProxy(t *testing.T) {
	t.Parallel()
	server := steptest.Start(t)
	a := newAsker(t, server, steptest.Docker, time.Time{})
	a.spec.Step.URL = server.Front(t, func(http.ResponseWriter, *http.Request) bool { return false })
	first := a.must(identity(time.Hour), nil)
	if next := a.must(identity(time.Hour), first); next.Serial == first.Serial {
		t.Error("not renewed")
	}
	a.asked("POST step /1.0/sign")
	if _, err := hex.DecodeString(first.Serial); err != nil {
		t.Error(err)
	}
}
