package reconcile

import (
	"slices"

	"github.com/certwright/certwright/spec"
)

// Adoptable reports whether there is something to adopt for a binding, or may be when what cannot be looked at now can be: files that
// certwright did not make, also where something else is in the way besides, or whatever else a wish changes in the plan. It is pure.
func Adoptable(s *spec.Spec, w World, binding string) bool {
	v := newView(s, &w)
	b := v.bindings[binding]
	if v.unseenPlace(b) || v.holdsForeign(b) {
		return true
	}
	scope, subject := Scope{Only: []string{binding}, Since: w.Now}, "binding/"+binding
	plan := func(change func(wishes map[string]Wish)) Plan {
		w := w
		w.State.Wishes = clone(w.State.Wishes)
		change(w.State.Wishes)
		return Diff(s, w, scope)
	}
	with := plan(func(wishes map[string]Wish) { wishes[subject] = Wish{At: w.Now, Adopt: true} })
	without := plan(func(wishes map[string]Wish) { delete(wishes, subject) })
	return with.text() != without.text() || !slices.Equal(with.Blocked, without.Blocked)
}

// unseenPlace reports whether it is not known where a binding's files are, or what is there. A file where a directory should be is
// seen: it is not taken over, and neither is what stands there after it.
func (v *view) unseenPlace(b *spec.Binding) bool {
	if b.Place.Swarm() {
		return v.w.Swarms[b.Host.Name].Err != "" || len(v.services(b)) == 0
	}
	at, refused, _ := v.locate(b)
	return refused != nil || slices.ContainsFunc(at, func(l located) bool {
		err := v.w.Places[l.at].Err
		return err != "" && !noDirectory(err)
	})
}

// holdsForeign reports whether something in the places of a binding was not made by certwright.
func (v *view) holdsForeign(b *spec.Binding) bool {
	m, _ := v.material(b, v.w.State)
	at, _, _ := v.locate(b)
	return slices.ContainsFunc(at, func(l located) bool { return v.foreign(b, v.w.Places[l.at], v.files(b, l, m)) != nil })
}
