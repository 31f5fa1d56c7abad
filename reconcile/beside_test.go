package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certwright/certwright/providers/memory"
	"github.com/certwright/certwright/providers/store"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// These tests have two processes at work with one store in a Swarm.

func inSwarm(t *testing.T, c *memory.Configs) *store.Store {
	t.Helper()
	s, err := store.InSwarm(c, store.Options{Passphrase: []byte("a passphrase"), Writer: true, Project: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// converged has a process do everything there is to do.
func converged(t *testing.T, a reconcile.Applier) {
	t.Helper()
	out, err := a.Converge(t.Context(), reconcile.Scope{})
	if err != nil || out.Err != nil || !out.Plan.Empty() {
		t.Errorf("%v, %v, left: %v", err, out.Err, out.Plan)
	}
}

// interrupted is a store after whose commits something happens.
type interrupted struct {
	reconcile.Store
	commits int
	after   func(n int)
}

func (s *interrupted) Commit(ctx context.Context, st reconcile.State) error {
	err := s.Store.Commit(ctx, st)
	s.commits++
	s.after(s.commits)
	return err
}

// TestFirstApplies has a second process do everything right after each commit of the first one. What it made stays: the
// first one has a plan that is not of now.
func TestFirstApplies(t *testing.T) {
	for at := 1; at <= 5; at++ {
		t.Run(fmt.Sprint("after commit ", at), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, c := newEstate(t), &memory.Configs{}
				first, second := e.applier(), e.applier()
				second.Store = inSwarm(t, c)
				var want reconcile.State
				first.Store = &interrupted{Store: inSwarm(t, c), after: func(n int) {
					if n != at {
						return
					}
					converged(t, second)
					var err error
					if want, err = second.Store.Load(t.Context()); err != nil {
						t.Fatal(err)
					}
				}}
				converged(t, first)
				got, err := second.Store.Load(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for name, ca := range want.CAs {
					if is := got.CAs[name].Generations; len(is) != 1 || is[0].KeyID != ca.Generations[0].KeyID {
						t.Errorf("CA %s was made again", name)
					}
				}
				for name, id := range want.Identities {
					if got.Identities[name].Serial != id.Serial {
						t.Errorf("identity %s was issued again", name)
					}
				}
				if len(want.CAs) < 2 || len(want.Identities) < 4 {
					t.Errorf("the second made %d CAs and %d certificates", len(want.CAs), len(want.Identities))
				}
			})
		})
	}
}

// late are places that are read only when something has happened.
type late struct {
	reconcile.Places
	before func()
}

func (p *late) Read(ctx context.Context, q []reconcile.PlaceQuery, couriers bool) []reconcile.PlaceContent {
	if do := p.before; do != nil {
		p.before = nil
		do()
	}
	return p.Places.Read(ctx, q, couriers)
}

// announced is a store that says when it was first loaded.
type announced struct {
	reconcile.Store
	loaded chan struct{}
}

func (s *announced) Load(ctx context.Context) (reconcile.State, error) {
	st, err := s.Store.Load(ctx)
	select {
	case <-s.loaded:
	default:
		close(s.loaded)
	}
	return st, err
}

// TestFirstApplyIsNotALoss looks for the store, then another process makes it and places everything, then the places are
// looked at.
func TestFirstApplyIsNotALoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, c := newEstate(t), &memory.Configs{}
		first, second := e.applier(), e.applier()
		second.Store = inSwarm(t, c)
		loaded := make(chan struct{})
		first.Store = &announced{inSwarm(t, c), loaded}
		first.Places = &late{first.Places, func() {
			<-loaded
			converged(t, second)
		}}
		converged(t, first)
	})
}

// yielding is a store that somebody else commits to before each of the first commits.
type yielding struct {
	reconcile.Store
	times int
}

func (s *yielding) Commit(ctx context.Context, st reconcile.State) error {
	if s.times > 0 {
		s.times--
		return fmt.Errorf("store: %w", reconcile.ErrChanged)
	}
	return s.Store.Commit(ctx, st)
}

// TestYields is not put off by others that are faster, more often than there are passes; and gives up in the end.
func TestYields(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		a := e.applier()
		s := &yielding{Store: a.Store, times: 100}
		a.Store = s
		skipped := 0
		a.Report = func(ev reconcile.Event) {
			if ev.Err != nil && ev.Err.Error() == "skipped, because a step before it failed" {
				skipped++
			}
		}
		converged(t, a)
		if skipped > 0 {
			t.Errorf("%d steps count as failed", skipped)
		}
		e.edit("/srv/web", "/srv/elsewhere")
		a.Spec = e.spec
		s.times = 1 << 30
		out, err := a.Converge(t.Context(), reconcile.Scope{})
		if err != nil || out.Err == nil || out.Plan.Empty() || out.Passes != 0 {
			t.Errorf("a store that is always changed: %v, %v, %d passes", err, out.Err, out.Passes)
		}
	})
}

// TestLateWriter has a second process write a newer unit while the first one is about to undo a change to the older one. The
// first one comes too late.
func TestLateWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, c := newEstate(t), &memory.Configs{}
		first, second := e.applier(), e.applier()
		first.Store, second.Store = inSwarm(t, c), inSwarm(t, c)
		late := 0
		first.Report = func(ev reconcile.Event) {
			if errors.Is(ev.Err, reconcile.ErrChanged) {
				late++
			}
		}
		placed := func() (reconcile.PlaceRow, reconcile.Mark) {
			t.Helper()
			st, err := second.Store.Load(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return st.Places[rootsPlace], *e.Read(t.Context(), []reconcile.PlaceQuery{{At: rootsPlace}}, false)[0].Mark
		}
		converged(t, first)
		time.Sleep(time.Minute)
		was, _ := placed()

		e.edit("directory: /srv/roots", "directory: /srv/roots\n    files: {ca.pem: ca, more.pem: ca}")
		second.Spec = e.spec
		e.Edit(rootsPlace, "ca.pem", []byte("another writer's\n"))
		e.Around = func(what string, do func() error) error {
			if what == "stage in /srv/roots" {
				e.Around = nil
				converged(t, second)
			}
			return do()
		}
		converged(t, first)
		second.Spec = first.Spec
		row, mark := placed()
		if late != 1 || row.Version != was.Version+2 || mark.Version != row.Version {
			t.Errorf("%d came too late, the row is %+v after version %d, the mark has %d", late, row, was.Version, mark.Version)
		}

		// A row from a backup is older than what is there, which is no reason to come too late.
		st, err := second.Store.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		row.Version = 0
		st.Places[rootsPlace] = row
		if err := second.Store.Commit(t.Context(), st); err != nil {
			t.Fatal(err)
		}
		e.Edit(rootsPlace, "ca.pem", []byte("another writer's\n"))
		converged(t, second)
		if row, now := placed(); now.Version != mark.Version+1 || row.Version != now.Version {
			t.Errorf("from a backup: version %d, the row %d, after %d", now.Version, row.Version, mark.Version)
		}
	})
}

// TestForgedVersion has a container that owns its place give it later and later versions: that is another writer like any
// other, and is left in peace.
func TestForgedVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		time.Sleep(time.Minute)
		version, writes := 1000, 0
		forge := func() {
			around := e.Around
			e.Around = nil
			defer func() { e.Around = around }()
			mark := *e.Read(t.Context(), []reconcile.PlaceQuery{{At: rootsPlace}}, false)[0].Mark
			version += 1000
			mark.Version = version
			u := reconcile.Unit{At: rootsPlace, Mark: mark, Layout: spec.Atomic, Files: []reconcile.UnitFile{{Name: "ca.pem", Data: []byte("forged"), Mode: 0o644}}}
			if err := errors.Join(e.Write(t.Context(), []reconcile.Unit{u})...); err != nil {
				t.Fatal(err)
			}
		}
		forge()
		e.Around = func(what string, do func() error) error {
			if what == "stage in /srv/roots" {
				writes++
				forge()
			}
			return do()
		}
		out, err := e.applier().Converge(t.Context(), reconcile.Scope{})
		if s := e.state("roots", time.Now()); err != nil || writes > 4 || s.State != reconcile.Contested {
			t.Errorf("%v, %v, %d writes, %s: %s", err, out.Err, writes, s.State, s.Reason)
		}
	})
}

// TestLateWriterFailsNothing has what comes after a unit that came too late planned anew, like the unit itself.
func TestLateWriterFailsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, c := newEstate(t), &memory.Configs{}
		first, second := e.applier(), e.applier()
		first.Store, second.Store = inSwarm(t, c), inSwarm(t, c)
		converged(t, first)
		e.start()
		converged(t, first)
		time.Sleep(10 * 24 * time.Hour) // web is due
		var late, failed []string
		first.Report = func(ev reconcile.Event) {
			switch {
			case errors.Is(ev.Err, reconcile.ErrChanged):
				late = append(late, ev.Step.Action.Kind())
			case ev.Err != nil:
				failed = append(failed, fmt.Sprint(ev.Step.Action, ": ", ev.Err))
			}
		}
		e.Around = func(what string, do func() error) error {
			if what == "stage in /srv/web" {
				e.Around = nil
				converged(t, second)
			}
			return do()
		}
		converged(t, first)
		if !slices.Equal(late, []string{"place", "reload"}) || len(failed) > 0 {
			t.Errorf("late: %q, failed: %q", late, failed)
		}
	})
}

// TestClockOfAnother has a process with a clock that is a little behind see what another one has recorded and not done yet.
func TestClockOfAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, c := newEstate(t), &memory.Configs{}
		first, second := e.applier(), e.applier()
		first.Store, second.Store = inSwarm(t, c), inSwarm(t, c)
		second.Clock = func() time.Time { return time.Now().Add(-2 * time.Second) }
		converged(t, first)
		time.Sleep(time.Minute)
		e.Edit(rootsPlace, "ca.pem", []byte("another writer's\n"))
		e.Around = func(what string, do func() error) error {
			if what == "stage in /srv/roots" {
				e.Around = nil
				converged(t, second)
			}
			return do()
		}
		converged(t, first)
		st, err := second.Store.Load(t.Context())
		if n := len(st.Places[rootsPlace].Reverts); err != nil || n != 1 {
			t.Errorf("%v, %d reverts of one change", err, n)
		}
	})
}
