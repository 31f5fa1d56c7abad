package vault_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/providers/servertest"
	"github.com/certwright/certwright/providers/vault/vaulttest"
	"github.com/certwright/certwright/reconcile"
)

// TestAnotherRoot has a server of another root at the address: it is told nothing, whatever it would answer.
func TestAnotherRoot(t *testing.T) {
	t.Parallel()
	server, other := vaulttest.Start(t), vaulttest.Start(t)
	reached := 0
	front := other.Front(t, func(http.ResponseWriter, *http.Request) bool {
		reached++
		return false
	})
	for _, way := range ways {
		for _, roots := range []string{server.ServerRoots, ""} {
			a := newAsker(t, server, way)
			a.spec.Vault.Address, a.spec.Vault.ServerRoots = front, roots
			_, err := a.sign(identity(time.Hour))
			_, rootErr := a.ca.Roots(t.Context(), a.spec)
			for _, err := range []error{err, rootErr, a.ca.Revoke(t.Context(), a.spec, reconcile.RevocationRequest{Serial: "01"})} {
				var away reconcile.Away
				if !errors.As(err, &away) || !strings.Contains(err.Error(), "was told nothing") {
					t.Errorf("%s: %v", way, err)
				}
			}
		}
	}
	if reached > 0 {
		t.Errorf("the other server was sent %d requests", reached)
	}
}

// TestSealed seals the real server, which then answers nothing, and unseals it.
func TestSealed(t *testing.T) {
	t.Parallel()
	server := vaulttest.Start(t)
	fresh, known := newAsker(t, server, "appRole"), newAsker(t, server, "appRole")
	known.must(identity(time.Hour))
	server.Seal()
	for _, a := range []*asker{fresh, known} {
		_, err := a.sign(identity(time.Hour))
		var away reconcile.Away
		if !errors.As(err, &away) || !strings.Contains(err.Error(), "sealed") {
			t.Errorf("%v", err)
		}
	}
	server.Unseal()
	fresh.must(identity(time.Hour))
	known.must(identity(time.Hour))
}

// TestFaults has a front fail in each way: what kind of error it is decides when the CA is asked again. What the server was told
// in secret is in no error, whatever it says.
func TestFaults(t *testing.T) {
	t.Parallel()
	server := vaulttest.Start(t)
	date := time.Now().Add(2 * time.Hour).UTC().Format(http.TimeFormat)
	answer := servertest.Answer
	for _, c := range []struct {
		name          string
		fault         func(http.ResponseWriter, *http.Request)
		want          string
		refused, away bool
		wait          time.Duration
	}{
		{"429 in seconds", answer(429, "90", `{"errors": ["request path: rate limit quota exceeded"]}`), `429 Too Many Requests: "request path: rate limit quota exceeded"`, false, true, 90 * time.Second},
		{"503 with a date", answer(503, date, ""), "503 Service Unavailable", false, true, 2 * time.Hour},
		{"503 with nonsense", answer(503, "soon", ""), "503 Service Unavailable", false, true, 0},
		{"a standby", answer(473, "", ""), "answers 473", false, true, 0},
		{"500", answer(500, "", `{"errors": ["1 error occurred:\n\t* the database is away\n\n"]}`), `"1 error occurred: * the database is away"`, false, false, 0},
		{"500 with a later", answer(500, "5", ""), "500", false, false, 5 * time.Second},
		{"400", answer(400, "", `{"errors": ["not", "ours\u001b[2J"]}`), `"not; ours [2J"`, true, false, 0},
		{"400 at length", answer(400, "", `{"errors": ["`+strings.Repeat("é", 5000)+`"]}`), `é"`, true, false, 0},
		{"404 of a proxy", answer(404, "", "<html>"), "look at mount and namespace", false, false, 0},
		{"no JSON", answer(200, "", "<html>"), "is not what /v1/pki/sign/docker answers", false, false, 0},
		{"nothing signed", answer(200, "", `{"data": {}}`), "the answer holds no certificate", false, false, 0},
		{"nothing at all", answer(204, "", ""), "is not what /v1/pki/sign/docker answers", false, false, 0},
		{"no PEM", answer(200, "", `{"data": {"certificate": "x"}}`), "the answer holds no certificate", false, false, 0},
		{"what it was told", func(w http.ResponseWriter, r *http.Request) {
			answer(400, "", fmt.Sprintf(`{"errors": ["bad token %s"]}`, r.Header.Get("X-Vault-Token")))(w, r)
		}, `"bad token …"`, true, false, 0},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, server.Address+r.URL.Path, http.StatusTemporaryRedirect)
		}, "307 Temporary Redirect; it leads to another server", false, false, 0},
		{"without end", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat(" ", 2<<20)) }, "is larger than 1048576 bytes", false, false, 0},
		{"hangs up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF", false, true, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := newAsker(t, server, "token")
			a.spec.Vault.Address = server.Front(t, func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasPrefix(r.URL.Path, "/v1/pki/sign/") {
					return false
				}
				c.fault(w, r)
				return true
			})
			_, err := a.sign(identity(time.Hour))
			if err == nil {
				t.Fatal("it was signed")
			}
			var away reconcile.Away
			if !strings.Contains(err.Error(), c.want) || errors.Is(err, reconcile.ErrRefused) != c.refused || errors.As(err, &away) != c.away {
				t.Errorf("%v, want %q, refused %v, away %v", err, c.want, c.refused, c.away)
			}
			if len(err.Error()) > 1000 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
			var later reconcile.RetryAfter
			if errors.As(err, &later); later.Wait > c.wait || later.Wait < c.wait-time.Minute {
				t.Errorf("wait %s, want %s", later.Wait, c.wait)
			}
		})
	}
	t.Run("nobody there", func(t *testing.T) {
		t.Parallel()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // it takes connections, and never answers
		a := newAsker(t, server, "token")
		a.spec.Vault.Address = "https://" + l.Addr().String()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err = a.ca.Roots(ctx, a.spec)
		var away reconcile.Away
		if !errors.As(err, &away) {
			t.Errorf("%v", err)
		}
	})
}

// TestLoginFaults has a front answer the login with what is none, or with what it was told.
func TestLoginFaults(t *testing.T) {
	t.Parallel()
	server := vaulttest.Start(t)
	for name, c := range map[string]struct{ way, body, want string }{
		"no token":                    {"appRole", `{"auth": {"client_token": ""}}`, "the answer to the login holds no token"},
		"a secret is said again":      {"appRole", "", `"bad …"`},
		"a JWT is said again":         {"jwt", "", `"bad …"`},
		"a given token is said again": {"token", "", "its policies lack"}, // of what was asked for then
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAsker(t, server, c.way)
			a.spec.Vault.Address = server.Front(t, func(w http.ResponseWriter, r *http.Request) bool {
				if c.body != "" {
					fmt.Fprint(w, c.body)
					return true
				}
				w.WriteHeader(http.StatusForbidden)
				fmt.Fprintf(w, `{"errors": ["bad %s"]}`, a.secret)
				return true
			})
			if _, err := a.sign(identity(time.Hour)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// TestNamespace has every request say which, also those that log in.
func TestNamespace(t *testing.T) {
	t.Parallel()
	server := vaulttest.Start(t)
	for _, way := range ways[:3] { // the front has no certificate to log in by
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			a := newAsker(t, server, way)
			said := map[string]string{}
			a.spec.Vault.Address = server.Front(t, func(_ http.ResponseWriter, r *http.Request) bool {
				said[r.URL.Path] = r.Header.Get("X-Vault-Namespace")
				r.Header.Del("X-Vault-Namespace") // this server has none
				return false
			})
			a.spec.Vault.Namespace = "team/a"
			if _, err := a.ca.Roots(t.Context(), a.spec); err != nil {
				t.Fatal(err)
			}
			issued := a.must(identity(time.Hour))
			if err := a.ca.Revoke(t.Context(), a.spec, reconcile.RevocationRequest{Serial: issued.Serial}); err != nil {
				t.Fatal(err)
			}
			for path, namespace := range said {
				if namespace != "team/a" {
					t.Errorf("%s in %q", path, namespace)
				}
			}
			if want := 4; len(said) != want {
				t.Errorf("%d paths, want %d: %v", len(said), want, said)
			}
		})
	}
}
