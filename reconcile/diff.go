package reconcile

import (
	"slices"
	"time"

	"github.com/certwright/certwright/spec"
)

// Scope bounds what a plan may be about.
type Scope struct {
	Only  []string // bindings; empty for all. Identities and CAs they need come along; nothing is pruned
	Prune Prune    // what may be removed because it left the spec
	// ForceRotation rotates a Swarm's root also while a node is not ready.
	ForceRotation bool
	Since         time.Time // when this run began: rungs of a ladder tried earlier are tried again
	// Patient leaves what failed until its time has come, as watch does; a person who applies wants it tried now.
	Patient bool
}

// Has reports whether the binding is in scope.
func (s Scope) Has(binding string) bool { return len(s.Only) == 0 || slices.Contains(s.Only, binding) }

// Prune says how much may be removed in one plan.
type Prune int

// PruneSome refuses to clear more than half of the bindings at once.
const (
	PruneSome Prune = iota
	PruneNone
	PruneAll
)

// Diff says what has to be done so that the world is as the spec wants it. It is pure: equal arguments give equal
// plans, and nothing but World.Now is the time.
func Diff(s *spec.Spec, w World, scope Scope) Plan {
	d := &differ{
		view: newView(s, &w), scope: scope,
		caSteps: map[string]int{}, idSteps: map[string]int{}, held: map[string]Refusal{},
		places: map[Location]int{}, secretNames: map[string]bool{}, wanted: make(map[Location]string, len(s.Bindings)), unresolved: map[string]bool{},
	}
	d.plan.Project = s.Project
	bindings := d.selected()
	needed := d.needed(bindings)
	d.clock()
	for i := range s.CAs {
		if needed == nil || needed["ca/"+s.CAs[i].Name] {
			d.ca(&s.CAs[i])
		}
	}
	for i := range s.Identities {
		if needed == nil || needed["identity/"+s.Identities[i].Name] {
			d.identity(&s.Identities[i])
		}
	}
	wants := make([]want, len(bindings))
	_ = inParallel(len(bindings), func(i int) error {
		wants[i] = d.want(bindings[i])
		return nil
	})
	if len(scope.Only) == 0 {
		d.revocations()
	}
	d.reserve(needed != nil)
	for i, b := range bindings {
		if b.Place.Engine == nil {
			d.binding(b, wants[i])
		}
	}
	for i, b := range bindings { // their clients are placed before them
		if b.Place.Engine != nil {
			d.binding(b, wants[i])
		}
	}
	if len(scope.Only) == 0 && scope.Prune != PruneNone {
		d.prune()
	}
	if len(scope.Only) == 0 {
		d.swarm()
	}
	return d.plan
}

// differ is one run of Diff.
type differ struct {
	*view
	scope Scope
	plan  Plan

	caSteps     map[string]int      // the step that makes a CA
	idSteps     map[string]int      // the step that issues an identity
	held        map[string]Refusal  // subjects that cannot be had, and why
	places      map[Location]int    // the step that writes a place
	secretNames map[string]bool     // of Swarm secrets and configs that a binding wants, by subject
	wanted      map[Location]string // the binding that has a place
	unresolved  map[string]bool     // bindings whose places are not known now
}

// reserve keeps the places of bindings that are out of scope for them.
func (d *differ) reserve(some bool) {
	for i := range d.s.Bindings {
		b := &d.s.Bindings[i]
		if !some || d.scope.Has(b.Name) {
			continue
		}
		at, _, _ := d.locate(b)
		for _, l := range at {
			d.wanted[d.physical(l.at)] = b.Name
		}
	}
}

// step adds a step and returns its number, or 0 when it failed and is left for later, which is said of its subject.
func (d *differ) step(a Action, reason string, after ...int) int {
	failed := d.failed(a)
	if d.scope.Patient && failed.Next.After(d.w.Now) {
		d.refuse(Failed, a.Subject(), a.String()+": "+failed.Error, failed.hint(a))
		d.due(failed.Next)
		d.plan.Later = append(d.plan.Later, Step{Action: a, Reason: reason, Failed: failed})
		return 0
	}
	after = slices.DeleteFunc(after, func(n int) bool { return n == 0 })
	slices.Sort(after)
	s := Step{ID: len(d.plan.Steps) + 1, Action: a, Reason: reason, After: slices.Compact(after), Failed: failed}
	d.plan.Steps = append(d.plan.Steps, s)
	return s.ID
}

// failed is the record of a step that is about the same as when it failed, or zero. A time to try again that has come is none.
func (d *differ) failed(a Action) Failure {
	f, known := d.w.State.Failures[failureKey(a)]
	if !known || !f.current(d.w.Now) || f.About != d.about(a) {
		return Failure{}
	}
	if !f.Next.After(d.w.Now) {
		f.Next = time.Time{}
	}
	return f
}

// lately reports whether a load was tried in this run, or failed so short a time ago that watch waits.
func (d *differ) lately(l Load, wait time.Duration) bool {
	return !d.again(l, wait).IsZero() || !l.At.Before(d.scope.Since)
}

// again is when watch tries a load again that failed so short a time ago that it waits, or zero; it is noted.
func (d *differ) again(l Load, wait time.Duration) time.Time {
	next := l.At.Add(wait)
	if !d.scope.Patient || l.Error == "" || l.At.After(d.w.Now) || !next.After(d.w.Now) {
		return time.Time{}
	}
	d.due(next)
	return next
}

func (d *differ) refuse(state BindingState, subject, reason, hint string) {
	d.refuseUntil(time.Time{}, state, subject, reason, hint)
}

// refuseUntil refuses something for a time.
func (d *differ) refuseUntil(again time.Time, state BindingState, subject, reason, hint string) {
	d.due(again)
	r := Refusal{Subject: subject, Reason: reason, Hint: hint, State: state, Until: again}
	if state.Settled() {
		d.plan.Waiting = append(d.plan.Waiting, r)
		return
	}
	if !slices.Contains(d.plan.Blocked, r) { // replicas have troubles in common
		d.plan.Blocked = append(d.plan.Blocked, r)
	}
	d.held[subject] = r
}

// refuseWith refuses a subject for what another one, without which it cannot be had, is refused for, if that is so.
func (d *differ) refuseWith(subject, needed, words string) bool {
	r, held := d.held[needed]
	if held {
		d.refuse(r.State, subject, words+r.Reason, r.Hint)
	}
	return held
}

// due notes a time at which time alone makes another plan.
func (d *differ) due(t time.Time) {
	if t.After(d.w.Now) && (d.plan.Next.IsZero() || t.Before(d.plan.Next)) {
		d.plan.Next = t
	}
}

func (d *differ) selected() []*spec.Binding {
	var out []*spec.Binding
	for i := range d.s.Bindings {
		if b := &d.s.Bindings[i]; d.scope.Has(b.Name) {
			out = append(out, b)
		}
	}
	return out
}

// needed are the subjects the selected bindings stand on; nil means everything.
func (d *differ) needed(bindings []*spec.Binding) map[string]bool {
	if len(d.scope.Only) == 0 {
		return nil
	}
	out := map[string]bool{}
	var ca func(name string)
	ca = func(name string) {
		out["ca/"+name] = true
		if c := d.cas[name]; c != nil && c.Local != nil && c.Local.Parent != nil {
			ca(c.Local.Parent.Name)
		}
	}
	identity := func(name string) {
		out["identity/"+name] = true
		if id := d.ids[name]; id != nil {
			ca(id.CA.Name)
		}
	}
	for _, b := range bindings {
		for _, t := range b.Trust {
			ca(t.Name)
		}
		if b.Identity != nil {
			identity(b.Identity.Name)
		}
		if b.Probe != nil && b.Probe.Identity != nil { // the client that must be accepted
			identity(b.Probe.Identity.Name)
		}
	}
	return out
}
