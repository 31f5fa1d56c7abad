package reconcile

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
)

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
		if a.At.secrets() { // its secrets went before
			delete(r.st.Places, a.At)
			continue
		}
		removals = append(removals, Removal{At: a.At, Mark: r.mark(a.Binding), Files: r.st.Places[a.At].Files})
	}
	if len(doing) == 0 {
		return
	}
	start := r.Clock()
	removed, broke := timed(r, placeLimit, func(ctx context.Context) ([]error, error) { return r.Places.Remove(ctx, removals), nil })
	if broke != nil {
		removed = slices.Repeat([]error{broke}, len(removals))
	}
	errs := map[Location]error{}
	for i, err := range removed {
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

// collect removes Swarm secrets and configs that nothing uses.
func (r *run) collect(steps []Step) {
	r.each(steps, func(s Step) error {
		a := s.Action.(RemoveSecret)
		return r.Swarms.RemoveSecret(r.ctx, a.Host, Secret{SecretKind: a.SecretKind, ID: a.ID})
	})
}

// drop forgets records about containers that are gone, of engines that answered, if all were asked.
func (r *run) drop(w World) {
	if w.Only != nil {
		return
	}
	maps.DeleteFunc(r.st.Places, func(at Location, _ PlaceRow) bool { return r.vanished(at) })
	live := map[string]bool{engineID: len(w.Daemons) > 0}
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
		if s, asked := w.Swarms[at.Host]; at.secrets() && (!asked || s.Err != "") {
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
