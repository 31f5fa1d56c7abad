package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/certwright/certwright/reconcile"
)

// FuzzLoad puts any bytes where the state should be. What opens must be a state that is written as it was read;
// what does not open must not count as empty.
func FuzzLoad(f *testing.F) {
	f.Add(wrapped(f, kindState, nil))
	f.Add(wrapped(f, kindState, []byte("open sesame")))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		path, err := os.MkdirTemp(dir, "")
		must(t, err)
		defer os.RemoveAll(path)
		must(t, os.WriteFile(filepath.Join(path, "state"), data, 0o600))
		for _, pass := range [][]byte{nil, []byte("open sesame")} {
			s, err := open(t.Context(), path, Options{Passphrase: pass}, cheap)
			must(t, err)
			state, err := s.Load(t.Context())
			if errors.Is(err, reconcile.ErrNoStore) {
				t.Fatal("damage counts as no store")
			}
			if err == nil {
				rewritten(t, state)
			}
		}
	})
}

// wrapped is a good file.
func wrapped(f *testing.F, kind string, passphrase []byte) []byte {
	f.Helper()
	zero := bytes.NewReader(make([]byte, 1000))
	var key *sealer
	var err error
	if passphrase != nil {
		if key, err = newSealer(passphrase, cheap, zero); err != nil {
			f.Fatal(err)
		}
	}
	state := with(1)
	h := header{Certwright: kind, Format: format, Installation: state.Installation, Project: state.Project, Generation: 1}
	file, err := wrap(h, encode(state), key, zero)
	if err != nil {
		f.Fatal(err)
	}
	return file
}

// FuzzDocument skips the checksum, so that the fuzzer gets at what lies behind it.
func FuzzDocument(f *testing.F) {
	f.Add(encode(with(1)))
	f.Add(encode(reconcile.State{}))
	f.Fuzz(func(t *testing.T, data []byte) {
		for old := 1; old <= format; old++ {
			if state, err := decode(data, old); err == nil {
				rewritten(t, state)
			}
		}
	})
}

func rewritten(t *testing.T, state reconcile.State) {
	t.Helper()
	again, err := decode(encode(state), format)
	must(t, err)
	same(t, state, again)
}

// FuzzRestore takes any bytes for a backup. Nothing but a good one makes a store.
func FuzzRestore(f *testing.F) {
	good := wrapped(f, kindBackup, []byte("open sesame"))
	f.Add(good)
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(dir, "store")
		defer os.RemoveAll(path)
		err := restore(t.Context(), path, Options{Project: "shop"}, cheap, bytes.NewReader(data), []byte("open sesame"), true)
		_, there := os.Stat(path)
		if (err == nil) != (there == nil) || err == nil && !bytes.Equal(data, good) {
			t.Fatalf("restore gives %v, the store %v", err, there)
		}
	})
}
