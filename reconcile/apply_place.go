package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/certwright/certwright/spec"
)

// place writes all places in one call. Their rows are committed first: what the inventory does not know could
// not be cleared away later.
func (r *run) place(steps []Step) {
	start := r.Clock()
	var begun, doing []Step
	for _, s := range steps {
		if r.begin(s) {
			begun = append(begun, s)
		}
	}
	ready := make([]rendered, len(begun))
	_ = inParallel(len(begun), func(i int) error {
		ready[i] = r.render(begun[i].Action.(Place))
		return nil
	})
	var units []Unit
	for i, s := range begun {
		u := ready[i]
		if u.err != nil {
			r.end(s, u.err, start)
			continue
		}
		doing, units = append(doing, s), append(units, u.Unit)
		r.owe(s.Action.(Place), u.print)
		r.enter(s.Action.(Place), u.Unit, u.print)
	}
	if len(doing) == 0 {
		return
	}
	if err := r.commit(); err != nil {
		for _, s := range doing {
			r.end(s, err, start)
		}
		return
	}
	errs, broke := timed(r, placeLimit, func(ctx context.Context) ([]error, error) { return r.Places.Write(ctx, units), nil })
	if broke != nil {
		errs = slices.Repeat([]error{broke}, len(units))
	}
	changed := false
	for i, s := range doing {
		changed = r.placed(s.Action.(Place), units[i], errs[i]) || changed
	}
	r.adopted(steps, doing, errs)
	var failed error
	if changed {
		failed = r.commit()
	}
	for i, s := range doing {
		r.end(s, errors.Join(errs[i], failed), start)
	}
}

// rendered is a unit that is ready to be written, or why it cannot be.
type rendered struct {
	Unit
	print Fingerprint
	err   error
}

func (r *run) render(a Place) rendered {
	out, err := guarded(r.Providers, func() (rendered, error) {
		u, print, err := r.unit(a)
		return rendered{Unit: u, print: print}, err
	})
	out.err = err
	return out
}

// unit renders the files of a binding as they should be at a place.
func (r *run) unit(a Place) (Unit, Fingerprint, error) {
	b := r.bindings[a.Binding]
	at, refused, _ := r.locate(b)
	i := slices.IndexFunc(at, func(l located) bool { return l.at == a.At })
	if refused != nil || i < 0 {
		return Unit{}, "", fmt.Errorf("the place is not there any more")
	}
	m, missing := r.material(b, r.st)
	if missing != "" {
		return Unit{}, "", errors.New(missing)
	}
	u := Unit{
		At: a.At, Mark: r.mark(b.Name), Layout: b.Layout, InPlace: a.InPlace, Adopt: a.Adopt, Now: r.w.Now,
	}
	files := r.files(b, at[i], m)
	for _, f := range files {
		password, err := secret(r.Providers, f.spec.Password)
		if err != nil {
			return u, "", err
		}
		data, err := r.Formats.Encode(f.spec.Content, f.holds, alias(b, f.spec), password)
		if err != nil {
			return u, "", fmt.Errorf("%s: %w", f.spec.Name, err)
		}
		u.Files = append(u.Files, UnitFile{Name: f.spec.Name, Data: data, Mode: f.mode, UID: f.owner.UID, GID: f.owner.GID})
	}
	for _, old := range r.st.Places[a.At].Files {
		if !slices.ContainsFunc(u.Files, func(f UnitFile) bool { return f.Name == old }) {
			u.Old = append(u.Old, old)
		}
	}
	return u, unitPrint(files), nil
}

// alias names the entry of a keystore.
func alias(b *spec.Binding, f spec.File) string {
	switch {
	case f.Alias != "":
		return f.Alias
	case b.Identity != nil:
		return b.Identity.Name
	}
	return b.Name
}

// owe records of running containers that nothing was ever said to what they have loaded: what was placed when they
// started. Should nobody live to tell them of the new files, the next run sees that they have others.
func (r *run) owe(a Place, print Fingerprint) {
	row := r.st.Places[a.At]
	if row.Wrote == "" || row.Wrote == print {
		return
	}
	at, _, _ := r.locate(r.bindings[a.Binding])
	for _, l := range at {
		for _, c := range l.containers {
			key := TargetKey(a.Binding, c)
			if _, told := r.st.Loads[key]; l.at == a.At && c.Running() && !told {
				r.st.Loads[key] = Load{Binding: a.Binding, Target: c.ID, Unit: row.Wrote, Proved: true, At: row.At}
			}
		}
	}
}

// enter writes the place's row ahead: the names of now and of before, until the old ones are gone.
func (r *run) enter(a Place, u Unit, print Fingerprint) {
	row := r.st.Places[a.At]
	names := slices.Clone(u.Old)
	for _, f := range u.Files {
		names = append(names, f.Name)
	}
	slices.Sort(names)
	next := PlaceRow{Binding: a.Binding, Layout: u.Layout, Files: names, Wrote: print, At: r.w.Now}
	switch {
	case a.Revert:
		next.Reverts = append(since(row.Reverts, r.w.Now.Add(-contestedWindow)), r.w.Now)
	case row.Wrote == print && row.underWay(r.w.Now): // that time does not begin again
		next.At = row.At
	}
	r.st.Places[a.At] = next
}

// adopted drops the wishes to adopt that were granted at every place of their binding.
func (r *run) adopted(steps, written []Step, errs []error) {
	failed := map[string]bool{}
	for _, s := range steps {
		if r.failed[s.ID] != nil { // it could not even be rendered
			failed[s.Action.Subject()] = true
		}
	}
	for i, s := range written {
		if errs[i] != nil {
			failed[s.Action.Subject()] = true
		}
	}
	for _, s := range written {
		if s.Action.(Place).Adopt && !failed[s.Action.Subject()] {
			delete(r.st.Wishes, s.Action.Subject())
		}
	}
}

// placed brings the row up to what is there now and reports whether that has to be committed.
func (r *run) placed(a Place, u Unit, err error) bool {
	row := r.st.Places[a.At]
	if err != nil {
		if a.Revert { // nothing was undone, and what is tried again is not someone else's doing
			row.Reverts = row.Reverts[:len(row.Reverts)-1]
			r.st.Places[a.At] = row
		}
		return a.Revert
	}
	row.Files = slices.DeleteFunc(slices.Clone(row.Files), func(n string) bool { return slices.Contains(u.Old, n) })
	r.st.Places[a.At] = row
	return a.Adopt || len(u.Old) > 0
}
