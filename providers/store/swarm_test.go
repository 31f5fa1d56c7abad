package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/memory"
	"github.com/certwright/certwright/reconcile"
)

var inSwarmPass = []byte("open sesame, swarm")

func swarmed(t *testing.T, c Configs) *Store {
	t.Helper()
	s, err := inSwarm(c, Options{Passphrase: inSwarmPass, Writer: true, Project: "shop"}, cheap)
	must(t, err)
	return s
}

// bulky is a state that needs three configs.
func bulky(n int) reconcile.State {
	st := with(n)
	for i := range 8 {
		id := st.Identities["web"]
		id.Certificate = bytes.Repeat([]byte{byte(i), byte(n), 7}, 80_000)
		st.Identities[fmt.Sprint("id", i)] = id
	}
	return st
}

// alike compares states that are too large to be told apart line by line.
func alike(a, b reconcile.State) bool { return bytes.Equal(encode(a), encode(b)) }

func holds(t *testing.T, c Configs, want reconcile.State) {
	t.Helper()
	if !alike(want, loaded(t, swarmed(t, c))) {
		t.Error("another state is there")
	}
}

// TestSwarmStore keeps one generation, whatever its size, under names that fit, and nothing of it in clear.
func TestSwarmStore(t *testing.T) {
	c := &memory.Configs{}
	other := "certwright-piece-shop-0000000001-0000000002-0123456789ab-1" // of project shop-0000000001
	must(t, c.Create(t.Context(), other, []byte("theirs")))
	s := swarmed(t, c)
	if _, err := s.Load(t.Context()); !errors.Is(err, reconcile.ErrNoStore) {
		t.Fatalf("got %v, want ErrNoStore", err)
	}
	for i, st := range []reconcile.State{with(1), bulky(2), bulky(3), with(4)} {
		must(t, s.Commit(t.Context(), st))
		holds(t, c, st)
		names := c.Names()
		pieces := []int{0, 2, 2, 0}[i]
		if head := fmt.Sprintf("certwright-state-shop-%010d", i+1); len(names) != 2+pieces || names[len(names)-1] != head || !slices.Contains(names, other) {
			t.Errorf("after commit %d there are %q", i+1, names)
		}
		for _, name := range names {
			data, err := c.Read(t.Context(), name)
			must(t, err)
			unspoken(t, name, data, st)
		}
	}
	long, err := inSwarm(c, Options{Passphrase: inSwarmPass, Writer: true, Project: strings.Repeat("p", 63)}, cheap)
	must(t, err)
	st := bulky(5)
	st.Project = strings.Repeat("p", 63)
	must(t, long.Commit(t.Context(), st))
	if !alike(st, loaded(t, long)) {
		t.Error("a project with a long name reads another state")
	}
}

func TestSwarmStoreIsSealed(t *testing.T) {
	c := &memory.Configs{}
	s, err := inSwarm(c, Options{Writer: true, Project: "shop"}, cheap)
	must(t, err)
	refused(t, s.Commit(t.Context(), with(1)), "always sealed", "store: passphrase")
	must(t, swarmed(t, c).Commit(t.Context(), with(1)))
	_, err = s.Load(t.Context())
	refused(t, err, "is sealed")
	s, err = inSwarm(c, Options{Passphrase: []byte("wrong"), Project: "shop"}, cheap)
	must(t, err)
	_, err = s.Load(t.Context())
	refused(t, err, "config certwright-state-shop-0000000001", "does not open with this passphrase")
}

// TestSwarmStoreMoves restores a backup of a directory into a Swarm, changes the passphrase there, and goes back.
func TestSwarmStoreMoves(t *testing.T) {
	c := &memory.Configs{}
	s := swarmed(t, c)
	must(t, s.Restore(t.Context(), bytes.NewReader(backupOf(t, with(1), 3)), backupPass, false))
	refused(t, s.Restore(t.Context(), bytes.NewReader(backupOf(t, with(2), 1)), backupPass, false), "--force")
	must(t, s.Restore(t.Context(), bytes.NewReader(backupOf(t, with(2), 1)), backupPass, true))
	holds(t, c, with(2))
	must(t, s.Reseal(t.Context(), []byte("new")))
	if names := c.Names(); len(names) != 1 {
		t.Errorf("the old passphrase may still open one of %q", names)
	}
	_, err := swarmed(t, c).Load(t.Context())
	refused(t, err, "passphrase")
	back := opened(t, filepath.Join(t.TempDir(), "store"), Options{Writer: true})
	must(t, back.Restore(t.Context(), bytes.NewReader(backedUp(t, s)), backupPass, false))
	same(t, with(2), loaded(t, back))
}

// TestSwarmStoreLoser has two writers that saw the same generation: the second is told, and has changed nothing.
func TestSwarmStoreLoser(t *testing.T) {
	for name, first := range map[string]bool{"first": true, "later": false} {
		t.Run(name, func(t *testing.T) {
			c := &memory.Configs{}
			if !first {
				must(t, swarmed(t, c).Commit(t.Context(), with(1)))
			}
			a, b := swarmed(t, c), swarmed(t, c)
			for _, s := range []*Store{a, b} {
				if _, err := s.Load(t.Context()); err != nil && !errors.Is(err, reconcile.ErrNoStore) {
					t.Fatal(err)
				}
			}
			must(t, a.Commit(t.Context(), bulky(2)))
			before := c.Names()
			if err := b.Commit(t.Context(), bulky(3)); !errors.Is(err, reconcile.ErrChanged) {
				t.Fatalf("got %v, want ErrChanged", err)
			}
			if !alike(bulky(2), loaded(t, b)) {
				t.Error("the loser sees another state")
			}
			if d := cmp.Diff(before, c.Names()); d != "" {
				t.Errorf("configs (-before +after)\n%s", d)
			}
			must(t, b.Commit(t.Context(), with(4)))
			same(t, with(4), loaded(t, a))
		})
	}
}

// TestSwarmStoreLate stops a writer right before each of its effects, for as long as others take to commit again and
// again: its name is free by then, and it must not count.
func TestSwarmStoreLate(t *testing.T) {
	for _, commits := range []int{1, 5} {
		late(t, commits)
	}
}

func late(t *testing.T, commits int) {
	for at := 0; ; at++ {
		c := &memory.Configs{}
		must(t, swarmed(t, c).Commit(t.Context(), with(1)))
		slow, others := swarmed(t, c), swarmed(t, c)
		loaded(t, slow)
		i := -1
		c.Around = func(_ string, do func() error) error {
			if i++; i == at {
				loaded(t, others)
				for n := range commits {
					must(t, others.Commit(t.Context(), bulky(10+n)))
				}
			}
			return do()
		}
		err := slow.Commit(t.Context(), bulky(2))
		c.Around = nil
		if i < at {
			if at < 3 {
				t.Errorf("only %d effects", at)
			}
			return
		}
		// The third effect is the commit itself: from then on others have built on it.
		if late := at < 3; late != errors.Is(err, reconcile.ErrChanged) || !late && err != nil {
			t.Fatalf("%d commits before effect %d: %v", commits, at, err)
		}
		holds(t, c, bulky(9+commits))
		if heads := slices.DeleteFunc(c.Names(), func(n string) bool { return !strings.HasPrefix(n, "certwright-state") }); len(heads) != 1 {
			t.Errorf("%d commits before effect %d: there are %q", commits, at, heads)
		}
		must(t, others.Commit(t.Context(), with(3)))
		must(t, others.Commit(t.Context(), with(4)))
		if names := c.Names(); len(names) != 1 {
			t.Errorf("%d commits before effect %d: left are %q", commits, at, names)
		}
	}
}

// TestSwarmStoreCrashes ends a commit at every effect in every way. The old or the new state is there afterwards, and
// the next commit leaves one generation.
func TestSwarmStoreCrashes(t *testing.T) {
	for end, inject := range ends {
		for at := 0; ; at++ {
			c := &memory.Configs{}
			must(t, swarmed(t, c).Commit(t.Context(), bulky(1)))
			i := -1
			c.Around = func(_ string, do func() error) error {
				if i++; i == at {
					return inject(do)
				}
				return do()
			}
			s := swarmed(t, c)
			loaded(t, s)
			func() {
				defer func() { _ = recover() }()
				_ = s.Commit(t.Context(), bulky(2))
			}()
			c.Around = nil
			if i < at {
				if at < 6 {
					t.Errorf("only %d effects", at)
				}
				break
			}
			got := loaded(t, swarmed(t, c))
			if !alike(bulky(1), got) && !alike(bulky(2), got) {
				t.Error("neither the old nor the new state is there")
			}
			if !alike(got, loaded(t, s)) { // the same Store goes on, too
				t.Error("the same store sees another state")
			}
			must(t, s.Commit(t.Context(), with(3)))
			holds(t, c, with(3))
			must(t, s.Commit(t.Context(), with(4)))
			if names := c.Names(); len(names) != 1 {
				t.Errorf("%s, effect %d: left are %q", end, at, names)
			}
		}
	}
}

// TestSwarmStoreReader reads while the generation it reads is replaced.
func TestSwarmStoreReader(t *testing.T) {
	c := &memory.Configs{}
	writer := swarmed(t, c)
	must(t, writer.Commit(t.Context(), bulky(1)))
	reader := swarmed(t, &meddled{Configs: c, before: func() { must(t, writer.Commit(t.Context(), bulky(2))) }})
	if !alike(bulky(2), loaded(t, reader)) {
		t.Error("it read another state")
	}
}

// meddled are configs of which somebody changes some before the first is read.
type meddled struct {
	Configs
	before func()
}

func (m *meddled) Read(ctx context.Context, name string) ([]byte, error) {
	if do := m.before; do != nil {
		m.before = nil
		do()
	}
	return m.Configs.Read(ctx, name)
}

// TestSwarmStoreDamage has configs that somebody made or removed.
func TestSwarmStoreDamage(t *testing.T) {
	read := func(c *memory.Configs, name string) []byte {
		data, err := c.Read(t.Context(), name)
		must(t, err)
		return data
	}
	for name, row := range map[string]struct {
		do    func(c *memory.Configs)
		words string
	}{
		"a piece is gone": {func(c *memory.Configs) { must(t, c.Remove(t.Context(), c.Names()[0])) }, "certwright-piece-shop-0000000001"},
		"a piece is another": {func(c *memory.Configs) {
			piece := c.Names()[0]
			data := read(c, piece)
			data[5]++
			must(t, c.Remove(t.Context(), piece))
			must(t, c.Create(t.Context(), piece, data))
		}, "does not open"},
		"an old one under a new name": {func(c *memory.Configs) {
			must(t, c.Create(t.Context(), "certwright-state-shop-0000000009", read(c, "certwright-state-shop-0000000001")))
		}, "another generation"},
		"no state": {func(c *memory.Configs) {
			must(t, c.Create(t.Context(), "certwright-state-shop-0000000009", []byte("hello")))
		}, "does not begin with a header"},
	} {
		t.Run(name, func(t *testing.T) {
			c := &memory.Configs{}
			must(t, swarmed(t, c).Commit(t.Context(), bulky(1)))
			row.do(c)
			before := c.Names()
			s := swarmed(t, c)
			_, err := s.Load(t.Context())
			refused(t, err, row.words, "certwright restore --force")
			if err := s.Commit(t.Context(), with(2)); err == nil {
				t.Error("it was committed over")
			}
			if d := cmp.Diff(before, c.Names()); d != "" {
				t.Errorf("configs (-before +after)\n%s", d)
			}
			must(t, s.Restore(t.Context(), bytes.NewReader(backupOf(t, with(3), 1)), backupPass, true))
			holds(t, c, with(3))
		})
	}
}

// TestSwarmStoreSerialises counts from many writers at once.
func TestSwarmStoreSerialises(t *testing.T) {
	const writers, each = 8, 25
	c := &memory.Configs{}
	must(t, swarmed(t, c).Commit(t.Context(), with(1)))
	var wg sync.WaitGroup
	for range writers {
		s := swarmed(t, c)
		wg.Go(func() {
			for done := 0; done < each; {
				st, err := s.Load(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				n, _ := strconv.Atoi(st.Wishes["count"].Serial)
				st.Wishes["count"] = reconcile.Wish{Serial: strconv.Itoa(n + 1)}
				switch err := s.Commit(t.Context(), st); {
				case err == nil:
					done++
				case !errors.Is(err, reconcile.ErrChanged):
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if got := loaded(t, swarmed(t, c)).Wishes["count"].Serial; got != strconv.Itoa(writers*each) {
		t.Errorf("counted to %s, want %d", got, writers*each)
	}
}

// atFirst has something happen in place of the next effect, which it may carry out.
func atFirst(c *memory.Configs, happen func(do func() error) error) {
	c.Around = func(_ string, do func() error) error {
		c.Around = nil
		return happen(do)
	}
}

// TestSwarmStoreRemembered stops a writer right after its commit, while others commit on top of it: as long as anybody can
// tell, it counts; then nobody says that it does not.
func TestSwarmStoreRemembered(t *testing.T) {
	for n, counts := range map[int]bool{1: true, remembered: true, remembered + 1: false} {
		c := &memory.Configs{}
		must(t, swarmed(t, c).Commit(t.Context(), with(1)))
		slow, others := swarmed(t, c), swarmed(t, c)
		loaded(t, slow)
		atFirst(c, func(do func() error) error {
			err := do()
			for range n {
				must(t, others.Commit(t.Context(), loaded(t, others)))
			}
			return err
		})
		err := slow.Commit(t.Context(), with(2))
		c.Around = nil
		if errors.Is(err, reconcile.ErrChanged) || counts != (err == nil) {
			t.Errorf("%d others: %v", n, err)
		}
		holds(t, c, with(2))
	}
}

// TestSwarmStoreSentTwice has every request sent twice: the answer to the second is that it was done already.
func TestSwarmStoreSentTwice(t *testing.T) {
	c := &memory.Configs{}
	s := swarmed(t, c)
	must(t, s.Commit(t.Context(), with(1)))
	c.Around = func(_ string, do func() error) error {
		if err := do(); err != nil {
			return err
		}
		return do()
	}
	must(t, s.Commit(t.Context(), with(2)))
	holds(t, c, with(2))
}

// TestSwarmStoreOrphans has a writer that makes a piece after others have gone on, and is killed, or loses.
func TestSwarmStoreOrphans(t *testing.T) {
	for name, killed := range map[string]bool{"killed": true, "lost": false} {
		t.Run(name, func(t *testing.T) {
			c := &memory.Configs{}
			must(t, swarmed(t, c).Commit(t.Context(), with(1)))
			slow, others := swarmed(t, c), swarmed(t, c)
			loaded(t, slow)
			atFirst(c, func(do func() error) error {
				loaded(t, others)
				for range 3 {
					must(t, others.Commit(t.Context(), with(5)))
				}
				err := do()
				if killed {
					panic(errInjected)
				}
				return err
			})
			func() {
				defer func() { _ = recover() }()
				if err := slow.Commit(t.Context(), bulky(2)); !errors.Is(err, reconcile.ErrChanged) {
					t.Errorf("the loser is told %v", err)
				}
			}()
			c.Around = nil
			must(t, others.Commit(t.Context(), with(6)))
			if names := c.Names(); len(names) != 1 {
				t.Errorf("left are %q", names)
			}
		})
	}
}

// TestSwarmStoreBusy reads a store that is committed to before each piece is read, for a while.
func TestSwarmStoreBusy(t *testing.T) {
	c := &memory.Configs{}
	w := swarmed(t, c)
	must(t, w.Commit(t.Context(), bulky(1)))
	n := 1
	m := &meddled{Configs: c}
	var again func()
	again = func() {
		if n++; n < 20 {
			m.before = again
		}
		must(t, w.Commit(t.Context(), bulky(n)))
	}
	m.before = again
	if !alike(bulky(20), loaded(t, swarmed(t, m))) {
		t.Errorf("it read another state than the last one")
	}
}

// TestSwarmStoreKeepsNothing has a Swarm that removes no config: what an older passphrase opens is not left in silence.
func TestSwarmStoreKeepsNothing(t *testing.T) {
	c := &memory.Configs{}
	s := swarmed(t, c)
	must(t, s.Commit(t.Context(), with(1)))
	c.Around = func(what string, do func() error) error {
		if strings.HasPrefix(what, "DELETE") {
			return errInjected
		}
		return do()
	}
	if err := s.Reseal(t.Context(), []byte("new")); !errors.Is(err, errInjected) {
		t.Errorf("got %v", err)
	}
	c.Around = nil
	must(t, s.Reseal(t.Context(), []byte("new")))
	if names := c.Names(); len(names) != 1 {
		t.Errorf("left are %q", names)
	}
}

// TestSwarmStoreAfterARestore stops a writer while the store is lost and brought back from an older backup: it comes too
// late.
func TestSwarmStoreAfterARestore(t *testing.T) {
	c := &memory.Configs{}
	s := swarmed(t, c)
	must(t, s.Commit(t.Context(), with(1)))
	backup := backedUp(t, s)
	for n := range 5 {
		must(t, s.Commit(t.Context(), with(2+n)))
	}
	slow := swarmed(t, c)
	loaded(t, slow)
	atFirst(c, func(do func() error) error {
		for _, name := range c.Names() {
			must(t, c.Remove(t.Context(), name))
		}
		must(t, swarmed(t, c).Restore(t.Context(), bytes.NewReader(backup), backupPass, false))
		return do()
	})
	if err := slow.Commit(t.Context(), with(9)); err == nil {
		t.Error("it counts")
	}
	c.Around = nil
	holds(t, c, with(1))
}

// TestSwarmStoreReadBack sees its own commit, and that another one came after it.
func TestSwarmStoreReadBack(t *testing.T) {
	c := &memory.Configs{}
	a, b := swarmed(t, c), swarmed(t, c)
	must(t, a.Commit(t.Context(), with(1)))
	st, err := a.ReadBack(t.Context())
	must(t, err)
	same(t, with(1), st)
	loaded(t, b)
	must(t, b.Commit(t.Context(), with(2)))
	if _, err := a.ReadBack(t.Context()); !errors.Is(err, reconcile.ErrChanged) {
		t.Errorf("got %v", err)
	}
	if err := a.Commit(t.Context(), with(3)); !errors.Is(err, reconcile.ErrChanged) {
		t.Errorf("and then %v", err)
	}
}
