package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// TestWrite replaces a file, and has each effect of that refused, and its reply lost.
func TestWrite(t *testing.T) {
	defer unix.Umask(unix.Umask(0o077))
	order := []string{"create .new", "sync .new", "rename f", "sync ."}
	for at := range order {
		for _, done := range []bool{false, true} {
			dir, path := open(t)
			must(t, dir.Create("f", []byte("old"), 0o600, -1, -1))
			broken := errors.New("broken")
			var effects []string
			dir.around = func(what string, do func() error) error {
				effects = append(effects, what)
				if len(effects) != at+1 {
					return do()
				}
				if done {
					must(t, do())
				}
				return broken
			}
			wants(t, dir.Write("f", ".new", []byte("new"), 0o644), broken)
			if !slices.Equal(effects[:at+1], order[:at+1]) {
				t.Errorf("the effects are %v", effects)
			}
			want := "old"
			if at > 2 || at == 2 && done {
				want = "new"
			}
			if data, _ := os.ReadFile(filepath.Join(path, "f")); string(data) != want {
				t.Errorf("%s, done: %v: the file holds %q, want %q", order[at], done, data, want)
			}
			names, err := dir.Names()
			must(t, err)
			if diff := cmp.Diff([]string{"f"}, names); diff != "" {
				t.Errorf("%s, done: %v: %s", order[at], done, diff)
			}
		}
	}

	dir, path := open(t)
	must(t, dir.Create(".new", []byte("mine"), 0o600, -1, -1))
	wants(t, dir.Write("f", ".new", []byte("new"), 0o644), fs.ErrExist)
	if data, _ := os.ReadFile(filepath.Join(path, ".new")); string(data) != "mine" {
		t.Errorf("what was there holds %q", data)
	}
	must(t, dir.Write("f", ".other", []byte("new"), 0o644))
	if st, err := os.Stat(filepath.Join(path, "f")); err != nil || st.Mode() != 0o644 {
		t.Errorf("%v, %v", st, err)
	}
}
