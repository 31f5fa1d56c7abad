package reconcile

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/certwright/certwright/spec"
)

// placeSecrets makes the secrets of bindings that are not there yet. Their rows are committed first, all at once: a Swarm
// is asked as long as there is one.
func (r *run) placeSecrets(steps []Step) {
	type making struct {
		Step
		m    material
		refs []SecretRef
	}
	start := r.Clock()
	var doing []making
	for _, s := range steps {
		if !r.begin(s) {
			continue
		}
		b := r.bindings[s.Action.(Place).Binding]
		m, missing := r.material(b, r.st)
		if missing != "" {
			r.end(s, errors.New(missing), start)
			continue
		}
		refs := r.refs(b, m)
		row := PlaceRow{Binding: b.Name, Wrote: refsPrint(refs), At: r.w.Now}
		for _, ref := range refs {
			row.Files = append(row.Files, ref.Target)
		}
		slices.Sort(row.Files)
		r.st.Places[ofSecrets(b)] = row
		doing = append(doing, making{s, m, refs})
	}
	if len(doing) == 0 {
		return
	}
	failed := r.commit()
	for _, s := range doing {
		err := failed
		if err == nil {
			err = r.guard(func() error { return r.make(r.bindings[s.Action.(Place).Binding], s.m, s.refs) })
		}
		r.end(s.Step, err, start)
	}
}

// make makes the secrets of a binding that are not there, and marks those that are there without its mark.
func (r *run) make(b *spec.Binding, m material, refs []SecretRef) error {
	for i, f := range r.files(b, located{list: b.Files}, m) {
		if r.unmade(b, refs[i:i+1]) == "" {
			continue
		}
		data, err := secretData(r.Providers, f)
		if err != nil {
			return err
		}
		s := NewSecret{SecretKind: refs[i].SecretKind, Name: refs[i].Name, Data: data, Labels: map[string]string{
			ProjectLabel: r.Spec.Project, SecretInstallation: r.st.Installation, SecretBinding: b.Name, SecretFile: f.spec.Name,
		}}
		if is := r.w.Swarms[b.Host.Name].named(s.SecretKind, s.Name); is != nil {
			err = r.markSecret(b, *is, s)
		} else {
			err = r.Swarms.CreateSecret(r.ctx, b.Host.Name, s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// markSecret gives a secret that has one of our names our labels, which it may have lost. Only what it holds shows
// whether it is ours.
func (r *run) markSecret(b *spec.Binding, is Secret, want NewSecret) error {
	labels := map[string]string{}
	maps.Copy(labels, is.Labels) // what others wrote there stays
	maps.Copy(labels, want.Labels)
	is.Labels = labels
	holds, err := false, error(nil)
	if !is.Forged {
		holds, err = r.Swarms.LabelSecret(r.ctx, b.Host.Name, is, want.Data)
	}
	if err == nil && !holds {
		err = fmt.Errorf("%s %s was not made by certwright, and does not hold what %s should: "+
			"take it from its services and remove it with `docker %[1]s rm %[2]s`", is.Word(), is.Name, want.Labels[SecretFile])
	}
	return err
}

// update gives a service its binding's secrets. It is recorded before it is done: one that is cut short counts.
func (r *run) update(s Step) {
	if !r.begin(s) {
		return
	}
	start := r.Clock()
	a := s.Action.(Reload)
	b, key := r.bindings[a.Binding], a.Binding+"/"+a.Target.ID
	m, missing := r.material(b, r.st)
	if missing != "" {
		r.end(s, errors.New(missing), start)
		return
	}
	svc := r.updated(b, a.Target)
	refs := r.given(b, svc, r.refs(b, m))
	r.mu.Lock()
	before, known := r.st.Loads[key]
	next := Load{Binding: a.Binding, Target: a.Target.ID, Unit: refsPrint(refs), At: start}
	again := known && before.Unit == next.Unit
	if again {
		next.Restarts = since(before.Restarts, start.Add(-time.Hour))
	}
	next.Restarts = append(next.Restarts, start)
	r.st.Loads[key] = next
	r.mu.Unlock()
	err := r.commit()
	if err == nil {
		err = r.guard(func() error { return r.push(b, a.Target.Host, svc, refs) })
	}
	r.mu.Lock()
	next.Proved, next.Error = err == nil, text(err)
	if next.Proved && !(again && before.Proved) {
		next.Restarts = nil // only what undoes somebody else's doing counts from here on
	}
	if cut := r.cut(); err != nil && cut != nil {
		err, next.Error = cut, "" // nobody knows what it would have led to
	}
	r.st.Loads[key] = next
	switch {
	case !errors.Is(err, ErrNotUpdated):
	case known:
		r.st.Loads[key] = before
	default:
		delete(r.st.Loads, key)
	}
	if err == nil && r.st.Wishes[s.Action.Subject()].Adopt {
		delete(r.st.Wishes, s.Action.Subject())
	}
	r.mu.Unlock()
	r.end(s, err, start)
}

// listSwarms lists the Swarms of the services among reloads once more: only now do all secrets have their ids.
func (r *run) listSwarms(reloads []Step) {
	r.swarms = map[string]Swarm{}
	for _, s := range reloads {
		t := s.Action.(Reload).Target
		if _, done := r.swarms[t.Host]; !done && t.Kind == kindService {
			r.swarms[t.Host] = r.Swarms.Swarm(r.ctx, t.Host)
		}
	}
}

// push swaps what the service was seen to mount in the binding's place for what it should.
func (r *run) push(b *spec.Binding, host string, svc Service, refs []SecretRef) error {
	if err := r.swarms[host].Err; err != "" {
		return fmt.Errorf("%w: %s", ErrNotUpdated, err)
	}
	u := ServiceUpdate{ID: svc.ID}
	for _, is := range svc.Secrets {
		if r.madeFor(b, is) || slices.ContainsFunc(refs, func(r SecretRef) bool { return r.Target == is.Target }) {
			u.Take = append(u.Take, is)
		}
	}
	for _, ref := range refs {
		s := r.swarms[host].named(ref.SecretKind, ref.Name)
		switch {
		case s == nil:
			return fmt.Errorf("%w: %s %s is not there any more", ErrNotUpdated, ref.Word(), ref.Name)
		case !r.marked(b, *s): // somebody made it after we looked
			return fmt.Errorf("%w: %s %s is not marked as ours", ErrNotUpdated, ref.Word(), ref.Name)
		}
		ref.ID = s.ID
		u.Give = append(u.Give, ref)
	}
	return r.Swarms.Update(r.ctx, host, u)
}

// updated is the service that an update is for, as it was seen when that was planned.
func (r *run) updated(b *spec.Binding, t Target) Service {
	services := r.services(b)
	return services[slices.IndexFunc(services, func(s Service) bool { return s.ID == t.ID })]
}
