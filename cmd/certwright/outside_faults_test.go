package main

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// TestOutsideFaults watches while a CA of each kind fails in each way: it is tried no more often than after a second, two, four
// and so on, or after what it said; what is published stays as it is, the cause is in status, and when the CA is well again
// the next certificate is there, without anybody's doing.
func TestOutsideFaults(t *testing.T) {
	t.Parallel()
	dockertest.Servers(t, "curl")
	stranger := newForger(t).server(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("a server of another root is told %s", r.URL.Path)
	}))
	answers := func(status int) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Retry-After", "3")
			w.WriteHeader(status)
			return true
		}
	}
	faults := []struct {
		name  string
		fault func(http.ResponseWriter, *http.Request) bool
		to    *string           // where the line leads
		want  map[string]string // by kind
		said  time.Duration     // to wait at least, by a server that is heard
	}{
		{"429", answers(429), nil, map[string]string{"exec": "429", "step": "429 Too Many Requests", "acme": "429", "vault": "429 Too Many Requests"}, 3 * time.Second},
		{"500", func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(500)
			return true
		}, nil, map[string]string{"exec": "500", "step": "500 Internal Server Error", "acme": "500", "vault": "500 Internal Server Error"}, 0},
		{"hangs up", nil, new(string), map[string]string{"exec": "exit status 35", "step": "EOF", "acme": "EOF", "vault": "EOF"}, 0},
		{"another root", nil, &stranger, map[string]string{
			"exec": "exit status 60", "vault": "shows no certificate of a root of", "step": "shows no certificate of the root with the fingerprint", "acme": "certificate signed by unknown authority",
		}, 0},
	}
	// The library of ACME asks three times. What shows its certificate may go on without it.
	calls := map[string]int{"exec": 1, "step": 2, "vault": 1, "acme": 3}
	for kind := range outsiders {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s, o := asking(t, kind)
			for _, f := range faults {
				t.Run(f.name, func(t *testing.T) {
					s.t = t
					before, old := tree(t, s.certs), placed(t, s.certs)
					o.set(nil, f.fault)
					if o.lead(o.first); f.to != nil {
						o.lead(*f.to)
					}
					s.want(exitDone, "rotate", "identity/web", "--defer")
					failing := true
					said := s.watch(func(said string) error {
						if began, most := o.tries(said); failing {
							if len(began) < 3 {
								return errors.New("it has not been tried three times")
							}
							least := 3 * time.Second
							if kind != "exec" {
								least = max(least, 2*f.said)
							}
							if took := began[2].Sub(began[0]); took < least || most > calls[kind] {
								t.Errorf("three tries in %s, of up to %d calls", took, most)
							} else {
								t.Logf("three tries in %s, of up to %d calls", took, most)
							}
							if diff := cmp.Diff(before, tree(t, s.certs)); diff != "" {
								t.Errorf("what is published changed:\n%s", diff)
							}
							s.says(s.want(exitDone, "status"), f.want[kind])
							failing = false
							o.set(nil, nil)
							o.lead(o.first)
						}
						if placed(t, s.certs) == old {
							return errors.New("it has not healed")
						}
						return nil
					})
					good(t, s.certs)
					if !strings.Contains(said, f.want[kind]) {
						t.Errorf("watch does not say %q", f.want[kind])
					}
				})
			}
		})
	}
}

// TestOutsideSlow watches CAs that take half a second for everything: nothing fails.
func TestOutsideSlow(t *testing.T) {
	t.Parallel()
	dockertest.Servers(t, "curl")
	for kind := range outsiders {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s, o := asking(t, kind)
			old := placed(t, s.certs)
			o.set(nil, func(_ http.ResponseWriter, r *http.Request) bool {
				select {
				case <-r.Context().Done():
				case <-time.After(500 * time.Millisecond):
				}
				return false
			})
			s.want(exitDone, "rotate", "identity/web", "--defer")
			said := s.watch(func(string) error {
				if placed(t, s.certs) == old {
					return errors.New("it has not been replaced")
				}
				return nil
			})
			good(t, s.certs)
			if strings.Contains(said, "ERROR") {
				t.Error("something failed")
			}
		})
	}
}
