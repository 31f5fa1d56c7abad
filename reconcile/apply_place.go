package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/certwright/certwright/spec"
)

// place begins to write places, those of each host in one call, host beside host. Their rows are committed first: what the
// inventory does not know could not be cleared away later. What only undoes somebody's change is known already, and need not
// wait for that.
func (r *run) place(steps []Step) *placing {
	p := &placing{start: r.Clock(), steps: steps, written: map[string]chan struct{}{}}
	var begun []Step
	for _, s := range steps {
		if r.begin(s) {
			begun = append(begun, s)
		}
	}
	r.rename(begun)
	ready := make([]rendered, len(begun))
	_ = inParallel(len(begun), func(i int) error {
		ready[i] = r.render(begun[i].Action.(Place))
		return nil
	})
	byHost := map[string][]unit{}
	for i, s := range begun {
		u := ready[i]
		if u.err != nil {
			r.end(s, u.err, p.start)
			continue
		}
		a := s.Action.(Place)
		r.owe(a, u.print)
		var known bool
		u.Mark.Version, known = r.enter(a, u.Unit, u.print)
		p.ahead = p.ahead || !known
		byHost[a.At.Host] = append(byHost[a.At.Host], unit{s, u.Unit})
	}
	if p.ahead {
		if err := r.commit(); err != nil {
			for _, units := range byHost {
				for _, u := range units {
					r.end(u.step, err, p.start)
				}
			}
			return p
		}
	}
	limit := make(chan struct{}, hostWorkers)
	for host, units := range byHost {
		written := make(chan struct{})
		p.written[host] = written
		go func() {
			defer close(written)
			limit <- struct{}{}
			defer func() { <-limit }()
			r.write(p, units)
		}()
	}
	return p
}

// unit is a unit and the step that it is written for.
type unit struct {
	step Step
	Unit
}

// placing is the writing of places under way.
type placing struct {
	start   time.Time
	steps   []Step
	written map[string]chan struct{} // by host: closed when all there are
	ahead   bool                     // rows had to be committed first

	wrote   bool // something; guarded by the lock of the run, like what follows
	changed bool // there is something to commit
}

// await waits until the places of a host are written.
func (p *placing) await(host string) {
	if written, is := p.written[host]; is {
		<-written
	}
}

// write writes the places of one host, and ends their steps.
func (r *run) write(p *placing, of []unit) {
	units := make([]Unit, len(of))
	for i, u := range of {
		units[i] = u.Unit
	}
	errs, broke := timed(r, placeLimit, func(ctx context.Context) ([]error, error) { return r.Places.Write(ctx, units), nil })
	if broke != nil {
		errs = slices.Repeat([]error{broke}, len(units))
	}
	for i, u := range of {
		r.mu.Lock()
		p.wrote = true
		p.changed = r.placed(u.step.Action.(Place), u.Unit, errs[i]) || p.changed
		r.mu.Unlock()
		r.end(u.step, errs[i], p.start)
	}
}

// written waits until all places are written, and commits what came of it.
func (r *run) written(p *placing) {
	for _, host := range p.written {
		<-host
	}
	r.adopted(p.steps)
	if p.wrote && (p.changed || !p.ahead) { // what was undone is durable; that it was is still to be
		_ = r.commit() // whose error is that of the run
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
		At: a.At, Mark: r.mark(b.Name), Layout: b.Layout, InPlace: a.InPlace, Adopt: a.Adopt, Backups: a.Backups, Now: r.w.Now,
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

// rename brings the rows of what is placed under the names that the engines have now, whichever binding was there: one under another
// would have these files removed as soon as it is not known that both are one engine.
func (r *run) rename(steps []Step) {
	now := map[Location]Location{}
	for _, s := range steps {
		at := s.Action.(Place).At
		now[r.physical(at)] = at
	}
	for l, old := range r.st.Places {
		at, placed := now[r.physical(l)]
		if !placed || l == at {
			continue
		}
		row, there := r.st.Places[at]
		if !there {
			row = old
		}
		row.Files = append(slices.Clone(row.Files), old.Files...)
		slices.Sort(row.Files)
		row.Files = slices.Compact(row.Files)
		r.st.Places[at] = row
		delete(r.st.Places, l)
	}
}

// enter writes the place's row ahead: the names of now and of before, until the old ones are gone. It returns the version
// for the mark, which is that of nobody else, since rows are committed one after the other; or that of the row, where all
// of it is known already: whoever has placed something else since has a later one.
func (r *run) enter(a Place, u Unit, print Fingerprint) (version int, known bool) {
	row := r.st.Places[a.At]
	version = row.Version
	if m := r.w.Places[a.At].Mark; m != nil { // the row may come from a backup
		version = max(version, m.Version)
	}
	known = a.Revert && !a.Adopt && row.Wrote == print && version == row.Version
	if !known {
		version++
	}
	names := slices.Clone(u.Old)
	for _, f := range u.Files {
		names = append(names, f.Name)
	}
	slices.Sort(names)
	next := PlaceRow{Binding: a.Binding, Layout: u.Layout, Files: names, Wrote: print, Version: version, First: row.First, At: r.w.Now}
	if row.At.IsZero() {
		next.First = r.w.Now
	}
	switch {
	case a.Revert:
		next.Reverts = append(since(row.Reverts, r.w.Now.Add(-contestedWindow)), r.w.Now)
	case row.Wrote == print && row.underWay(r.w.Now): // that time does not begin again
		next.At = row.At
	}
	r.st.Places[a.At] = next
	return version, known
}

// adopted drops the wishes to adopt that were granted at every place of their binding.
func (r *run) adopted(steps []Step) {
	r.mu.Lock()
	defer r.mu.Unlock()
	failed := map[string]bool{}
	for _, s := range steps {
		if r.failed[s.ID] != nil {
			failed[s.Action.Subject()] = true
		}
	}
	for _, s := range steps {
		if s.Action.(Place).Adopt && !failed[s.Action.Subject()] {
			delete(r.st.Wishes, s.Action.Subject())
		}
	}
}

// placed brings the row up to what is there now and reports whether that has to be committed.
func (r *run) placed(a Place, u Unit, err error) bool {
	row := r.st.Places[a.At]
	if errors.Is(err, ErrChanged) {
		// Another process of ours has this row in its own by now, and no commit follows here; else the mark is forged.
		return false
	}
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
