package store

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/certwright/certwright/reconcile"
)

var update = flag.Bool("update", false, "write the golden stores anew; never after a release has written such")

// TestGolden opens stores and a backup that an earlier version wrote. They must open forever.
func TestGolden(t *testing.T) {
	for of := 1; of <= format; of++ {
		t.Run(fmt.Sprint("format ", of), func(t *testing.T) { openGolden(t, of) })
	}
}

// inContainer is a place of a kind that came with format 5.
var inContainer = reconcile.Location{Host: "local", Container: "cafe", Sub: "system"}

// ofFormat is a state as a format can hold it.
func ofFormat(n, format int) reconcile.State {
	s := with(n)
	if format < 2 {
		s.Failures = nil
		web := s.Identities["web"]
		web.Unbidden = nil
		s.Identities["web"] = web
	}
	if format < 3 {
		internal := s.CAs["internal"]
		internal.Kept = reconcile.PrivateKey{}
		s.CAs["internal"] = internal
		for at, row := range s.Places {
			row.Version = 0
			s.Places[at] = row
		}
	}
	if format < 5 {
		delete(s.Places, inContainer)
	}
	if format < 6 {
		for at, row := range s.Places {
			row.First = time.Time{}
			s.Places[at] = row
		}
	}
	if format < 4 {
		s.Revocations = nil
		wish := s.Wishes["identity/web"]
		wish.NewKey = false
		s.Wishes["identity/web"] = wish
	}
	return s
}

func openGolden(t *testing.T, of int) {
	pass := []byte("open sesame")
	name := func(what string) string { return filepath.Join("testdata", fmt.Sprintf("format-%d%s", of, what)) }
	for what, o := range map[string]Options{"-plain": {}, "-sealed": {Passphrase: pass}} {
		t.Run(what, func(t *testing.T) {
			golden := name(what)
			if *update && of == format {
				goldenStore(t, golden, o)
			}
			// A checkout has other modes and nobody writes to it.
			path := filepath.Join(t.TempDir(), "store")
			must(t, os.Mkdir(path, 0o700))
			for _, file := range []string{"state", "store.json"} {
				data, err := os.ReadFile(filepath.Join(golden, file))
				must(t, err)
				must(t, os.WriteFile(filepath.Join(path, file), data, 0o600))
			}
			o.Writer = true
			s := opened(t, path, o)
			same(t, ofFormat(1, of), loaded(t, s))
			must(t, s.Commit(t.Context(), with(2)))
			same(t, with(2), loaded(t, s))
		})
	}
	t.Run("backup", func(t *testing.T) {
		golden := name(".backup")
		if *update && of == format {
			path := goldenStore(t, t.TempDir(), Options{})
			s, err := Open(t.Context(), path, Options{Project: "shop"})
			must(t, err)
			var b bytes.Buffer
			must(t, s.Backup(t.Context(), &b, pass))
			must(t, os.WriteFile(golden, b.Bytes(), 0o644))
		}
		data, err := os.ReadFile(golden)
		must(t, err)
		path := filepath.Join(t.TempDir(), "store")
		must(t, restore(t.Context(), path, Options{Project: "shop"}, recommended(), bytes.NewReader(data), pass, false))
		same(t, ofFormat(1, of), loaded(t, opened(t, path, Options{})))
	})
}

// goldenStore writes a store with the costs that users have, and copies it to golden.
func goldenStore(t *testing.T, golden string, o Options) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "store")
	o.Writer, o.Project = true, "shop"
	s, err := Open(t.Context(), path, o)
	must(t, err)
	must(t, s.Commit(t.Context(), with(1)))
	must(t, s.Close())
	must(t, os.MkdirAll(golden, 0o755))
	for _, file := range []string{"state", "store.json"} {
		data, err := os.ReadFile(filepath.Join(path, file))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(golden, file), data, 0o644))
	}
	return path
}
