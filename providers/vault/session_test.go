package vault_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/certwright/certwright/providers/vault/vaulttest"
	"github.com/certwright/certwright/reconcile"
)

// TestLease renews a token when less than a third of its life is left, and logs in anew when it has ended. The server's clock
// stands still.
func TestLease(t *testing.T) {
	t.Parallel()
	server := vaulttest.Start(t)
	for _, way := range ways {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			a := newAsker(t, server, way)
			a.must(identity(time.Hour))
			a.ahead = 39 * time.Minute
			a.must(identity(time.Hour))
			a.asked(signs)
			a.ahead = 41 * time.Minute
			a.must(identity(time.Hour))
			a.asked(renews, signs)
			a.must(identity(time.Hour)) // it has an hour again
			a.asked(signs)
			a.ahead += 61 * time.Minute // it has ended
			a.must(identity(time.Hour))
			a.asked(logsIn(way), signs)
		})
	}
}

// TestTokenThatEnds has the server forget a token: another one is had by another login, once, and never the same.
func TestTokenThatEnds(t *testing.T) {
	t.Parallel()
	for _, way := range ways {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			server := vaulttest.Start(t)
			a := newAsker(t, server, way)
			a.must(identity(time.Hour))
			server.Forget()
			if way == "token" {
				_, err := a.sign(identity(time.Hour))
				if !errors.Is(err, reconcile.ErrRefused) || !strings.Contains(err.Error(), "the token has ended, or its policies lack") {
					t.Errorf("%v", err)
				}
				a.asked(signs, looks)
				a.secret = server.Token(nil)
				a.must(identity(time.Hour))
				a.asked(signs, looks, signs)
				return
			}
			a.must(identity(time.Hour))
			a.asked(signs, logsIn(way), signs)
			server.Forget()
			a.ahead = 41 * time.Minute // to be renewed
			a.must(identity(time.Hour))
			a.asked(renews, logsIn(way), signs)
		})
	}
}

// TestTokens are those that the spec may give: one that is not renewed, one without an end, one that may not look at itself.
func TestTokens(t *testing.T) {
	t.Parallel()
	server := vaulttest.Start(t)
	for name, c := range map[string]struct {
		with  map[string]any
		later []string
	}{
		"not renewable":   {map[string]any{"ttl": "1h", "renewable": false}, []string{signs}},
		"periodic":        {map[string]any{"period": "1h"}, []string{renews, signs}},
		"without default": {map[string]any{"ttl": "1h", "no_default_policy": true}, []string{signs}},
		"at its maximum":  {map[string]any{"ttl": "1h", "explicit_max_ttl": "1h"}, []string{renews, signs}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAsker(t, server, "token")
			a.secret = server.Token(c.with)
			a.must(identity(time.Hour))
			a.asked(looks, signs)
			a.ahead = 41 * time.Minute
			a.must(identity(time.Hour))
			a.asked(c.later...)
		})
	}
}

// TestTokenThatWanes is given late, and may not be renewed: it does for the rest.
func TestTokenThatWanes(t *testing.T) {
	t.Parallel()
	server := vaulttest.Start(t)
	a := newAsker(t, server, "token")
	a.spec.Vault.Address = server.Front(t, func(w http.ResponseWriter, r *http.Request) bool {
		switch r.URL.Path {
		case "/v1/auth/token/lookup-self":
			fmt.Fprint(w, `{"data": {"creation_ttl": 3600, "ttl": 600, "renewable": true}}`)
		case "/v1/auth/token/renew-self":
			w.WriteHeader(http.StatusForbidden)
		default:
			return false
		}
		return true
	})
	a.must(identity(time.Hour))
	a.asked(looks, renews, signs)
}

// TestTogether asks for many at once, of whom one logs in.
func TestTogether(t *testing.T) {
	t.Parallel()
	server := vaulttest.Start(t)
	a := newAsker(t, server, "appRole")
	var logins atomic.Int32
	a.ca.Around = func(what string, do func() error) error {
		if what == logsIn("appRole") {
			logins.Add(1)
		}
		return do()
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if err := a.ca.Revoke(t.Context(), a.spec, reconcile.RevocationRequest{Serial: "01"}); !errors.Is(err, reconcile.ErrRefused) {
				t.Errorf("%v", err)
			}
		})
	}
	all.Wait()
	if n := logins.Load(); n != 1 {
		t.Errorf("%d logins", n)
	}
}
