package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// unchanged ends the test if a call changed anything in the scene's folder.
func (s scene) unchanged(do func()) {
	s.t.Helper()
	before := tree(s.t, s.dir)
	do()
	if diff := cmp.Diff(before, tree(s.t, s.dir)); diff != "" {
		s.t.Errorf("changed (-before +after):\n%s", diff)
	}
}

// refuses calls everything that opens the store: each exits with 1, says why, and writes nothing.
func (s scene) refuses(texts ...string) {
	s.t.Helper()
	for _, args := range [][]string{{"plan"}, {"apply"}, {"status"}, {"rotate", "identity/web"}, {"adopt", "web"}, {"apply", "--prune=all"}} {
		s.unchanged(func() {
			s.t.Helper()
			s.says(s.want(exitNothing, args...), texts...)
		})
	}
}

// TestLostStore removes the store under placed files: nothing is made anew, and a backup brings all of it back.
func TestLostStore(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.vars = map[string]string{backupEnv: "correct horse"}
	s.spec("directory: ./certs")
	s.want(exitDone, "apply")
	backup := filepath.Join(t.TempDir(), "backup")
	s.want(exitDone, "backup", backup)
	before := tree(t, s.certs)
	store := filepath.Join(s.dir, ".certwright")
	if err := os.RemoveAll(store); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"plan"}, {"apply"}, {"status"}, {"apply", "--init-store"}} {
		s.unchanged(func() {
			s.says(s.want(exitNothing, args...), "the store is lost", "certwright restore", "hidden names too (..data, ..certwright-*)")
		})
	}
	// What only makes sense beside a store makes none either.
	for _, args := range [][]string{{"rotate", "identity/web"}, {"adopt", "web"}, {"adopt", "web", "--defer"}} {
		s.unchanged(func() { s.want(exitNothing, args...) })
	}

	s.want(exitDone, "restore", backup)
	s.want(exitDone, "plan", "--exit-code")
	s.want(exitDone, "apply")
	if diff := cmp.Diff(before, tree(t, s.certs)); diff != "" {
		t.Errorf("the places changed (-before +after):\n%s", diff)
	}
}

// TestThrowAwayRunner is CI, where a store that is not there is more likely forgotten than new.
func TestThrowAwayRunner(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.vars = map[string]string{"CI": "true"}
	s.spec("directory: ./certs")
	s.unchanged(func() {
		s.says(s.want(exitNothing, "apply"), "CI is set", "--init-store")
		s.want(exitPending, "plan", "--exit-code")
	})
	s.want(exitDone, "apply", "--init-store")
	s.want(exitDone, "plan", "--exit-code")
	s.want(exitDone, "apply") // now there is one
}

// TestDamagedStore opens the store with what does not fit it: nothing is decided, and nothing is written.
func TestDamagedStore(t *testing.T) {
	t.Parallel()
	for name, sealed := range map[string]string{"plain": "", "sealed": "\nstore: {passphrase: {env: STORE_PASSPHRASE}}\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.vars = map[string]string{"STORE_PASSPHRASE": "correct horse"}
			s.spec("directory: ./certs")
			s.replace("project: scene\n", "project: scene\n"+sealed)
			s.want(exitDone, "apply")
			if sealed != "" {
				s.vars["STORE_PASSPHRASE"] = "wrong horse"
				s.refuses("passphrase")
				s.vars["STORE_PASSPHRASE"] = "correct horse"
			}
			path := filepath.Join(s.dir, ".certwright", "state")
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			head := strings.IndexByte(string(whole), '\n')
			for _, at := range []int{0, head / 2, head, head + 1, head + 40, len(whole) / 2, len(whole) - 1} {
				damaged := append([]byte(nil), whole...)
				damaged[at] ^= 0x20
				s.damage(path, damaged)
				s.unchanged(func() { s.says(s.want(exitNothing, "apply"), path) })
			}
			for _, size := range []int{0, 1, head, len(whole) / 2, len(whole) - 1} {
				s.damage(path, whole[:size])
				s.unchanged(func() { s.says(s.want(exitNothing, "apply"), path) })
			}
			if err := os.Remove(path); err != nil { // store.json is still there
				t.Fatal(err)
			}
			s.refuses(path)
			s.damage(path, whole)
			s.want(exitDone, "plan", "--exit-code")
		})
	}
}

func (s scene) damage(path string, data []byte) {
	s.t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		s.t.Fatal(err)
	}
}
