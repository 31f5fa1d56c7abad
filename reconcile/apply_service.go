package reconcile

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/certwright/certwright/spec"
)

// placeSecrets makes the secrets of bindings that are not there yet. Their rows come first: a Swarm is asked as long as one
// is there.
func (r *run) placeSecrets(steps []Step) {
	r.each(steps, func(s Step) error {
		b := r.bindings[s.Action.(Place).Binding]
		m, missing := r.material(b, r.st)
		if missing != "" {
			return errors.New(missing)
		}
		refs := r.refs(b, m)
		row := PlaceRow{Binding: b.Name, Wrote: refsPrint(refs), At: r.w.Now}
		for _, ref := range refs {
			row.Files = append(row.Files, ref.Target)
		}
		slices.Sort(row.Files)
		r.st.Places[ofService(b)] = row
		if err := r.commit(); err != nil {
			return err
		}
		return r.make(b, m, refs)
	})
}

// make makes the secrets among refs that are not there.
func (r *run) make(b *spec.Binding, m material, refs []SecretRef) error {
	for i, f := range r.files(b, located{}, m) {
		if unmade(r.w.Swarms[b.Host.Name], refs[i:i+1]) == "" {
			continue
		}
		data, err := r.Formats.Encode(f.spec.Content, f.holds, "", "")
		if err != nil {
			return fmt.Errorf("%s: %w", f.spec.Name, err)
		}
		if len(data) == 0 { // the chain of a leaf that a root issued; Swarm takes no empty secret
			data = []byte("\n")
		}
		err = r.Swarms.CreateSecret(r.ctx, b.Host.Name, NewSecret{Name: refs[i].Name, Data: data, Labels: map[string]string{
			ProjectLabel: r.Spec.Project, SecretInstallation: r.st.Installation, SecretBinding: b.Name, SecretFile: f.spec.Name,
		}})
		if err != nil {
			return err
		}
	}
	return nil
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
	refs := r.refs(b, m)
	r.mu.Lock()
	before, known := r.st.Loads[key]
	next := Load{Binding: a.Binding, Target: a.Target.ID, Unit: refsPrint(refs), At: start}
	again := known && before.Unit == next.Unit
	if again {
		next.Restarts = slices.DeleteFunc(slices.Clone(before.Restarts), func(t time.Time) bool { return start.Sub(t) >= time.Hour })
	}
	next.Restarts = append(next.Restarts, start)
	r.st.Loads[key] = next
	r.mu.Unlock()
	err := r.commit()
	if err == nil {
		err = r.push(b, a.Target, refs)
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

// push updates a service by what the Swarm has now: the secrets were only just made.
func (r *run) push(b *spec.Binding, t Target, refs []SecretRef) error {
	now := r.Swarms.Swarm(r.ctx, t.Host)
	if now.Err != "" {
		return fmt.Errorf("%w: %s", ErrNotUpdated, now.Err)
	}
	w := *r.w
	w.Swarms = map[string]Swarm{t.Host: now}
	v := view{s: r.Spec, w: &w}
	svc := v.service(b)
	if svc == nil || svc.ID != t.ID {
		return fmt.Errorf("%w: it is not there any more", ErrNotUpdated)
	}
	if theirs := v.theirs(b, *svc); theirs != "" && !r.st.Wishes["binding/"+b.Name].Adopt {
		return fmt.Errorf("%w: it mounts a secret %s that was not made by certwright", ErrNotUpdated, theirs)
	}
	u := ServiceUpdate{ID: t.ID}
	for _, is := range svc.Secrets {
		if v.madeFor(b, is) || slices.ContainsFunc(refs, func(r SecretRef) bool { return r.Target == is.Target }) {
			u.Take = append(u.Take, is)
		}
	}
	for _, ref := range refs {
		i := slices.IndexFunc(now.Secrets, func(s Secret) bool { return s.Name == ref.Name })
		if i < 0 {
			return fmt.Errorf("%w: secret %s is not there any more", ErrNotUpdated, ref.Name)
		}
		ref.ID = now.Secrets[i].ID
		u.Give = append(u.Give, ref)
	}
	return r.Swarms.Update(r.ctx, t.Host, u)
}
