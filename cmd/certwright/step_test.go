package main

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/docker/dockertest"
	"github.com/certwright/certwright/providers/step/steptest"
)

// stepScene is a folder without an engine, and a step-ca server of its own.
type stepScene struct {
	scene
	ca *steptest.CA
}

func newStepScene(t *testing.T) stepScene {
	t.Helper()
	ca := steptest.Start(t)
	learnKey(ca.Key)
	learn("the password of the provisioners", []byte(steptest.Password))
	s := stepScene{offline(t), ca}
	s.certs = filepath.Join(s.dir, "certs")
	s.vars = map[string]string{"STEP_PASSWORD": steptest.Password}
	ca.Vouch(s.dir, time.Now().Add(time.Hour))
	return s
}

// jwk and x5c are what the spec says of the CA, by the provisioner.
func (s stepScene) jwk(provisioner string) string {
	return fmt.Sprintf(`url: "%s", fingerprint: %s, provisioner: %s, password: {env: STEP_PASSWORD}`, s.ca.URL, s.ca.Fingerprint, provisioner)
}

func (s stepScene) x5c() string {
	return fmt.Sprintf(`url: "%s", fingerprint: %s, provisioner: %s, certificate: birth.pem, key: birth.key`, s.ca.URL, s.ca.Fingerprint, steptest.Birth)
}

// by writes the spec of one identity that is placed.
func (s stepScene) by(step, identity string) {
	s.t.Helper()
	s.write("tls.yaml", `version: 1
project: step
cas:
  company: {step: {`+step+`}}
identities:
  web: {ca: company, names: [web.test, 127.0.0.1], lifetime: 5m`+identity+`}
bindings:
  web: {identity: web, directory: ./certs}
`)
}

// verified is what is placed.
func (s stepScene) verified() *x509.Certificate {
	s.t.Helper()
	return s.verifiedBy(s.ca.Root)
}

// verifiedBy is what is placed, with openssl's word that it leads to a root.
func (s scene) verifiedBy(root []byte) *x509.Certificate {
	t := s.t
	t.Helper()
	s.openssl("verify", "-CAfile", "certs/ca.pem", "-untrusted", "certs/cert.pem", "-verify_hostname", "web.test", "certs/cert.pem")
	if diff := cmp.Diff([][]byte{root}, pemBlocks(t, filepath.Join(s.certs, "ca.pem"))); diff != "" {
		t.Errorf("ca.pem is not the root of the CA:\n%s", diff)
	}
	leaf, err := x509.ParseCertificate(pemBlocks(t, filepath.Join(s.certs, "cert.pem"))[0])
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

func keyOf(leaf *x509.Certificate) string { return hex.EncodeToString(leaf.RawSubjectPublicKeyInfo) }

// TestStep enrols by each provisioner, renews by the certificate itself, and re-enrols where the CA does not renew.
func TestStep(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, identity, renewal string }{
		{"jwk", "", "rekey"},
		{"jwk, key kept", ", reuseKey: true", "rekey"},
		{"x5c", "", "rekey"},
		{"once", "", "sign"}, // its provisioner has renewal disabled
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newStepScene(t)
			switch c.name {
			case "x5c":
				s.by(s.x5c(), c.identity)
			case "once":
				s.by(s.jwk(steptest.Once), c.identity)
			default:
				s.by(s.jwk(steptest.Docker), c.identity)
			}
			r := s.want(exitDone, "apply", "-v")
			s.says(r, "take in CA company (its root is not taken in yet)", "issue web (not issued)", "POST step /1.0/sign")
			if strings.Contains(r.out+r.err, "eyJ") { // so every token begins
				t.Error("a token is in what is printed")
			}
			key, err := x509.MarshalPKCS8PrivateKey(s.ca.Key)
			if err != nil {
				t.Fatal(err)
			}
			if found := keysIn(t, s.dir, key); len(found) > 0 {
				t.Errorf("the provisioner's key is kept: %v", found)
			}
			first := s.verified()
			if life := first.NotAfter.Sub(first.NotBefore); life != 6*time.Minute { // it is dated back by one
				t.Errorf("it lives %s", life)
			}
			s.want(exitDone, "plan", "--exit-code")

			// At 3:00 nothing is due, at 3:30 it is. The CA's own clock stands still.
			at := time.Now().Add(3 * time.Minute)
			s.now = func() time.Time { return at }
			s.want(exitDone, "plan", "--exit-code")
			at = at.Add(30 * time.Second)
			if c.renewal == "sign" {
				at = time.Now() // a token of the future is not taken
				s.now = func() time.Time { return at }
				r = s.want(exitDone, "rotate", "identity/web", "-v")
				s.says(r, "POST step /1.0/rekey", "401 Unauthorized")
			} else {
				r = s.want(exitDone, "apply", "-v")
				s.says(r, "issue web", "(expires soon)")
			}
			s.says(r, "POST step /1.0/"+c.renewal)
			if c.renewal == "rekey" && strings.Contains(r.err, "/1.0/sign") {
				t.Error("a token was made where the certificate speaks for itself")
			}
			next := s.verified()
			if next.SerialNumber.Cmp(first.SerialNumber) == 0 {
				t.Error("not renewed")
			}
			if kept, want := keyOf(next) == keyOf(first), c.identity != ""; kept != want {
				t.Errorf("the key is kept: %v", kept)
			}
			s.want(exitDone, "plan", "--exit-code")
		})
	}
}

// TestStepPage applies the first block of docs/ca-step.md to a real server.
func TestStepPage(t *testing.T) {
	t.Parallel()
	s := newStepScene(t)
	text := blocks(t, "../../docs/ca-step.md")[0].text
	for old, now := range map[string]string{
		"https://ca.internal:4443": s.ca.URL,
		"c8de28e62be35bb1afa5ea68ff1a9e9f0f6bd8f6bfa1c4de28e62be35bb1afa5": s.ca.Fingerprint,
		"web.internal": "web.test",
	} {
		if !strings.Contains(text, old) {
			t.Errorf("the page has no %s", old)
		}
		text = strings.ReplaceAll(text, old, now)
	}
	s.write("tls.yaml", text)
	s.write("step.pass", steptest.Password+"\n")
	s.want(exitDone, "apply")
	s.verified()
	s.want(exitDone, "plan", "--exit-code")
}

// TestStepFaults has a CA that fails in each way while a certificate is to be replaced: nothing that is published changes, the
// cause is in status, and the next apply heals it.
func TestStepFaults(t *testing.T) {
	t.Parallel()
	var fault atomic.Pointer[http.HandlerFunc]
	s := newStepScene(t)
	other := steptest.Start(t)
	front := s.ca.Front(t, func(w http.ResponseWriter, r *http.Request) bool {
		f := fault.Load()
		if f != nil {
			(*f)(w, r)
		}
		return f != nil
	})
	text := func(url string) {
		s.by(strings.Replace(s.jwk(steptest.Docker), s.ca.URL, url, 1), "")
	}
	text(front)
	s.want(exitDone, "apply")
	answers := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "600")
			w.WriteHeader(status)
		}
	}
	stranger := other.Front(t, func(http.ResponseWriter, *http.Request) bool { return false })
	for _, c := range []struct {
		name, url, want string
		fault           http.HandlerFunc
	}{
		{"500", front, "500 Internal Server Error", answers(500)},
		{"429", front, "429 Too Many Requests", answers(429)},
		{"hangs up", front, "EOF", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
		{"down", "https://127.0.0.1:1", "connection refused", nil},
		{"another root", stranger, "shows no certificate of the root with the fingerprint " + s.ca.Fingerprint, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			before, old := tree(t, s.certs), placed(t, s.certs)
			text(c.url)
			if c.fault != nil {
				fault.Store(&c.fault)
			}
			s.says(s.want(exitPart, "rotate", "identity/web"), c.want)
			if diff := cmp.Diff(before, tree(t, s.certs)); diff != "" {
				t.Errorf("what is published changed:\n%s", diff)
			}
			s.says(s.want(exitDone, "status"), c.want)
			s.says(s.want(exitDone, "why", "web"), c.want)
			fault.Store(nil)
			text(front)
			s.want(exitDone, "apply")
			if placed(t, s.certs) == old {
				t.Error("not healed")
			}
			s.verified()
		})
	}
}

// TestStepACME enrols at a provisioner of the type ACME, by each way to prove a name that needs no other server, and renews.
func TestStepACME(t *testing.T) {
	t.Parallel()
	for _, challenge := range []string{"http01", "tlsAlpn01"} {
		t.Run(challenge, func(t *testing.T) {
			t.Parallel()
			s := newStepScene(t)
			at := map[string]string{"http01": s.ca.HTTP01, "tlsAlpn01": s.ca.TLSALPN01}[challenge]
			s.write("roots.pem", string(steptest.PEM(s.ca.Root)))
			s.write("tls.yaml", fmt.Sprintf(`version: 1
project: step
cas:
  company: {acme: {directory: "%s/acme/%s/directory", roots: roots.pem, %s: {listen: "%s"}}}
identities:
  web: {ca: company, names: [localhost]}
bindings:
  web: {identity: web, directory: ./certs}
`, s.ca.URL, steptest.ACME, challenge, at))
			s.want(exitDone, "apply")
			s.openssl("verify", "-CAfile", "certs/ca.pem", "-untrusted", "certs/cert.pem", "-verify_hostname", "localhost", "certs/cert.pem")
			first := placed(t, s.certs)
			s.want(exitDone, "plan", "--exit-code")
			at3 := time.Now().Add(3 * time.Minute)
			s.now = func() time.Time { return at3 }
			s.want(exitDone, "plan", "--exit-code")
			at3 = at3.Add(30 * time.Second)
			s.says(s.want(exitDone, "apply"), "issue web (expires soon)")
			if placed(t, s.certs) == first {
				t.Error("not renewed")
			}
			s.now = time.Now
			s.says(s.want(exitDone, "revoke", "web"), "revoke ", "issue web")
			s.want(exitDone, "plan", "--exit-code")
		})
	}
}

// TestStepRevoke has a certificate revoked by its identity and by its serial, and while the CA is down.
func TestStepRevoke(t *testing.T) {
	t.Parallel()
	s := newStepScene(t)
	s.by(s.jwk(steptest.Docker), ", reuseKey: true")
	s.want(exitDone, "apply")
	first := s.verified()
	serial := serialOf(t, first.Raw)
	s.says(s.want(exitDone, "revoke", "web", "-v"), "revoke "+serial, "issue web", "POST step /1.0/revoke", "POST step /1.0/sign")
	second := s.verified()
	if keyOf(first) == keyOf(second) {
		t.Error("the key that was to be lost is in use")
	}
	s.want(exitDone, "plan", "--exit-code")
	s.says(s.want(exitDone, "revoke", strings.ToUpper(serial), "--ca", "company", "-v"), "revoke "+serial, "POST step /1.0/revoke") // once more

	s.ca.Down()
	before := tree(t, s.certs)
	s.says(s.want(exitPart, "revoke", serialOf(t, second.Raw)), "revoke "+serialOf(t, second.Raw), "connection refused")
	if diff := cmp.Diff(before, tree(t, s.certs)); diff != "" {
		t.Errorf("what is published changed:\n%s", diff)
	}
	s.says(s.want(exitPending, "plan", "--exit-code"), "revoke "+serialOf(t, second.Raw), "issue web")
	s.says(s.want(exitDone, "status"), "revoke "+serialOf(t, second.Raw)+" of CA company: asked for at ", "connection refused")
	s.ca.Up()
	s.want(exitDone, "apply")
	if keyOf(s.verified()) == keyOf(second) {
		t.Error("the key that was to be lost is in use")
	}
	s.want(exitDone, "plan", "--exit-code")
}

// TestStepWatch watches a certificate of five minutes of a CA that is down at first and while it is due: it is there when
// the CA is, is renewed between 3:00 and 3:40, and nobody has to do anything.
func TestStepWatch(t *testing.T) {
	t.Parallel()
	if testing.Short() { // it takes four minutes
		t.Skip("with -short")
	}
	s := newStepScene(t)
	s.by(s.jwk(steptest.Docker), "")
	s.ca.Down()
	w := newWatch(t, string(read(t, filepath.Join(s.dir, "tls.yaml"))))
	w.cmd.Env = append(w.cmd.Env, "STEP_PASSWORD="+steptest.Password)
	w.start()
	w.says(0, "connection refused")
	s.ca.Up()
	w.renewsInTime()
}

// renewsInTime waits for a certificate of five minutes and for the next one, which comes after 3:00 to 3:40.
func (w *watched) renewsInTime() {
	t := w.t
	t.Helper()
	certs := filepath.Join(w.dir, "certs")
	first := waitForLeaf(t, certs, time.Minute, nil)
	next := waitForLeaf(t, certs, 5*time.Minute, first)
	took := next.NotAfter.Sub(first.NotAfter)
	if t.Logf("renewed after %s", took); took < 3*time.Minute || took > 3*time.Minute+40*time.Second {
		t.Error("that is too soon, or too late")
	}
	w.end()
}

// waitForLeaf is the certificate in a directory when it is there, and another one than old.
func waitForLeaf(t testing.TB, dir string, patience time.Duration, old *x509.Certificate) (leaf *x509.Certificate) {
	t.Helper()
	dockertest.Poll(t, patience, "a certificate in "+dir, func() error {
		data, err := os.ReadFile(filepath.Join(dir, "cert.pem"))
		if err != nil {
			return err
		}
		block, _ := pem.Decode(data)
		if leaf, err = x509.ParseCertificate(block.Bytes); err == nil && old != nil && leaf.SerialNumber.Cmp(old.SerialNumber) == 0 {
			err = errors.New("it is still the old one")
		}
		return err
	})
	return leaf
}
