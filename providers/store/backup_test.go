package store

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/reconcile"
)

var backupPass = []byte("open sesame, backup")

// backupOf is a backup of a store that holds state after n commits.
func backupOf(t *testing.T, state reconcile.State, n int) []byte {
	t.Helper()
	s := opened(t, filepath.Join(t.TempDir(), "store"), Options{Writer: true})
	for range n {
		must(t, s.Commit(t.Context(), state))
	}
	return backedUp(t, s)
}

func backedUp(t *testing.T, s *Store) []byte {
	t.Helper()
	var b bytes.Buffer
	must(t, s.Backup(t.Context(), &b, backupPass))
	return b.Bytes()
}

// restoring restores over path, as a store of kind o, and closes it.
func restoring(t *testing.T, path string, o Options, backup []byte, force bool) error {
	t.Helper()
	if o.Project == "" {
		o.Project = "shop"
	}
	return restore(t.Context(), path, o, cheap, bytes.NewReader(backup), backupPass, force)
}

func restore(ctx context.Context, path string, o Options, c costs, backup io.Reader, passphrase []byte, force bool) error {
	o.Writer = true
	s, err := open(ctx, path, o, c)
	if err != nil {
		return err
	}
	defer s.Close()
	return s.Restore(ctx, backup, passphrase, force)
}

func TestBackupAndRestoreOnABareHost(t *testing.T) {
	for from, a := range kinds {
		for to, b := range kinds {
			t.Run(from+" to "+to, func(t *testing.T) {
				s := opened(t, made(t, a), a)
				backup := backedUp(t, s)
				path := filepath.Join(t.TempDir(), "new", "store")
				must(t, restoring(t, path, b, backup, false))
				s = opened(t, path, b)
				same(t, with(1), loaded(t, s))
				must(t, s.Commit(t.Context(), with(2)))
				same(t, with(2), loaded(t, s))
			})
		}
	}
}

func TestBackupIsAlwaysSealed(t *testing.T) {
	s := opened(t, made(t, Options{Writer: true}), Options{Writer: true})
	for _, empty := range [][]byte{nil, {}} {
		var b bytes.Buffer
		refused(t, s.Backup(t.Context(), &b, empty), "passphrase")
		if b.Len() > 0 {
			t.Error("something was written")
		}
	}
	unspoken(t, "backup", backedUp(t, s), with(1))
}

func TestRestoreReplacesNothingUnasked(t *testing.T) {
	const force = true
	foreign := with(3)
	foreign.Installation = "another"
	cases := map[string]struct {
		there  func(t *testing.T) string
		words  []string // of the refusal without force; none: it is done
		forced []string // of the refusal with force; none: it is done
	}{
		"nothing": {
			there: func(t *testing.T) string { return filepath.Join(t.TempDir(), "store") },
		},
		"older": {
			there: func(t *testing.T) string { return stored(t, with(2), 1) },
			words: []string{"there already", "generation 1", "backup has 3", "--force"},
		},
		"newer": {
			there: func(t *testing.T) string { return stored(t, with(2), 5) },
			words: []string{"newer (generation 5)", "backup (generation 3)", "--force", "forgotten"},
		},
		"another installation": {
			there: func(t *testing.T) string { return stored(t, foreign, 1) },
			words: []string{"another installation", "--force"},
		},
		"lost": {
			there: func(t *testing.T) string {
				path := stored(t, with(2), 1)
				must(t, os.Remove(filepath.Join(path, "state")))
				return path
			},
		},
		"lost, another installation": {
			there: func(t *testing.T) string {
				path := stored(t, foreign, 1)
				must(t, os.Remove(filepath.Join(path, "state")))
				return path
			},
			words: []string{"lost", "another one", "--force"},
		},
		"damaged": {
			there: func(t *testing.T) string {
				path := stored(t, with(2), 1)
				must(t, os.WriteFile(filepath.Join(path, "state"), []byte("?"), 0o600))
				return path
			},
			words: []string{"state", "header", "--force"},
		},
		"store.json damaged": {
			there: func(t *testing.T) string {
				path := stored(t, with(2), 1)
				must(t, os.WriteFile(filepath.Join(path, "store.json"), []byte("?"), 0o600))
				return path
			},
			words: []string{"store.json", "header", "--force"},
		},
		"open to others": {
			there: func(t *testing.T) string {
				path := stored(t, with(2), 1)
				must(t, os.Chmod(path, 0o755))
				return path
			},
			words: []string{"chmod"}, forced: []string{"chmod"},
		},
		"of a newer version": {
			there: func(t *testing.T) string {
				path := stored(t, with(2), 1)
				must(t, os.WriteFile(filepath.Join(path, "state"), []byte(`{"certwright":"state","format":9}`+"\n"), 0o600))
				return path
			},
			words: []string{"newer certwright"}, forced: []string{"newer certwright"},
		},
		"no store": {
			there: func(t *testing.T) string {
				path := t.TempDir()
				must(t, os.WriteFile(filepath.Join(path, "tls.yaml"), nil, 0o600))
				return path
			},
			words: []string{"no store", "tls.yaml"}, forced: []string{"no store", "tls.yaml"},
		},
	}
	backup := backupOf(t, with(1), 3)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			for _, forced := range []bool{!force, force} {
				path := c.there(t)
				before := map[string]string{}
				if _, err := os.Stat(path); err == nil {
					before = content(t, path)
				}
				words := c.words
				if forced {
					words = c.forced
				}
				err := restoring(t, path, Options{}, backup, forced)
				if words == nil {
					must(t, err)
					same(t, with(1), loaded(t, opened(t, path, Options{})))
					continue
				}
				refused(t, err, words...)
				if d := cmp.Diff(before, content(t, path)); d != "" {
					t.Errorf("it was changed:\n%s", d)
				}
			}
		})
	}
}

// stored is the path of a store that holds state after n commits.
func stored(t *testing.T, state reconcile.State, n int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "store")
	s := opened(t, path, Options{Writer: true})
	for range n {
		must(t, s.Commit(t.Context(), state))
	}
	must(t, s.Close())
	return path
}

func TestRestoreRaisesTheGeneration(t *testing.T) {
	backup := backupOf(t, with(1), 3)
	path := stored(t, with(2), 5)
	must(t, restoring(t, path, Options{}, backup, true))
	s := opened(t, path, Options{})
	loaded(t, s)
	if g := s.seen.header.Generation; g != 1005 {
		t.Errorf("generation %d, want 1005", g)
	}
	refused(t, restoring(t, path, Options{}, backup, false), "newer (generation 1005)")
}

func TestRestoreWaitsForTheWriter(t *testing.T) {
	path := stored(t, with(2), 1)
	s := opened(t, path, Options{Writer: true})
	backup := bytes.NewReader(backupOf(t, with(1), 3))
	err := restore(shortly(t), path, Options{Project: "shop"}, cheap, backup, backupPass, true)
	refused(t, err, "another certwright is at work")
	same(t, with(2), loaded(t, s))
}

func TestBadBackupsChangeNothing(t *testing.T) {
	good := backupOf(t, with(1), 3)
	state, err := os.ReadFile(filepath.Join(stored(t, with(1), 1), "state"))
	must(t, err)
	plain := bytes.Replace(state, []byte(`"state"`), []byte(`"backup"`), 1)
	cases := map[string][]byte{"empty": nil, "a state": state, "not sealed": plain, "longer": append(bytes.Clone(good), 0)}
	for i := 0; i < len(good); i += 64 {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		cases["flipped "+string(rune('A'+i/64))] = bad
		cases["cut "+string(rune('A'+i/64))] = good[:i]
	}
	path := filepath.Join(t.TempDir(), "store")
	for name, bad := range cases {
		t.Run(name, func(t *testing.T) {
			refused(t, restoring(t, path, Options{}, bad, true), "backup")
		})
	}
	err = restore(t.Context(), path, Options{Project: "shop"}, cheap, bytes.NewReader(good), []byte("wrong"), true)
	refused(t, err, "backup", "passphrase")
	err = restore(t.Context(), path, Options{Project: "shop"}, cheap, bytes.NewReader(good), nil, true)
	refused(t, err, "backup", "passphrase is empty")
	refused(t, restoring(t, path, Options{Project: "blog"}, good, true), `"shop"`, `"blog"`)
	err = restore(t.Context(), path, Options{}, cheap, endless{}, backupPass, true)
	refused(t, err, "backup", "too large")
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Error("a directory was made")
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestBackupThatCannotBeWritten(t *testing.T) {
	s := opened(t, made(t, Options{Writer: true}), Options{})
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	must(t, err)
	defer full.Close()
	err = s.Backup(t.Context(), full, backupPass)
	refused(t, err, "backup", "no space")
	if strings.Contains(err.Error(), string(backupPass)) {
		t.Error("the passphrase is in the error")
	}
}
