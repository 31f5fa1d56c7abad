package step_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/providers/servertest"
	"github.com/certwright/certwright/providers/step/steptest"
	"github.com/certwright/certwright/reconcile"
)

// TestAnotherRoot has a server of another root at the address: it is told nothing, whatever it answers.
func TestAnotherRoot(t *testing.T) {
	t.Parallel()
	server, other := steptest.Start(t), steptest.Start(t)
	a := newAsker(t, server, steptest.Docker, time.Time{})
	first := a.must(identity(time.Hour), nil)

	reached := 0
	a.spec.Step.URL = other.Front(t, func(w http.ResponseWriter, r *http.Request) bool {
		reached++
		return false
	})
	for _, current := range []*reconcile.Issued{nil, first} {
		_, err := a.sign(identity(time.Hour), current)
		var away reconcile.Away
		if !errors.As(err, &away) || !strings.Contains(err.Error(), "shows no certificate of the root with the fingerprint "+server.Fingerprint) {
			t.Errorf("%v", err)
		}
	}
	if err := a.ca.Revoke(t.Context(), a.spec, reconcile.RevocationRequest{Roots: [][]byte{a.root}, Serial: first.Serial, Own: first}); err == nil {
		t.Error("revoked elsewhere")
	}
	if reached > 0 {
		t.Errorf("the other server was sent %d requests", reached)
	}
	if _, err := a.ca.Roots(t.Context(), a.spec); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("it has no such root: %v", err)
	}
	liar := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"ca": %q}`, steptest.PEM(other.Root))
	}))
	liar.Config.ErrorLog = log.New(new(strings.Builder), "", 0)
	liar.StartTLS()
	defer liar.Close()
	a.spec.Step.URL = liar.URL
	if _, err := a.ca.Roots(t.Context(), a.spec); err == nil || !strings.Contains(err.Error(), "gave another root than the one with the fingerprint") {
		t.Errorf("another root: %v", err)
	}
}

// TestFaults has a front fail in each way, once without and once with a certificate: what kind of error it is decides when the
// CA is asked again.
func TestFaults(t *testing.T) {
	t.Parallel()
	server := steptest.Start(t)
	a := newAsker(t, server, steptest.Docker, time.Time{})
	current := a.must(identity(time.Hour), nil)
	date := time.Now().Add(2 * time.Hour).UTC().Format(http.TimeFormat)
	answer := servertest.Answer
	for _, c := range []struct {
		name          string
		fault         func(http.ResponseWriter, *http.Request)
		want          string
		refused, away bool
		wait          time.Duration
	}{
		{"429 in seconds", answer(429, "90", `{"message": "too many"}`), `429 Too Many Requests: "too many"`, false, false, 90 * time.Second},
		{"503 with a date", answer(503, date, ""), "503 Service Unavailable", false, false, 2 * time.Hour},
		{"503 with nonsense", answer(503, "soon", ""), "503 Service Unavailable", false, false, 0},
		{"500", answer(500, "", `{"message": "the database is away"}`), "the database is away", false, false, 0},
		{"404 of a proxy", answer(404, "", "<html>"), "404 Not Found", false, false, 0},
		{"403", answer(403, "", `{"message": "not\nours"}`), `"not\nours"`, true, false, 0},
		{"no JSON", answer(201, "", "<html>"), "the answer of ", false, false, 0},
		{"nothing signed", answer(201, "", `{"certChain": []}`), "the answer holds no certificate", false, false, 0},
		{"no PEM", answer(201, "", `{"certChain": ["x"]}`), "no certificate in PEM", false, false, 0},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, server.URL+r.URL.Path, http.StatusTemporaryRedirect)
		}, "307", false, false, 0},
		{"without end", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat(" ", 2<<20)) }, "is larger than 1048576 bytes", false, false, 0},
		{"hangs up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF", false, true, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := newAsker(t, server, steptest.Docker, time.Time{})
			a.spec.Step.URL = server.Front(t, func(w http.ResponseWriter, r *http.Request) bool {
				c.fault(w, r)
				return true
			})
			for _, current := range []*reconcile.Issued{nil, current} {
				_, err := a.sign(identity(time.Hour), current)
				if err == nil {
					t.Fatal("it was signed")
				}
				var away reconcile.Away
				if errors.Is(err, reconcile.ErrRefused) != c.refused || errors.As(err, &away) != c.away || (current != nil && !strings.Contains(err.Error(), c.want)) {
					t.Errorf("%v, want %q, refused %v, away %v", err, c.want, c.refused, c.away)
				}
				var later reconcile.RetryAfter
				if errors.As(err, &later); later.Wait > c.wait || later.Wait < c.wait-time.Minute {
					t.Errorf("wait %s, want %s", later.Wait, c.wait)
				}
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
		a := newAsker(t, server, steptest.Docker, time.Time{})
		a.spec.Step.URL = "https://" + l.Addr().String()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err = a.ca.Roots(ctx, a.spec)
		var away reconcile.Away
		if !errors.As(err, &away) {
			t.Errorf("%v", err)
		}
	})
}
