package store

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/reconcile"
)

var errInjected = errors.New("injected")

// ends are the ways an effect can end other than well. A panic stands for a killed process: the deferred Close of a
// story frees the lock, as the kernel does.
var ends = map[string]func(do func() error) error{
	"refused":      func(func() error) error { return errInjected },
	"reply lost":   func(do func() error) error { _ = do(); return errInjected },
	"crash before": func(func() error) error { panic(errInjected) },
	"crash after":  func(do func() error) error { _ = do(); panic(errInjected) },
}

// story is something that changes a store.
type story struct {
	o    Options
	old  *reconcile.State // what is there before; nil: no store
	do   func(t *testing.T, path string, o Options) error
	new  reconcile.State
	pass []byte // what opens the new state, if not the passphrase of o
	lost bool   // a crash may leave a store that is known to have lost its state
}

func stories(t *testing.T) map[string]story {
	one, two, foreign := with(1), with(2), with(3)
	foreign.Installation = "another"
	sealed, plain := kinds["sealed"], kinds["plain"]
	backup := backupOf(t, two, 1)
	restores := func(t *testing.T, path string, o Options) error {
		return restore(t.Context(), path, o, cheap, bytes.NewReader(backup), backupPass, true)
	}
	return map[string]story{
		"create":               {o: plain, do: commits, new: two},
		"create sealed":        {o: sealed, do: commits, new: two},
		"commit":               {o: plain, old: &one, do: commits, new: two},
		"commit sealed":        {o: sealed, old: &one, do: commits, new: two},
		"seal":                 {o: plain, old: &one, do: reseals, new: one, pass: []byte("new")},
		"reseal":               {o: sealed, old: &one, do: reseals, new: one, pass: []byte("new")},
		"restore":              {o: sealed, do: restores, new: two, lost: true},
		"restore over":         {o: sealed, old: &one, do: restores, new: two},
		"restore over another": {o: sealed, old: &foreign, do: restores, new: two},
	}
}

func commits(t *testing.T, path string, o Options) error {
	return writing(t, path, o, func(s *Store) error { return s.Commit(t.Context(), with(2)) })
}

func reseals(t *testing.T, path string, o Options) error {
	return writing(t, path, o, func(s *Store) error { return s.Reseal(t.Context(), []byte("new")) })
}

func writing(t *testing.T, path string, o Options, do func(*Store) error) error {
	s, err := open(t.Context(), path, o, cheap)
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := s.Load(t.Context()); err != nil && !errors.Is(err, reconcile.ErrNoStore) {
		return err
	}
	return do(s)
}

// start makes what is there before a story.
func (s story) start(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "store")
	if s.old != nil {
		o := s.o
		o.Disk.Around = quick
		w := opened(t, path, o)
		must(t, w.Commit(t.Context(), *s.old))
		must(t, w.Close())
	}
	return path
}

// tell has the story happen at path, with around about every effect, and reports whether it panicked.
func (s story) tell(t *testing.T, path string, around reconcile.Around) (err error, crashed bool) {
	t.Helper()
	defer func() {
		if r := recover(); r != nil {
			if r != errInjected {
				panic(r)
			}
			crashed = true
		}
	}()
	o := s.o
	o.Project, o.Disk.Around = "shop", around
	return s.do(t, path, o), false
}

// TestCrashes ends every effect of every story in every way. Afterwards the old or the new state is there, whole,
// one passphrase opens it, and the story can be told again and leaves nothing over. In the sealed ones no key is in
// clear on the disk after any effect.
func TestCrashes(t *testing.T) {
	for name, s := range stories(t) {
		t.Run(name, func(t *testing.T) {
			var effects []string
			err, _ := s.tell(t, s.start(t), func(what string, do func() error) error {
				effects = append(effects, what)
				return do()
			})
			must(t, err)
			if !slices.Contains(effects, "rename state") {
				t.Fatalf("effects are %q", effects)
			}
			for end, inject := range ends {
				for i, what := range effects {
					t.Run(fmt.Sprintf("%s/%d %s", end, i, what), func(t *testing.T) { s.crash(t, i, inject) })
				}
			}
		})
	}
}

func (s story) crash(t *testing.T, at int, inject func(func() error) error) {
	path := s.start(t)
	i := -1
	around := func(what string, do func() error) error {
		defer s.secret(t, path)
		if i++; i == at {
			return inject(do)
		}
		return quick(what, do)
	}
	err, crashed := s.tell(t, path, around)
	if i < at || !crashed && !errors.Is(err, errInjected) {
		t.Fatalf("%d effects, got error %v", i+1, err)
	}
	resealed := s.outcome(t, path)
	again := s
	if resealed {
		again.o.Passphrase = s.pass
	}
	err, _ = again.tell(t, path, quick)
	must(t, err)
	same(t, s.new, loaded(t, opened(t, path, Options{Passphrase: s.opener()})))
	names := slices.Sorted(maps.Keys(content(t, path)))
	if d := cmp.Diff([]string{".gitignore", "lock", "state", "store.json"}, names); d != "" {
		t.Errorf("other files are there than a store has:\n%s", d)
	}
}

// opener is the passphrase that opens the new state.
func (s story) opener() []byte {
	if s.pass != nil {
		return s.pass
	}
	return s.o.Passphrase
}

// outcome fails the test unless what is there is what was there before or what should be there afterwards. It
// reports whether the new passphrase opens it.
func (s story) outcome(t *testing.T, path string) (resealed bool) {
	t.Helper()
	got, err := opened(t, path, Options{Passphrase: s.o.Passphrase}).Load(t.Context())
	if err != nil && s.pass != nil {
		got, err = opened(t, path, Options{Passphrase: s.pass}).Load(t.Context())
		resealed = true
	}
	switch {
	case err == nil && s.old != nil && diff(*s.old, got) == "":
	case err == nil:
		same(t, s.new, got)
	case s.old != nil:
		t.Errorf("neither the old nor the new state is there: %v", err)
	case errors.Is(err, reconcile.ErrNoStore) || s.lost && errors.Is(err, errLost):
	default:
		t.Errorf("got %v", err)
	}
	return resealed
}

// secret fails the test if a key stands in clear in a file of a sealed store.
func (s story) secret(t *testing.T, path string) {
	t.Helper()
	if s.o.Passphrase == nil {
		return
	}
	if _, err := os.Stat(path); err != nil {
		return
	}
	for name, data := range content(t, path) {
		unspoken(t, name, []byte(data), with(1), with(2), with(3))
	}
}

// TestTheSameStoreGoesOn has no process end: after a failed effect, the same Store reads and writes on.
func TestTheSameStoreGoesOn(t *testing.T) {
	works := map[string]func(*Store) error{
		"commit": func(s *Store) error { return s.Commit(t.Context(), with(2)) },
		"reseal": func(s *Store) error { return s.Reseal(t.Context(), []byte("new")) },
	}
	for name, work := range works {
		for kind, o := range kinds {
			for _, end := range []string{"refused", "reply lost"} {
				for at := 0; ; at++ {
					path := made(t, o)
					i := -1
					failing := o
					failing.Disk.Around = func(what string, do func() error) error {
						if i++; i == at+2 { // the first two take the lock
							return ends[end](do)
						}
						return do()
					}
					s := opened(t, path, failing)
					old := loaded(t, s)
					err := work(s)
					if i < at+2 {
						break
					}
					if !errors.Is(err, errInjected) {
						t.Fatalf("%s %s, %s %d: got %v", name, kind, end, at, err)
					}
					if at%2 == 0 { // a commit needs no reading first
						if got := loaded(t, s); diff(old, got) != "" {
							same(t, with(2), got)
						}
					}
					must(t, work(s))
					must(t, s.Commit(t.Context(), with(4)))
					same(t, with(4), loaded(t, s))
					must(t, s.Close())
					if name == "reseal" {
						o.Passphrase = []byte("new")
					}
					same(t, with(4), loaded(t, opened(t, path, Options{Passphrase: o.Passphrase})))
					o = kinds[kind]
				}
			}
		}
	}
}

// TestTwoFailuresInARow: the first was done all the same, the second was not.
func TestTwoFailuresInARow(t *testing.T) {
	o := Options{Writer: true}
	path := made(t, o)
	fail := map[string]string{"rename state": "reply lost"}
	o.Disk.Around = func(what string, do func() error) error {
		if end := ends[fail[what]]; end != nil {
			delete(fail, what)
			return end(do)
		}
		return do()
	}
	s := opened(t, path, o)
	loaded(t, s)
	for n, what := range []string{"", "create state.new"} {
		if what != "" {
			fail[what] = "refused"
		}
		if err := s.Commit(t.Context(), with(2+n)); !errors.Is(err, errInjected) {
			t.Fatalf("got %v", err)
		}
	}
	must(t, s.Commit(t.Context(), with(4)))
	same(t, with(4), loaded(t, s))
}
