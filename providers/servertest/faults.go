package servertest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/reconcile"
)

// Fault is what a CA answers that is not as it should be, and what is to come of it: what kind of error it is decides when the CA
// is asked again.
type Fault struct {
	Name          string
	Answer        func(http.ResponseWriter, *http.Request)
	Words         string // of the error
	Refused, Away bool
	Wait          time.Duration // as the CA said; an error that says up to a minute less is one that was made later
}

// Faults are those of any server: an answer that has no end, none at all, and one that leads elsewhere, to an address, with what
// is to be said of that.
func Faults(to, words string) []Fault {
	return []Fault{
		{Name: "a redirect", Answer: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, to+r.URL.Path, http.StatusTemporaryRedirect)
		}, Words: words},
		{Name: "without end", Answer: func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat(" ", 2<<20)) }, Words: "is larger than 1048576 bytes"},
		{Name: "hangs up", Answer: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, Words: "EOF", Away: true},
	}
}

// Kind checks what kind of error a fault led to.
func (f Fault) Kind(t testing.TB, err error) {
	t.Helper()
	if err == nil {
		t.Fatal("it was signed")
	}
	if errors.Is(err, reconcile.ErrRefused) != f.Refused || isAway(err) != f.Away {
		t.Errorf("%v, want refused %v, away %v", err, f.Refused, f.Away)
	}
	if len(err.Error()) > 1000 {
		t.Errorf("the error has %d bytes", len(err.Error()))
	}
	var later reconcile.RetryAfter
	if errors.As(err, &later); later.Wait > f.Wait || later.Wait < f.Wait-time.Minute {
		t.Errorf("wait %s, want %s", later.Wait, f.Wait)
	}
}

// Said checks the words as well.
func (f Fault) Said(t testing.TB, err error) {
	t.Helper()
	f.Kind(t, err)
	if !strings.Contains(err.Error(), f.Words) {
		t.Errorf("%v, want %q", err, f.Words)
	}
}

// Nobody wants a CA to be away that takes connections at an address, and never answers.
func Nobody(t testing.TB, ask func(ctx context.Context, address string) error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := ask(ctx, "https://"+l.Addr().String()); !isAway(err) {
		t.Errorf("%v", err)
	}
}

func isAway(err error) bool {
	var away reconcile.Away
	return errors.As(err, &away)
}
