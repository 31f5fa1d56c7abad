package reconcile_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/certwright/certwright/providers/memory"
	"github.com/certwright/certwright/providers/store"
	"github.com/certwright/certwright/reconcile"
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
