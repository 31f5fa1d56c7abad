package step_test

import (
	"context"
	"errors"
	"fmt"
	"log"
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
	faults := []servertest.Fault{
		{Name: "429 in seconds", Answer: answer(429, "90", `{"message": "too many"}`), Words: `429 Too Many Requests: "too many"`, Wait: 90 * time.Second},
		{Name: "503 with a date", Answer: answer(503, date, ""), Words: "503 Service Unavailable", Wait: 2 * time.Hour},
		{Name: "503 with nonsense", Answer: answer(503, "soon", ""), Words: "503 Service Unavailable"},
		{Name: "500", Answer: answer(500, "", `{"message": "the database is away"}`), Words: "the database is away"},
		{Name: "404 of a proxy", Answer: answer(404, "", "<html>"), Words: "404 Not Found"},
		{Name: "403", Answer: answer(403, "", `{"message": "not\nours"}`), Words: `"not\nours"`, Refused: true},
		{Name: "no JSON", Answer: answer(201, "", "<html>"), Words: "the answer of "},
		{Name: "nothing signed", Answer: answer(201, "", `{"certChain": []}`), Words: "the answer holds no certificate"},
		{Name: "no PEM", Answer: answer(201, "", `{"certChain": ["x"]}`), Words: "no certificate in PEM"},
	}
	for _, f := range append(faults, servertest.Faults(server.URL, "307")...) {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			a := newAsker(t, server, steptest.Docker, time.Time{})
			a.spec.Step.URL = server.Front(t, func(w http.ResponseWriter, r *http.Request) bool {
				f.Answer(w, r)
				return true
			})
			_, err := a.sign(identity(time.Hour), nil) // which first asks for something else
			f.Kind(t, err)
			_, err = a.sign(identity(time.Hour), current)
			f.Said(t, err)
		})
	}
	t.Run("nobody there", func(t *testing.T) {
		t.Parallel()
		a := newAsker(t, server, steptest.Docker, time.Time{})
		servertest.Nobody(t, func(ctx context.Context, address string) error {
			a.spec.Step.URL = address
			_, err := a.ca.Roots(ctx, a.spec)
			return err
		})
	})
}
