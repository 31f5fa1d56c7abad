package files

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/reconcile"
)

// flows are the ways a place changes: from what before leaves, by what doing does, to what wanted says.
var flows = map[string]struct {
	before func(t *testing.T, dir string)
	doing  func(l Local, dir string) error
	after  func(t *testing.T, dir string) // does the same once more, undisturbed, and looks
}{
	"first atomic":             change(nil, nil),
	"first plain":              change(nil, []edit{plain}),
	"second atomic":            change([]edit{}, []edit{renamed}),
	"second plain":             change([]edit{plain}, []edit{plain, renamed}),
	"second in place":          change([]edit{plain}, []edit{inPlace}),
	"atomic to plain":          change([]edit{}, []edit{plain, renamed}),
	"plain to atomic":          change([]edit{plain}, []edit{renamed}),
	"adopt atomic":             adopting(adopt),
	"adopt plain":              adopting(adopt, plain),
	"adopt in place":           adopting(adopt, inPlace),
	"remove atomic":            removing(),
	"remove plain":             removing(plain),
	"first with folders":       change(nil, []edit{plain, nested}),
	"second with folders":      change([]edit{plain, nested}, []edit{plain, renamed, nested}),
	"plain to folders":         change([]edit{plain}, []edit{plain, nested}),
	"adopt with folders":       adopting(adopt, plain, nested),
	"adopt elsewhere":          adopting(adopt, plain, elsewhere),
	"remove with folders":      removing(plain, nested),
	"first atomic in a folder": change(nil, []edit{func(u *reconcile.Unit) { u.At.Dir, u.At.Sub = filepath.Dir(u.At.Dir), filepath.Base(u.At.Dir) }}),
}

type (
	edit = func(*reconcile.Unit)
	flow = struct {
		before func(t *testing.T, dir string)
		doing  func(l Local, dir string) error
		after  func(t *testing.T, dir string)
	}
)

func writeOne(l Local, u reconcile.Unit) error {
	return l.Write(context.Background(), []reconcile.Unit{u})[0]
}

// change writes version 2 where version 1 is; nil for nothing.
func change(from, to []edit) flow {
	return flow{
		before: func(t *testing.T, dir string) {
			if from != nil {
				write(t, local(unsynced), unit(dir, "0", from...))
				write(t, local(unsynced), unit(dir, "1", from...))
			}
		},
		doing: func(l Local, dir string) error { return writeOne(l, unit(dir, "2", to...)) },
		after: func(t *testing.T, dir string) {
			u := unit(dir, "2", to...)
			write(t, local(unsynced), u)
			if u.At.Sub != "" {
				u.At.Dir, u.At.Sub = dir, ""
			}
			placed(t, u)
			if u.Old != nil {
				if _, err := os.Lstat(filepath.Join(dir, u.Old[0])); err == nil {
					t.Fatalf("%s stayed", u.Old[0])
				}
			}
		},
	}
}

func adopting(to ...edit) flow {
	f := change(nil, to)
	f.before = func(t *testing.T, dir string) {
		must(t, os.Mkdir(dir, 0o755))
		for _, name := range names(unit(dir, "", to...))[1:] {
			must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
			must(t, os.WriteFile(filepath.Join(dir, name), []byte("theirs "+filepath.Base(name)), 0o640))
		}
	}
	after := f.after
	f.after = func(t *testing.T, dir string) {
		after(t, dir)
		for _, name := range []string{"cert.pem", "key.pem"} {
			copies, err := filepath.Glob(filepath.Join(dir, backupPrefix+"*", name+"*"))
			must(t, err)
			if u := unit(dir, "", to...); u.Backups != "" {
				if len(copies) > 0 {
					t.Fatalf("%v are in the place", copies)
				}
				copies, err = filepath.Glob(filepath.Join(u.Backups, "*", name+"*"))
				must(t, err)
			}
			if len(copies) == 0 {
				t.Fatalf("%s is in no backup", name)
			}
			for _, path := range copies {
				if data, err := os.ReadFile(path); err != nil || string(data) != "theirs "+name && path == copies[0] {
					t.Fatalf("the backup of %s holds %q, %v", name, data, err)
				}
			}
		}
	}
	return f
}

func removing(from ...edit) flow {
	return flow{
		before: change(append([]edit{}, from...), nil).before,
		doing:  func(l Local, dir string) error { return remove(l, unit(dir, "1", from...)) },
		after: func(t *testing.T, dir string) {
			must(t, remove(local(unsynced), unit(dir, "1", from...)))
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Fatalf("left: %v, %v", left, err)
			}
		},
	}
}

var errInjected = errors.New("injected")

// fault disturbs the effect number at.
type fault struct {
	at   int
	kind string
	dir  string // the place, for the power failure

	mu   sync.Mutex
	n    int // effects so far
	dead bool
}

func (f *fault) around(what string, do func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead { // a dead process has no effects, not even deferred ones
		return errInjected
	}
	here := f.n == f.at
	f.n++
	if !here {
		return unsynced(what, do)
	}
	switch f.kind {
	case "refused":
		return errInjected
	case "reply lost":
		_ = do()
		return errInjected
	case "killed after":
		_ = do()
	case "power failed":
		f.loseUnsynced()
	}
	f.dead = true
	return errInjected
}

// loseUnsynced empties the files that are staged: their names were written, their content was not.
func (f *fault) loseUnsynced() {
	current, _ := os.Readlink(filepath.Join(f.dir, dataName))
	manifest, _ := os.ReadFile(filepath.Join(f.dir, current, manifestName))
	staged, _ := filepath.Glob(filepath.Join(f.dir, prefix+"????????"))
	for _, generation := range staged {
		name := filepath.Base(generation)
		if name == current || strings.Contains(string(manifest), name) {
			continue
		}
		files, _ := os.ReadDir(generation)
		for _, file := range files {
			_ = os.Truncate(filepath.Join(generation, file.Name()), 0)
		}
	}
}

// run does something until it ends or the process would have.
func (f *fault) run(dir string, do func(l Local, dir string) error) error {
	return do(local(f.around), dir)
}

// TestEveryCrash disturbs every flow at every effect in every way, and for some the recovery at every effect too.
func TestEveryCrash(t *testing.T) {
	root := inMemory(t)
	runs := 0
	for name, fl := range flows {
		next := func(t *testing.T) string {
			t.Helper()
			runs++
			dir := filepath.Join(root, fmt.Sprint(runs), "place")
			must(t, os.MkdirAll(filepath.Dir(dir), 0o755))
			fl.before(t, dir)
			return dir
		}
		calm := &fault{at: -1}
		must(t, calm.run(next(t), fl.doing))
		synced := firstSync(t, next(t), fl.doing)
		for i := range calm.n {
			kinds := []string{"refused", "reply lost", "killed before", "killed after"}
			if i <= synced {
				kinds = append(kinds, "power failed")
			}
			for _, kind := range kinds {
				t.Run(fmt.Sprintf("%s/%d %s", name, i, kind), func(t *testing.T) {
					dir := next(t)
					f := &fault{at: i, kind: kind, dir: dir}
					if err := f.run(dir, fl.doing); err == nil {
						t.Error("nobody said that something went wrong")
					}
					neverMixed(t, dir)
					fl.after(t, dir)
				})
			}
			if !slices.Contains([]string{"second atomic", "second plain", "adopt atomic"}, name) {
				continue
			}
			t.Run(fmt.Sprintf("%s/%d killed twice", name, i), func(t *testing.T) {
				for j := range calm.n {
					dir := next(t)
					_ = (&fault{at: i, kind: "killed after", dir: dir}).run(dir, fl.doing)
					_ = (&fault{at: j, kind: "killed after", dir: dir}).run(dir, fl.doing)
					neverMixed(t, dir)
					fl.after(t, dir)
				}
			})
		}
		t.Logf("%s: %d effects", name, calm.n)
	}
	t.Logf("%d runs", runs)
}

// firstSync is the number of the effect that makes durable what is staged, or -1.
func firstSync(t *testing.T, dir string, do func(l Local, dir string) error) int {
	first, n, staged := -1, 0, false
	var mu sync.Mutex
	must(t, do(local(func(what string, do func() error) error {
		mu.Lock()
		defer mu.Unlock()
		staged = staged || strings.HasPrefix(what, "create "+manifestName)
		if first < 0 && staged && strings.HasPrefix(what, "sync") {
			first = n
		}
		n++
		return do()
	}), dir))
	return first
}

// neverMixed reads the files of a place through one handle of ..data, as a careful server does.
func neverMixed(t *testing.T, dir string) {
	t.Helper()
	seen := map[string]bool{}
	all, _ := filepath.Glob(filepath.Join(dir, dataName, "*.pem"))
	for _, path := range all {
		data, err := os.ReadFile(path)
		must(t, err)
		_, version, _ := strings.Cut(string(data), " ")
		seen[version] = true
	}
	if len(all) != 0 && len(all) != 3 || len(seen) > 1 {
		t.Fatalf("through ..data: %q of versions %v", all, seen)
	}
}

// TestAfterEveryCrashReadSeesWhatIsMissing: whatever is cut off, either Read differs from what is wanted, so that
// the next pass writes again, or a reader gets all of it.
func TestAfterEveryCrashReadSeesWhatIsMissing(t *testing.T) {
	root := inMemory(t)
	for name, edits := range map[string][]edit{"atomic": {}, "plain": {plain}, "to plain": {plain}, "to atomic": {}} {
		for i := 0; ; i++ {
			dir := filepath.Join(root, fmt.Sprint(name, i))
			if name == "to plain" {
				write(t, local(unsynced), unit(dir, "1"))
			}
			if name == "to atomic" {
				write(t, local(unsynced), unit(dir, "1", plain))
			}
			u := unit(dir, "1", edits...) // the same content: only Read's Layout can tell
			f := &fault{at: i, kind: "killed before"}
			done := f.run(dir, func(l Local, _ string) error { return writeOne(l, u) }) == nil
			if cmp.Equal(whole(u), read(u)) {
				manifest, plainErr := os.ReadFile(filepath.Join(dir, manifestName))
				_, atomicErr := os.Lstat(filepath.Join(dir, dataName))
				if (atomicErr == nil) == (plainErr == nil) || strings.Contains(string(manifest), "unfinished") {
					t.Errorf("%s, before effect %d: read as whole, but it is not finished", name, i)
				}
			}
			if done {
				placed(t, u)
				break
			}
		}
	}
}
