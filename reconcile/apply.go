package reconcile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-multierror"

	"github.com/certwright/certwright/spec"
)

// Event tells how a step goes.
type Event struct {
	Step Step
	Done bool  // false when it begins
	Err  error // why it failed; errSkipped when something it comes after did
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
		st, err := a.Store.Load(ctx)
		if err != nil {
			return err
		}
		w.State = st
	}
	r := &run{Applier: a, ctx: ctx, view: newView(a.Spec, &w), st: w.State.Clone(), failed: map[int]error{}}
	maps.Copy(r.st.Owners, w.Owners)
	r.drop(w)
	var wave waves
	for _, s := range plan.Steps {
		wave.add(s)
	}
	// The kinds come in the order in which they can depend on each other, so that what many steps share is done
	// once: one commit for all certificates, one sync for all places.
	for _, s := range wave.cas {
		r.each([]Step{s}, func(Step) error { return r.createCA(s.Action.(CreateCA)) })
	}
	r.issue(wave.issues)
	r.each(wave.volumes, func(s Step) error {
		v := s.Action.(CreateVolume)
		return r.Engines.CreateVolume(ctx, v.Host, v.Name, v.Labels)
	})
	r.placeSecrets(wave.secrets)
	r.place(wave.places)
	r.reload(wave.reloads)
	r.remove(wave.removes)
	r.each(wave.collects, func(s Step) error {
		a := s.Action.(RemoveSecret)
		return r.Swarms.RemoveSecret(ctx, a.Host, a.ID)
	})
	r.forget(wave.forgets)
	return r.err()
}

// waves are the steps of a plan by kind.
type waves struct {
	cas, issues, volumes, secrets, places, reloads, removes, collects, forgets []Step
}

func (w *waves) add(s Step) {
	switch a := s.Action.(type) {
	case CreateCA:
		w.cas = append(w.cas, s)
	case Issue:
		w.issues = append(w.issues, s)
	case CreateVolume:
		w.volumes = append(w.volumes, s)
	case Place:
		if a.At.service() != "" {
			w.secrets = append(w.secrets, s)
			return
		}
		w.places = append(w.places, s)
	case Reload:
		w.reloads = append(w.reloads, s)
	case Remove:
		w.removes = append(w.removes, s)
	case RemoveSecret:
		w.collects = append(w.collects, s)
	case Forget:
		w.forgets = append(w.forgets, s)
	default:
		panic(fmt.Sprintf("no way to carry out %T", s.Action))
	}
}

// run is one plan being carried out.
type run struct {
	Applier
	*view
	ctx context.Context

	mu     sync.Mutex // guards what follows, and Report
	st     State
	broken error // why the store could not be written: what is durable is unknown, so nothing more is done
	failed map[int]error
	order  []int // of failed
}

// each carries out steps one after the other.
func (r *run) each(steps []Step, do func(Step) error) {
	for _, s := range steps {
		if r.begin(s) {
			start := r.Clock()
			r.end(s, do(s), start)
		}
	}
}

// begin reports whether a step may be done: the run goes on, and everything it comes after succeeded.
func (r *run) begin(s Step) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.cut()
	if r.broken != nil {
		err = errSkipped
	}
	for _, id := range s.After {
		if r.failed[id] != nil {
			err = errSkipped
		}
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
		r.broken = r.Store.Commit(context.WithoutCancel(r.ctx), r.st)
	}
	return r.broken
}

// createCA makes a CA's first generation durable, and proves from what was read back that it can sign.
func (r *run) createCA(a CreateCA) error {
	ca := r.cas[a.CA]
	var g Generation
	if b, ok := r.w.Brought[a.CA]; ok {
		g = b.Generation
		g.Key = PrivateKey{}
	} else {
		var parent *Generation
		if ca.Local.Parent != nil {
			p, ok := r.signer(ca.Local.Parent.Name, r.st)
			if !ok {
				return fmt.Errorf("CA %s cannot sign", ca.Local.Parent.Name)
			}
			parent = &p
		}
		var err error
		if g, err = r.Authority.Create(*ca, parent, 1, r.w.Now); err != nil {
			return err
		}
		g.Wanted = profileOfCA(ca, parent)
	}
	g.State = GenerationActive
	r.st.CAs[a.CA] = CA{Generations: []Generation{g}}
	if err := r.commit(); err != nil {
		return err
	}
	back, err := r.Store.Load(r.ctx)
	if err != nil {
		r.broken = err
		return fmt.Errorf("read the new CA back: %w", err)
	}
	r.st = back
	signer, ok := r.signer(a.CA, r.st)
	if !ok {
		return errors.New("the new CA is not there when read back")
	}
	return r.Authority.Check(signer, r.w.Now)
}

// issue makes certificates on every processor and commits them together.
func (r *run) issue(steps []Step) {
	start := r.Clock()
	signers := r.signers(steps)
	errs := make([]error, len(steps))
	done := make([]Issued, len(steps))
	begun := make([]bool, len(steps))
	for i, s := range steps {
		begun[i] = r.begin(s)
	}
	_ = inParallel(len(steps), func(i int) error {
		if begun[i] {
			done[i], errs[i] = r.sign(steps[i], signers)
		}
		return nil
	})
	changed := false
	for i, s := range steps {
		if begun[i] && errs[i] == nil {
			changed = true
			r.st.Identities[s.Action.(Issue).Identity] = done[i]
			delete(r.st.Wishes, s.Action.Subject())
		}
	}
	var failed error
	if changed {
		failed = r.commit()
	}
	for i, s := range steps {
		if begun[i] {
			r.end(s, errors.Join(errs[i], failed), start)
		}
	}
}

// signing is the generation that signs for a CA, or why there is none.
type signing struct {
	by  Generation
	err error
}

// signers are the CAs the steps need, each proved to be able to sign: an earlier run may have ended between making
// one and proving it.
func (r *run) signers(steps []Step) map[string]signing {
	out := map[string]signing{}
	for _, s := range steps {
		name := r.ids[s.Action.(Issue).Identity].CA.Name
		if _, done := out[name]; done {
			continue
		}
		g, ok := r.signer(name, r.st)
		if !ok {
			out[name] = signing{err: fmt.Errorf("CA %s cannot sign", name)}
			continue
		}
		out[name] = signing{by: g, err: r.Authority.Check(g, r.w.Now)}
	}
	return out
}

func (r *run) sign(s Step, signers map[string]signing) (Issued, error) {
	a := s.Action.(Issue)
	id := r.ids[a.Identity]
	signer := signers[id.CA.Name]
	if signer.err != nil {
		return Issued{}, signer.err
	}
	var keep PrivateKey
	if a.Reuse {
		keep = r.w.State.Identities[a.Identity].Key
	}
	i, err := r.Authority.Issue(*id, signer.by, keep, r.w.Now)
	i.Wanted, i.Reason = profileOf(id), s.Reason
	return i, err
}

// remove clears places and then their rows.
func (r *run) remove(steps []Step) {
	var doing []Step
	var removals []Removal
	for _, s := range steps {
		if !r.begin(s) {
			continue
		}
		a := s.Action.(Remove)
		doing = append(doing, s)
		if a.At.service() != "" { // its secrets went before
			delete(r.st.Places, a.At)
			continue
		}
		removals = append(removals, Removal{At: a.At, Mark: r.mark(a.Binding), Files: r.st.Places[a.At].Files})
	}
	if len(doing) == 0 {
		return
	}
	start := r.Clock()
	errs := map[Location]error{}
	for i, err := range r.Places.Remove(r.ctx, removals) {
		if errs[removals[i].At] = err; err == nil {
			delete(r.st.Places, removals[i].At)
		}
	}
	failed := r.commit()
	for _, s := range doing {
		r.end(s, errors.Join(errs[s.Action.(Remove).At], failed), start)
	}
}

func (r *run) forget(steps []Step) {
	var doing []Step
	for _, s := range steps {
		if r.begin(s) {
			doing = append(doing, s)
			delete(r.st.Identities, s.Action.(Forget).Identity)
			delete(r.st.Wishes, s.Action.Subject())
		}
	}
	if len(doing) == 0 {
		return
	}
	start := r.Clock()
	failed := r.commit()
	for _, s := range doing {
		r.end(s, failed, start)
	}
}

func (r *run) mark(binding string) Mark {
	return Mark{Installation: r.st.Installation, Project: r.Spec.Project, Binding: binding}
}

// drop forgets records about containers that are gone, of engines that answered.
func (r *run) drop(w World) {
	live := map[string]bool{}
	for _, e := range w.Engines {
		if e.Err != "" {
			return
		}
		for _, c := range e.Containers {
			live[c.ID] = true
		}
	}
	unknown := map[string]bool{} // bindings whose service may be there
	for at, row := range r.st.Places {
		if s, asked := w.Swarms[at.Host]; at.service() != "" && (!asked || s.Err != "") {
			unknown[row.Binding] = true
		}
	}
	for _, s := range w.Swarms {
		for _, svc := range s.Services {
			live[svc.ID] = true
		}
	}
	maps.DeleteFunc(r.st.Loads, func(_ string, l Load) bool { return !live[l.Target] && !unknown[l.Binding] })
	maps.DeleteFunc(r.st.Owners, func(key string, _ Owner) bool {
		id, _, _ := strings.Cut(key, "/")
		return !live[id]
	})
}
