package reconcile

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// A spec that needs more passes than this has something that keeps changing.
const maxPasses = 20

// Passes that end because another process has committed do not count, up to this: whenever one commits, it gets on.
const maxYields = 500

// Outcome is how a convergence ended.
type Outcome struct {
	World  World
	Plan   Plan              // the last one: empty when everything that can be done was
	Passes int               // those that had something to do
	Done   []Step            // what was carried out, over all passes
	Err    error             // of the steps of the last pass that had any; of the store alone when the plan is empty
	Failed map[string]string // why, by the subjects of those steps
}

// Converge repeats passes until a plan is empty, or until a pass plans again just what failed in the one before.
// The error is one of observing; what went wrong with single steps is in the Outcome.
func (a Applier) Converge(ctx context.Context, scope Scope) (out Outcome, err error) {
	scope.Since = a.Clock()
	var failed Plan // what did not work in the pass before
	report := a.Report
	a.Report = func(e Event) {
		// What follows on a failure is skipped: the first error is the reason.
		if subject := e.Step.Action.Subject(); e.Err != nil && out.Failed[subject] == "" {
			out.Failed[subject] = e.Err.Error()
		}
		if e.Done && e.Err == nil {
			out.Done = append(out.Done, e.Step)
		}
		if report != nil {
			report(e)
		}
	}
	hosts := a.patience(scope)
	defer func() { a.Memory.met(out.World, &out.Plan, hosts.spared, a.Clock()) }()
	for passes, yields := 0, 0; passes < maxPasses && yields < maxYields; {
		out.World = World{} // that of the pass before: it is as large as the next one
		w, err := Observe(ctx, a.Providers, a.Spec, Look{Couriers: a.Couriers, Probe: true, Only: scope.Only, Known: a.Known, Memory: a.Memory, Patience: hosts.each, Silent: hosts.silent, Now: a.Clock()})
		if err != nil {
			return out, err
		}
		hosts.met(w)
		// Without a store, places on any of them may show that it was lost.
		if w.Fresh && len(w.Unread) > 0 && hosts.extend() {
			continue
		}
		out.World, out.Plan = w, Diff(a.Spec, w, scope)
		if out.Plan.Empty() {
			out.Err, out.Failed = a.kept(ctx, w.State, out.Err), nil
			if hosts.extend() {
				continue
			}
			return out, nil
		}
		if out.Err != nil && !errors.Is(out.Err, ErrChanged) && out.Plan.text() == failed.text() {
			if hosts.extend() {
				continue
			}
			return out, nil
		}
		failed, out.Failed = out.Plan, map[string]string{}
		out.Err = a.Apply(ctx, w, out.Plan)
		if ctx.Err() != nil {
			return out, ctx.Err()
		}
		if errors.Is(out.Err, ErrChanged) {
			yields++
			continue
		}
		passes++
		out.Passes++
	}
	return out, nil
}

// kept says why the store does not take what was done, as on a disk that is full: the world shows that as well as if it were
// written down, until a certificate is due. A store that did not take something, in the last pass or before it, is given
// what it has once more.
func (a Applier) kept(ctx context.Context, st State, last error) error {
	if !errors.As(last, new(unkept)) && !a.Memory.unkept() {
		return nil
	}
	err := a.Store.Commit(ctx, st.Clone())
	if errors.Is(err, ErrChanged) { // by another, for whom it works
		err = nil
	}
	a.Memory.keeps(err == nil)
	if err != nil {
		return unkept{err}
	}
	return nil
}

// text is what tells one plan from another: two rungs of a ladder may read the same.
func (p Plan) text() string {
	var s strings.Builder
	for _, x := range p.Steps {
		r, _ := x.Action.(Reload)
		fmt.Fprintf(&s, "%s, rung %d: %s\n", x.Action, r.Rung, x.Reason)
	}
	return s.String()
}
