package store

import (
	"os"
	"path/filepath"
	"testing"
)

// TestProved loads a file twice, and is given the same state; one whose last byte is another one is proved anew, and refused.
func TestProved(t *testing.T) {
	for name, o := range kinds {
		t.Run(name, func(t *testing.T) {
			path := made(t, o)
			s := opened(t, path, o)
			same(t, with(1), loaded(t, s))
			if _, known := s.last.of(found{stamp: s.seen.stamp}); known {
				t.Error("it knows a file of which it saw the beginning alone")
			}
			same(t, with(1), loaded(t, s))

			file := filepath.Join(path, stateFile)
			data, err := os.ReadFile(file)
			must(t, err)
			data[len(data)-1] ^= 1
			must(t, os.WriteFile(file, data, 0o600))
			if _, err := s.Load(t.Context()); err == nil {
				t.Error("what was altered behind its checksum was loaded")
			}
			data[len(data)-1] ^= 1
			must(t, os.WriteFile(file, data, 0o600))
			same(t, with(1), loaded(t, s))

			must(t, s.Commit(t.Context(), with(2)))
			same(t, with(2), loaded(t, s))
		})
	}
}
