package reconcile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-multierror"

	"github.com/certwright/certwright/spec"
)

// Event tells how a step goes.
type Event struct {
	Step Step
	Done bool   // false when it begins, and while it goes on
	Said string // how far it is, while it goes on
	Err  error  // why it failed; errSkipped when something it comes after did
	Took time.Duration
}

var errSkipped = errors.New("skipped, because a step before it failed")

// Applier carries plans out. It decides nothing: what to do and in which order is in the plan.
type Applier struct {
	Providers
	Spec     *spec.Spec
	Report   func(Event) // called from several goroutines, one call at a time; may be nil
	Clock    func() time.Time
	Settle   time.Duration // how long a rung may take to show on the wire; 10s when zero
	Couriers bool
	Known    bool    // see Look
	Memory   *Memory // see Look
}

// Apply carries out every step of a plan that was made from w. A step that fails stops those that come after it
// and no others. The error lists every step that failed.
func (a Applier) Apply(ctx context.Context, w World, plan Plan) error {
	if plan.Empty() {
		return nil
	}
	if w.Fresh {
		// The store gives itself an id with its first commit; every mark carries it.
		if err := a.Store.Commit(ctx, w.State.Clone()); err != nil {
			return err
		}
		st, err := a.Store.ReadBack(ctx)
		if err != nil {
			return err
		}
		w.State = st
	}
	r := &run{Applier: a, ctx: ctx, view: newView(a.Spec, &w), st: w.State.Clone(), failed: map[int]error{}, away: map[string]error{}, silent: map[string]error{}}
	maps.Copy(r.st.Owners, w.Owners)
	r.drop(w)
	here, asked := r.apart(plan.Steps)
	r.carryOut(here)
	r.carryOut(asked)
	r.record(plan)
	if err := r.err(); err != nil {
		return err
	}
	return r.broken
}

// apart are the steps that need nobody outside, and those that wait for a CA there, which may take minutes.
func (r *run) apart(steps []Step) (here, asked []Step) {
	waits := map[int]bool{}
	for _, s := range steps {
		var ca *spec.CA
		switch a := s.Action.(type) {
		case CreateCA:
			ca = r.cas[a.CA]
		case Issue:
			ca = r.cas[r.ids[a.Identity].CA.Name]
		case Revoke:
			ca = r.cas[a.CA]
		}
		if ca != nil && ca.Local == nil || slices.ContainsFunc(s.After, func(id int) bool { return waits[id] }) {
			waits[s.ID] = true
			asked = append(asked, s)
			continue
		}
		here = append(here, s)
	}
	return here, asked
}

// carryOut takes the kinds in the order in which they can depend on each other, so that what many steps share is done
// once: one commit for all certificates, one sync for all places.
func (r *run) carryOut(steps []Step) {
	var wave waves
	for _, s := range steps {
		wave.add(s)
	}
	for _, s := range wave.cas {
		r.each([]Step{s}, func(Step) error { return r.createCA(s.Action.(CreateCA)) })
	}
	r.takeAll(wave.takes)
	r.each(wave.revokes, func(s Step) error { return r.revoke(s.Action.(Revoke)) })
	r.issue(wave.issues)
	late, wait := r.volumes(wave)
	r.placeSecrets(wave.secrets)
	r.each(wave.settles, func(s Step) error { return r.settle(s.Action.(Settle)) })
	now, then := wave.apart(late)
	r.bring(now)
	wait()
	r.bring(then)
	r.remove(wave.removes)
	r.collect(wave.collects)
	r.forget(wave.forgets)
	r.each(wave.swarms, r.swarm)
}

// bring has files placed and taken up.
func (r *run) bring(wave waves) {
	places := r.place(wave.places)
	r.reload(wave.reloads, places)
	r.written(places)
	follow := r.place(wave.follow)
	r.reload(wave.engines, follow) // all else that needs them is done
	r.written(follow)
}

// waves are the steps of a plan by kind.
type waves struct {
	cas, takes, revokes, issues, volumes, secrets, places, reloads, removes, collects, forgets, swarms []Step
	follow, engines, settles                                                                           []Step // places that come after one of those; what is to be restarted; what was
}

func (w *waves) add(s Step) {
	switch a := s.Action.(type) {
	case CreateCA:
		w.cas = append(w.cas, s)
	case Issue:
		w.issues = append(w.issues, s)
	case TakeIn:
		w.takes = append(w.takes, s)
	case Revoke:
		w.revokes = append(w.revokes, s)
	case CreateVolume:
		w.volumes = append(w.volumes, s)
	case Place:
		if a.At.secrets() {
			w.secrets = append(w.secrets, s)
			return
		}
		if slices.ContainsFunc(w.places, func(p Step) bool { return slices.Contains(s.After, p.ID) }) {
			w.follow = append(w.follow, s)
			return
		}
		w.places = append(w.places, s)
	case Reload:
		if a.Target.Kind == kindEngine {
			w.engines = append(w.engines, s)
			return
		}
		w.reloads = append(w.reloads, s)
	case Settle:
		w.settles = append(w.settles, s)
	case Remove:
		w.removes = append(w.removes, s)
	case RemoveSecret:
		w.collects = append(w.collects, s)
	case Forget:
		w.forgets = append(w.forgets, s)
	case RecordRotation, SetNodeLifetime, RotateSwarm, SetNodeCA, AwaitRotation:
		w.swarms = append(w.swarms, s)
	default:
		panic(fmt.Sprintf("no way to carry out %T", s.Action))
	}
}

// run is one plan being carried out.
type run struct {
	Applier
	*view
	ctx    context.Context
	swarms map[string]Swarm // by host name, as they are when services are updated

	mu     sync.Mutex // guards what follows, and Report
	st     State
	broken error // why the store could not be written: what is durable is unknown, so nothing more is done
	failed map[int]error
	order  []int            // of failed
	away   map[string]error // by CA, of those outside that are not asked again in this pass
	silent map[string]error // by host, of those that are not
}

// each carries out steps one after the other.
func (r *run) each(steps []Step, do func(Step) error) {
	for _, s := range steps {
		if r.begin(s) {
			start := r.Clock()
			r.end(s, r.guard(func() error { return do(s) }), start)
		}
	}
}

// begin reports whether a step may be done: the run goes on, and everything it comes after succeeded.
func (r *run) begin(s Step) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.cut()
	switch {
	case errors.Is(r.broken, ErrChanged):
		err = r.broken // not a failure: what is still to be done is planned anew
	case r.broken != nil:
		err = errSkipped
	}
	for _, id := range s.After {
		switch before := r.failed[id]; {
		case before == nil || err != nil:
		case errors.Is(before, ErrChanged):
			err = ErrChanged
		default:
			err = errSkipped
		}
	}
	if err == nil {
		err = r.silent[hostOf(s.Action)]
	}
	if err != nil {
		r.fail(s, err)
		r.report(Event{Step: s, Done: true, Err: err})
		return false
	}
	r.report(Event{Step: s})
	return true
}

// cut says that the run is to end now, or nil.
func (r *run) cut() error {
	switch err := r.ctx.Err(); {
	case err == nil:
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("out of time")
	}
	return errors.New("interrupted")
}

func (r *run) end(s Step, err error, start time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.fail(s, err)
	}
	r.report(Event{Step: s, Done: true, Err: err, Took: r.Clock().Sub(start)})
}

func (r *run) fail(s Step, err error) {
	if away, host := (Away{}), hostOf(s.Action); host != "" && errors.As(err, &away) {
		r.silent[host] = away
	}
	r.failed[s.ID] = fmt.Errorf("step %d: %s: %w", s.ID, s.Action, err)
	r.order = append(r.order, s.ID)
}

func (r *run) report(e Event) {
	if r.Report != nil {
		r.Report(e)
	}
}

func (r *run) err() error {
	var all *multierror.Error
	for _, id := range r.order {
		all = multierror.Append(all, r.failed[id])
	}
	if all != nil {
		all.ErrorFormat = lines
	}
	return all.ErrorOrNil()
}

func lines(errs []error) string {
	s := ""
	for i, e := range errs {
		if i > 0 {
			s += "\n"
		}
		s += e.Error()
	}
	return s
}

// commit makes the state durable as it is now. Callers hold no lock. After a commit that failed nobody knows which
// state is there, so the run does nothing more; the next observation reads it.
func (r *run) commit() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.broken == nil {
		// What was done has to be recorded, also when someone has had enough meanwhile.
		if r.broken = r.Store.Commit(context.WithoutCancel(r.ctx), r.st); r.broken != nil && !errors.Is(r.broken, ErrChanged) {
			r.broken = unkept{r.broken}
		}
	}
	return r.broken
}

// unkept is why the store did not take what was done.
type unkept struct{ error }

func (u unkept) Unwrap() error { return u.error }

func (r *run) mark(binding string) Mark {
	return Mark{Installation: r.st.Installation, Project: r.Spec.Project, Binding: binding}
}
