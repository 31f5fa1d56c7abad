package vault_test

import (
	"context"
	"errors"
	"fmt"
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
	faults := []servertest.Fault{
		{Name: "429 in seconds", Answer: answer(429, "90", `{"errors": ["request path: rate limit quota exceeded"]}`), Words: `429 Too Many Requests: "request path: rate limit quota exceeded"`, Away: true, Wait: 90 * time.Second},
		{Name: "503 with a date", Answer: answer(503, date, ""), Words: "503 Service Unavailable", Away: true, Wait: 2 * time.Hour},
		{Name: "503 with nonsense", Answer: answer(503, "soon", ""), Words: "503 Service Unavailable", Away: true},
		{Name: "a standby", Answer: answer(473, "", ""), Words: "answers 473", Away: true},
		{Name: "500", Answer: answer(500, "", `{"errors": ["1 error occurred:\n\t* the database is away\n\n"]}`), Words: `"1 error occurred: * the database is away"`},
		{Name: "500 with a later", Answer: answer(500, "5", ""), Words: "500", Wait: 5 * time.Second},
		{Name: "400", Answer: answer(400, "", `{"errors": ["not", "ours\u001b[2J"]}`), Words: `"not; ours [2J"`, Refused: true},
		{Name: "400 at length", Answer: answer(400, "", `{"errors": ["`+strings.Repeat("é", 5000)+`"]}`), Words: `é"`, Refused: true},
		{Name: "404 of a proxy", Answer: answer(404, "", "<html>"), Words: "look at mount and namespace"},
		{Name: "no JSON", Answer: answer(200, "", "<html>"), Words: "is not what /v1/pki/sign/docker answers"},
		{Name: "nothing signed", Answer: answer(200, "", `{"data": {}}`), Words: "the answer holds no certificate"},
		{Name: "nothing at all", Answer: answer(204, "", ""), Words: "is not what /v1/pki/sign/docker answers"},
		{Name: "no PEM", Answer: answer(200, "", `{"data": {"certificate": "x"}}`), Words: "the answer holds no certificate"},
		{Name: "what it was told", Answer: func(w http.ResponseWriter, r *http.Request) {
			answer(400, "", fmt.Sprintf(`{"errors": ["bad token %s"]}`, r.Header.Get("X-Vault-Token")))(w, r)
		}, Words: `"bad token …"`, Refused: true},
	}
	for _, f := range append(faults, servertest.Faults(server.Address, "307 Temporary Redirect; it leads to another server")...) {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			a := newAsker(t, server, "token")
			a.spec.Vault.Address = server.Front(t, func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasPrefix(r.URL.Path, "/v1/pki/sign/") {
					return false
				}
				f.Answer(w, r)
				return true
			})
			_, err := a.sign(identity(time.Hour))
			f.Said(t, err)
		})
	}
	t.Run("nobody there", func(t *testing.T) {
		t.Parallel()
		a := newAsker(t, server, "token")
		servertest.Nobody(t, func(ctx context.Context, address string) error {
			a.spec.Vault.Address = address
			_, err := a.ca.Roots(ctx, a.spec)
			return err
		})
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
