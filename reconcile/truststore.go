package reconcile

import (
	"fmt"
	"strings"

	"github.com/certwright/certwright/spec"
)

// ofStore is the place that the trust store of a container is. A container that was made anew is another one, with a store as
// its image has it.
func ofStore(b *spec.Binding, c Container) Location {
	return Location{Host: b.Host.Name, Container: c.ID, Sub: string(b.Place.Store.Kind) + b.Place.Store.Database}
}

// storesOf are the trust stores of a binding: each container has its own.
func storesOf(b *spec.Binding, all []Container) []located {
	out := make([]located, len(all))
	for i, c := range all {
		out[i] = located{at: ofStore(b, c), containers: []Container{c}}
	}
	return out
}

// still reports whether it is the trust store of a container that does not run: the store's own tool runs in there.
func (l located) still() bool {
	return l.at.Container != "" && !l.containers[0].Running()
}

// unlikeStore says how a trust store has not the roots that it should have: it is read as a file of them, of which nobody knows.
func (v *view) unlikeStore(b *spec.Binding, at Location, placed bool) string {
	var names []string
	for _, t := range b.Trust {
		names = append(names, t.Name)
	}
	of, store := at.TrustStore(), ""
	if of.Database != "" {
		store = " " + of.Database
	}
	store = fmt.Sprintf("%s store%s of %s", of.Kind, store, v.storeIn(at))
	roots := "the roots of " + strings.Join(names, ", ")
	if placed {
		return roots + " are not in the " + store + " as they were placed"
	}
	return roots + " are wanted in the " + store + ", and it has others of certwright"
}

// vanished reports whether a place was in a container that its engine has no more: nothing is left of it.
func (v *view) vanished(l Location) bool {
	if l.Container == "" {
		return false
	}
	e, seen := v.w.Engines[l.Host]
	if !seen || e.Err != "" {
		return false
	}
	_, there := e.container(l.Container)
	return !there
}

// container finds a container by its id.
func (e EngineState) container(id string) (Container, bool) {
	for _, c := range e.Containers {
		if c.ID == id {
			return c, true
		}
	}
	return Container{}, false
}

// storeIn names the container whose trust store a place is, as people know it; "" for other places.
func (v *view) storeIn(l Location) string {
	if l.Container == "" {
		return ""
	}
	c, _ := v.w.Engines[l.Host].container(l.Container)
	return c.Name
}
