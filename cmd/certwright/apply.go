package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// applying are the flags of apply and of what ends in one.
type applying struct {
	scoping
	wait      time.Duration
	initStore bool
}

func (a *app) applyCommand() *cobra.Command {
	var f applying
	c := &cobra.Command{
		Use:   "apply",
		Short: "Carry the plan out, pass after pass, until it is empty",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.apply(cmd.Context(), f, nil) },
	}
	c.Flags().DurationVar(&f.wait, "wait", 0, "also wait this long (as 90s or 2m) until every binding is Ready or Unverified, and no rotation of the Swarm's root is under way")
	c.Flags().BoolVar(&f.initStore, "init-store", false, "make the store although CI is set")
	a.scopeFlags(c, &f.scoping)
	return c
}

// apply converges. wish, if not nil, changes the state first.
func (a *app) apply(ctx context.Context, f applying, wish func(*spec.Spec, *reconcile.State) error) error {
	s, err := a.open(ctx, true)
	if err != nil {
		return err
	}
	defer s.close()
	if err := a.mayInit(s.spec, f.initStore); err != nil {
		return err
	}
	a.warn(s.spec)
	scope, err := f.scope(s.spec)
	if err != nil {
		return err
	}
	if wish != nil {
		if err := record(ctx, s, wish); err != nil {
			return a.lost(err)
		}
	}
	p := newProgress(a)
	s.applier.Report = p.event
	out, err := s.applier.Converge(ctx, scope)
	p.close()
	if ctx.Err() != nil {
		return cutShort()
	}
	if err != nil {
		return a.lost(err)
	}
	status := reconcile.Assess(s.spec, out.World, out.Plan)
	if f.wait > 0 {
		out, status, err = a.await(ctx, s, scope, f.wait, out, status)
		if ctx.Err() != nil {
			return cutShort()
		}
		if err != nil {
			return a.lost(err)
		}
	}
	return a.conclude(s, scope, f.wait, out, status)
}

func cutShort() error {
	return exit{exitPart, errors.New("interrupted; the next apply finishes the work")}
}

// await converges again and again until every binding is Ready or Unverified and the Swarm has no rotation to end, or
// time is up.
func (a *app) await(ctx context.Context, s *session, scope reconcile.Scope, patience time.Duration, out reconcile.Outcome, status reconcile.Status) (reconcile.Outcome, reconcile.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	speak := time.After(2 * time.Second)
	for !proved(status, scope) {
		select {
		case <-ctx.Done():
			return out, status, nil
		case <-speak:
			for _, b := range status.Bindings {
				if scope.Has(b.Name) && b.State != reconcile.Ready && b.State != reconcile.Unverified {
					fmt.Fprintf(a.out, "  … waiting up to %s for %s: %s\n", patience, b.Name, b.Reason)
				}
			}
			if rotating(status, scope) {
				fmt.Fprintf(a.out, "  … waiting up to %s for the Swarm: %s\n", patience, status.Swarm.Reason)
			}
		case <-time.After(500 * time.Millisecond):
		}
		next, err := s.applier.Converge(ctx, scope)
		if ctx.Err() != nil {
			return out, status, nil
		}
		if err != nil {
			return out, status, err
		}
		next.Done = append(out.Done, next.Done...)
		out, status = next, reconcile.Assess(s.spec, next.World, next.Plan)
	}
	return out, status, nil
}

func proved(s reconcile.Status, scope reconcile.Scope) bool {
	for _, b := range s.Bindings {
		if scope.Has(b.Name) && b.State != reconcile.Ready && b.State != reconcile.Unverified {
			return false
		}
	}
	return !rotating(s, scope)
}

// rotating reports whether a rotation of the Swarm's root is in scope and not over.
func rotating(s reconcile.Status, scope reconcile.Scope) bool {
	return s.Swarm != nil && s.Swarm.Awaited && len(scope.Only) == 0
}

// conclude says how the bindings stand now and gives the exit code. patience is how long they were waited for.
func (a *app) conclude(s *session, scope reconcile.Scope, patience time.Duration, out reconcile.Outcome, status reconcile.Status) error {
	if out.Passes == 0 && out.Plan.Empty() {
		fmt.Fprintf(a.out, "%s: %s.\n", s.spec.Project, summary(out.Plan))
	}
	blame(&status, out)
	a.left(status)
	for subject, w := range reconcile.Sorted(out.World.State.Wishes) {
		if name := strings.TrimPrefix(subject, "binding/"); w.Adopt && scope.Has(name) {
			fmt.Fprintf(a.out, "  the wish to adopt %s is kept for a day: the next apply that can carry it out does\n", name)
		}
	}
	done := proved(status, scope)
	if len(status.Bindings) > listedSteps {
		a.tally(&status, scope)
	}
	a.bindings(status, scope)
	if out.Err != nil {
		return exit{exitPart, out.Err}
	}
	if len(out.Plan.Blocked) > 0 || !out.Plan.Empty() {
		a.refusals("Blocked", red, slices.DeleteFunc(slices.Clone(out.Plan.Blocked), func(r reconcile.Refusal) bool {
			return strings.HasPrefix(r.Subject, "binding/") // said with the binding
		}))
		return exit{code: exitPart}
	}
	for _, b := range status.Bindings {
		if scope.Has(b.Name) && !b.State.Settled() {
			return exit{code: exitPart}
		}
	}
	if patience > 0 && rotating(status, scope) {
		return exit{exitPart, fmt.Errorf("the rotation of the Swarm's root was not over within %s: %s", patience, status.Swarm.Reason)}
	}
	if patience > 0 && !done {
		return exit{exitPart, fmt.Errorf("not every binding was Ready or Unverified within %s", patience)}
	}
	return nil
}

// blame says of bindings whose steps failed why.
func blame(status *reconcile.Status, out reconcile.Outcome) {
	for i, b := range status.Bindings {
		if why, failed := out.Failed["binding/"+b.Name]; failed && b.State == reconcile.Progressing {
			status.Bindings[i].State, status.Bindings[i].Reason, status.Bindings[i].Hint = reconcile.Failed, why, ""
		}
	}
}

// left says what could not be cleared yet of bindings that left the spec, and what the Swarm waits for.
func (a *app) left(status reconcile.Status) {
	for _, r := range status.Beside {
		if r.State.Settled() && strings.HasPrefix(r.Subject, "swarm/") {
			a.refusals("Waiting", yellow, []reconcile.Refusal{r})
		}
	}
	a.uncleared(status)
}

// uncleared says what of bindings that left the spec, or of their places before, is still there.
func (a *app) uncleared(status reconcile.Status) {
	for _, r := range status.Beside {
		kind, name, _ := strings.Cut(r.Subject, "/")
		if r.State.Settled() && (kind == "place" || kind == "binding") {
			fmt.Fprintf(a.out, "  %s %s\n", name, r.Reason)
			if r.Hint != "" {
				printHint(a.out, "  ", name+": "+r.Hint)
			}
		}
	}
}

// tally counts the bindings by state, and leaves only those that are not settled to be listed one by one.
func (a *app) tally(status *reconcile.Status, scope reconcile.Scope) {
	by := map[string]int{}
	var rest []reconcile.BindingStatus
	for _, b := range status.Bindings {
		if !scope.Has(b.Name) {
			continue
		}
		by[string(b.State)]++
		if !b.State.Settled() {
			rest = append(rest, b)
		}
	}
	status.Bindings = rest
	for state, n := range reconcile.Sorted(by) {
		fmt.Fprintf(a.out, "  %s %s\n", count(n, "binding is", "bindings are"), a.paint(stateColour(reconcile.BindingState(state)), state))
	}
}

// mayInit keeps a throw-away CI runner from making CAs that are lost with it.
func (a *app) mayInit(s *spec.Spec, allowed bool) error {
	if allowed || a.getenv("CI") == "" || s.Store.Swarm {
		return nil
	}
	if _, err := os.Stat(s.Store.Directory); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return hinted{
		fmt.Errorf("there is no store at %s, and CI is set: a CA made here would be lost with the runner", s.Store.Directory),
		"restore the store, or run `certwright apply --init-store` if this is where it shall be",
	}
}

// lost adds what to do to the errors of a store that is not there.
func (a *app) lost(err error) error {
	switch {
	case errors.Is(err, reconcile.ErrLostStore):
		return hinted{err, "bring it back with `certwright restore FILE`; if it is gone for good, move what these places hold away, hidden names too (..data, ..certwright-*): all is issued anew then, and clients of a CA of its own have to be given the new one"}
	case errors.Is(err, reconcile.ErrChanged):
		return hinted{err, "another certwright is at work with this store: run it again"}
	case errors.Is(err, reconcile.ErrNoStore):
		return hinted{err, "`certwright apply` makes one; `certwright restore FILE` brings a lost one back"}
	}
	return err
}

// warn prints what is allowed and probably not meant.
func (a *app) warn(s *spec.Spec) {
	for _, w := range s.Warnings {
		fmt.Fprintf(a.err, "certwright: warning: %s\n", w)
	}
}

// record changes the state before the first pass: a wish. It is made anew as often as somebody else commits in between.
func record(ctx context.Context, s *session, wish func(*spec.Spec, *reconcile.State) error) error {
	for {
		st, err := s.store.Load(ctx)
		if err != nil {
			return err
		}
		st = st.Clone()
		if err := wish(s.spec, &st); err != nil {
			return err
		}
		if err := s.store.Commit(ctx, st); !errors.Is(err, reconcile.ErrChanged) {
			return err
		}
	}
}

// scope is what the flags bound a plan of a spec to.
func (f scoping) scope(s *spec.Spec) (reconcile.Scope, error) {
	scope := reconcile.Scope{Only: f.names, ForceRotation: f.forceRotation}
	switch f.prune {
	case "true", "":
		scope.Prune = reconcile.PruneSome
	case "false":
		scope.Prune = reconcile.PruneNone
	case "all":
		scope.Prune = reconcile.PruneAll
	default:
		return scope, fmt.Errorf("--prune is true, false or all, not %q", f.prune)
	}
	return scope, only(s, f.names)
}
