package store

import (
	"os"
	"path/filepath"
	"testing"
)

func TestPassphrase(t *testing.T) {
	pass := []byte("open sesame")
	path := filepath.Join(t.TempDir(), "store")
	s := opened(t, path, Options{Writer: true, Passphrase: pass})
	must(t, s.Commit(t.Context(), with(1)))
	must(t, s.Close())
	same(t, with(1), loaded(t, opened(t, path, Options{Passphrase: pass})))
	state := filepath.Join(path, "state")
	_, err := opened(t, path, Options{Passphrase: []byte("open sesame!")}).Load(t.Context())
	refused(t, err, state, "passphrase", "restore")
	_, err = opened(t, path, Options{}).Load(t.Context())
	refused(t, err, state, "sealed", "passphrase")
	_, err = open(t.Context(), path, Options{Passphrase: []byte{}}, cheap)
	refused(t, err, path, "empty")

	plain := filepath.Join(t.TempDir(), "plain")
	s = opened(t, plain, Options{Writer: true})
	must(t, s.Commit(t.Context(), with(1)))
	_, err = opened(t, plain, Options{Passphrase: pass}).Load(t.Context())
	refused(t, err, plain, "not sealed")
}

func TestReseal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	s := opened(t, path, Options{Writer: true})
	must(t, s.Commit(t.Context(), with(1)))
	opens := func(pass string) bool {
		o := Options{}
		if pass != "" {
			o.Passphrase = []byte(pass)
		}
		_, err := opened(t, path, o).Load(t.Context())
		return err == nil
	}
	last := ""
	for i, pass := range []string{"one", "two", "", "three"} {
		var p []byte
		if pass != "" {
			p = []byte(pass)
		}
		must(t, s.Reseal(t.Context(), p))
		if !opens(pass) || opens(last) {
			t.Fatalf("after changing %q to %q: new opens: %v, old opens: %v", last, pass, opens(pass), opens(last))
		}
		must(t, s.Commit(t.Context(), with(i)))
		same(t, with(i), loaded(t, s))
		if !opens(pass) {
			t.Fatalf("a commit after changing %q to %q lost the change", last, pass)
		}
		last = pass
	}
}

// TestUnsealedStoreGoesOn: the options of the store still have the passphrase that is no longer needed.
func TestUnsealedStoreGoesOn(t *testing.T) {
	path := made(t, kinds["sealed"])
	s := opened(t, path, kinds["sealed"])
	must(t, s.Reseal(t.Context(), nil))
	same(t, with(1), loaded(t, s))
	must(t, s.Commit(t.Context(), with(2)))
	same(t, with(2), loaded(t, s))
	same(t, with(2), loaded(t, opened(t, path, Options{})))
}

func TestEveryCommitHasItsOwnNonceAndGeneration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	s := opened(t, path, Options{Writer: true, Passphrase: []byte("open sesame")})
	seen := map[string]bool{}
	for i := range 5 {
		must(t, s.Commit(t.Context(), with(1)))
		h := s.seen.header
		data, err := os.ReadFile(filepath.Join(path, "state"))
		must(t, err)
		got, _, _, err := parseHeader(data, kindState)
		must(t, err)
		if h.Generation != uint64(i+1) || got.Generation != h.Generation || seen[string(got.Seal.Nonce)] {
			t.Errorf("commit %d: %+v", i, got)
		}
		seen[string(got.Seal.Nonce)] = true
	}
}
