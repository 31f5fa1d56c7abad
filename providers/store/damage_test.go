package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/disk"
	"github.com/certwright/certwright/reconcile"
)

// kinds are the two kinds of stores.
var kinds = map[string]Options{
	"plain":  {Writer: true},
	"sealed": {Writer: true, Passphrase: []byte("open sesame")},
}

// made is the path of a store that holds with(1).
func made(t *testing.T, o Options) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "store")
	s := opened(t, path, o)
	must(t, s.Commit(t.Context(), with(1)))
	must(t, s.Close())
	return path
}

// content is every file of a directory.
func content(t *testing.T, path string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(path)
	must(t, err)
	files := map[string]string{}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(path, e.Name()))
		must(t, err)
		files[e.Name()] = string(data)
	}
	return files
}

// closed fails the test unless a store is an error to every use but Restore, and stays as it is.
func closed(t *testing.T, path string, o Options, words ...string) {
	t.Helper()
	before := content(t, path)
	o.Disk.Around = func(what string, do func() error) error {
		if what != "create lock" && what != "lock lock" { // neither changes what is there
			t.Errorf("effect: %s", what)
		}
		return do()
	}
	s := opened(t, path, o)
	defer s.Close()
	state, err := s.Load(t.Context())
	refused(t, err, words...)
	if errors.Is(err, reconcile.ErrNoStore) || state.CAs != nil {
		t.Errorf("it counts as empty: %v", err)
	}
	if err := s.Commit(t.Context(), with(2)); err == nil {
		t.Error("a commit replaced it")
	}
	if err := s.Reseal(t.Context(), nil); err == nil {
		t.Error("a new passphrase replaced it")
	}
	var backup bytes.Buffer
	if err := s.Backup(t.Context(), &backup, []byte("b")); err == nil || backup.Len() > 0 {
		t.Error("it was backed up")
	}
	if d := cmp.Diff(before, content(t, path)); d != "" {
		t.Errorf("it was changed:\n%s", d)
	}
}

func TestEveryFlippedBitIsSeen(t *testing.T) {
	for name, o := range kinds {
		t.Run(name, func(t *testing.T) {
			path := made(t, o)
			file := filepath.Join(path, "state")
			good, err := os.ReadFile(file)
			must(t, err)
			reader := o
			reader.Writer = false
			for i := range good {
				bad := bytes.Clone(good)
				bad[i] ^= 1 << (i % 8)
				must(t, os.WriteFile(file, bad, 0o600))
				if i%64 == 0 {
					closed(t, path, o, file)
				}
				if _, err := opened(t, path, reader).Load(t.Context()); err == nil || errors.Is(err, reconcile.ErrNoStore) {
					t.Errorf("byte %d: got %v", i, err)
				}
			}
		})
	}
}

func TestTruncatedAndExtended(t *testing.T) {
	for name, o := range kinds {
		t.Run(name, func(t *testing.T) {
			path := made(t, o)
			file := filepath.Join(path, "state")
			good, err := os.ReadFile(file)
			must(t, err)
			for n := 0; n < len(good); n += 1 + n/8 {
				must(t, os.WriteFile(file, good[:n], 0o600))
				closed(t, path, o, file)
			}
			must(t, os.WriteFile(file, append(bytes.Clone(good), 0), 0o600))
			closed(t, path, o, file)
			must(t, os.WriteFile(file, make([]byte, len(good)), 0o600))
			closed(t, path, o, file, "damaged", "restore")
		})
	}
}

func TestWhatIsNotAWholeStoreOfOurs(t *testing.T) {
	state := func(path string) string { return filepath.Join(path, "state") }
	cases := map[string]struct {
		spoil func(t *testing.T, path string)
		words []string
	}{
		"state is missing": {
			func(t *testing.T, path string) { must(t, os.Remove(state(path))) },
			[]string{"state", "missing", "restore"},
		},
		"state is a link": {
			func(t *testing.T, path string) {
				elsewhere := filepath.Join(t.TempDir(), "state")
				must(t, os.Rename(state(path), elsewhere))
				must(t, os.Symlink(elsewhere, state(path)))
			},
			[]string{"state", "not a regular file"},
		},
		"state of another installation": {
			func(t *testing.T, path string) {
				other := filepath.Join(t.TempDir(), "other")
				w := opened(t, other, Options{Writer: true})
				must(t, w.Commit(t.Context(), reconcile.State{}))
				data, err := os.ReadFile(state(other))
				must(t, err)
				must(t, os.WriteFile(state(path), data, 0o600))
			},
			[]string{"state", "another installation", "restore"},
		},
		"store.json damaged": {
			func(t *testing.T, path string) {
				must(t, os.WriteFile(filepath.Join(path, "store.json"), []byte("{}\n"), 0o600))
			},
			[]string{"store.json", "damaged", "restore"},
		},
		"written by a newer version": {
			func(t *testing.T, path string) {
				must(t, os.WriteFile(state(path), fmt.Appendf(nil, "{\"certwright\":\"state\",\"format\":%d,\"seal\":7}\n", format+1), 0o600))
			},
			[]string{"state", "newer certwright", fmt.Sprint("format ", format+1)},
		},
		"a backup put in its place": {
			func(t *testing.T, path string) {
				data, err := os.ReadFile(state(path))
				must(t, err)
				must(t, os.WriteFile(state(path), bytes.Replace(data, []byte(`"state"`), []byte(`"backup"`), 1), 0o600))
			},
			[]string{"a certwright \"backup\", not a state"},
		},
		"state is readable by a group": {
			func(t *testing.T, path string) { must(t, os.Chmod(state(path), 0o640)) },
			[]string{"state", "0640", "chmod 0600 "},
		},
		"directory is open to others": {
			func(t *testing.T, path string) { must(t, os.Chmod(path, 0o755)) },
			[]string{"0755", "chmod 0700 "},
		},
		"directory can be entered by all": {
			func(t *testing.T, path string) { must(t, os.Chmod(path, 0o701)) },
			[]string{"0701", "chmod 0700 "},
		},
		"too large": {
			func(t *testing.T, path string) { must(t, os.Truncate(state(path), maxHeader+maxDocument+1)) },
			[]string{"state", "too large"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			path := made(t, Options{Writer: true})
			c.spoil(t, path)
			if name == "too large" {
				_, err := opened(t, path, Options{}).Load(t.Context())
				refused(t, err, c.words...)
				return
			}
			closed(t, path, Options{Writer: true}, c.words...)
		})
	}
}

func TestAnotherProject(t *testing.T) {
	path := made(t, Options{Writer: true})
	closed(t, path, Options{Writer: true, Project: "blog"}, "state", `"shop"`, `"blog"`)
}

func TestADirectoryOfSomeoneElse(t *testing.T) {
	path := t.TempDir()
	must(t, os.WriteFile(filepath.Join(path, "tls.yaml"), nil, 0o644))
	closed(t, path, Options{Writer: true}, path, "tls.yaml")
	must(t, os.Remove(filepath.Join(path, "tls.yaml")))
	must(t, os.Chmod(path, 0o750))
	closed(t, path, Options{Writer: true}, path, "chmod 0700")
}

// TestHostileCosts has headers that would take much memory or time if they were believed.
func TestHostileCosts(t *testing.T) {
	good := seal{KDF: kdfName, Salt: make([]byte, saltSize), Cipher: cipherName, Nonce: make([]byte, 24), costs: cheap}
	for name, change := range map[string]func(*seal){
		"memory":      func(s *seal) { s.Memory = 64<<10 + 1 },
		"little":      func(s *seal) { s.Memory = 7 },
		"time":        func(s *seal) { s.Time = 4 },
		"no time":     func(s *seal) { s.Time = 0 },
		"threads":     func(s *seal) { s.Threads, s.Memory = 5, 64 },
		"no threads":  func(s *seal) { s.Threads = 0 },
		"no salt":     func(s *seal) { s.Salt = nil },
		"long salt":   func(s *seal) { s.Salt = make([]byte, 1000) },
		"short nonce": func(s *seal) { s.Nonce = s.Nonce[1:] },
		"other kdf":   func(s *seal) { s.KDF = "scrypt" },
		"cipher":      func(s *seal) { s.Cipher = "rot13" },
	} {
		t.Run(name, func(t *testing.T) {
			o := kinds["sealed"]
			path := made(t, o)
			s := good
			change(&s)
			line, err := header{Certwright: kindState, Format: 1, Installation: with(1).Installation, Project: "shop", Generation: 1, Seal: &s}.line()
			must(t, err)
			must(t, os.WriteFile(filepath.Join(path, "state"), append(line, make([]byte, 100)...), 0o600))
			closed(t, path, o, "state is damaged")
		})
	}
}

// TestOldStatePutBack pins what the package comment admits: an older file of the same store opens.
func TestOldStatePutBack(t *testing.T) {
	for name, o := range kinds {
		t.Run(name, func(t *testing.T) {
			path := made(t, o)
			file := filepath.Join(path, "state")
			old, err := os.ReadFile(file)
			must(t, err)
			s := opened(t, path, o)
			loaded(t, s)
			must(t, s.Commit(t.Context(), with(2)))
			must(t, os.WriteFile(file, old, 0o600))
			refused(t, s.Commit(t.Context(), with(3)), "changed since it was read")
			same(t, with(1), loaded(t, s))

			// But no mixture of two generations opens.
			must(t, s.Commit(t.Context(), with(4)))
			now, err := os.ReadFile(file)
			must(t, err)
			cut := bytes.IndexByte(old, '\n') + 1
			mixed := append(bytes.Clone(now[:bytes.IndexByte(now, '\n')+1]), old[cut:]...)
			must(t, os.WriteFile(file, mixed, 0o600))
			must(t, s.Close())
			closed(t, path, o, file)
		})
	}
}

func TestAFullDiskKeepsTheOldState(t *testing.T) {
	path := made(t, Options{Writer: true})
	refuse := errors.New("no space left on device")
	s := opened(t, path, Options{Writer: true, Disk: disk.Disk{Around: func(what string, do func() error) error {
		if what == "create "+stateFile+fresh {
			return refuse
		}
		return do()
	}}})
	loaded(t, s)
	if err := s.Commit(t.Context(), with(2)); !errors.Is(err, refuse) {
		t.Fatalf("got %v", err)
	}
	same(t, with(1), loaded(t, s))
	if _, err := os.Stat(filepath.Join(path, "state.new")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a file is left over")
	}
}
