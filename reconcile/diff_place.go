package reconcile

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/spec"
)

// Another writer that undoes the same thing more often than this in this time is left in peace.
const (
	contestedReverts = 3
	contestedWindow  = 10 * time.Minute
)

// The engine starts a container that ends again within a minute at the latest; one that found its files does not end.
const startUp = 2 * time.Minute

// The wish to adopt holds this long; a pipeline may carry it out some hours after it was made.
const adoptWindow = 24 * time.Hour

// want is how a binding should be: what its files are made of, and where and how each of them lies.
type want struct {
	m       material
	missing string // what it is made of is not all there
	at      []located
	refused *Refusal
	wait    bool
	files   [][]wantedFile // by located
	units   []Fingerprint  // by located
}

// want works out what a binding wants. It needs nothing of other bindings, so that many can be worked out at once.
func (v *view) want(b *spec.Binding) want {
	var w want
	w.m, w.missing = v.material(b, v.w.State)
	w.at, w.refused, w.wait = v.locate(b)
	for _, l := range w.at {
		files := v.files(b, l, w.m)
		w.files, w.units = append(w.files, files), append(w.units, unitPrint(files))
	}
	return w
}

// binding plans the places of a binding and what its consumers have to load.
func (d *differ) binding(b *spec.Binding, w want) {
	subject := "binding/" + b.Name
	pending := d.pending(b)
	m, missing := w.m, w.missing
	if b.Identity != nil && m.issued == nil && d.refuseWith(subject, "identity/"+b.Identity.Name, "identity "+b.Identity.Name+": ") {
		d.unresolved[b.Name] = true
		return
	}
	if missing != "" && len(pending) == 0 {
		d.unresolved[b.Name] = true
		d.refuse(Blocked, subject, missing, "")
		return
	}
	if w.refused != nil {
		d.unresolved[b.Name] = true
		state := Blocked
		if w.wait {
			state = cmp.Or(w.refused.State, Waiting)
		}
		d.refuse(state, subject, w.refused.Reason, w.refused.Hint)
		return
	}
	if b.Place.Swarm() {
		d.secrets(b, m, pending)
		return
	}
	if b.Place.Engine != nil {
		d.engine(b, w, pending)
		return
	}
	prev, before := 0, len(d.plan.Steps)
	for i := range w.at {
		prev = d.place(b, w, i, pending, prev)
		if r := d.held[subject]; r.Reason != "" && b.Place.Context != nil {
			if r.State == Blocked { // what is somebody's own would speak TLS with material of ours
				d.plan.Steps = d.plan.Steps[:before]
			}
			return // without its material docker would not speak TLS there
		}
	}
	d.absent(b, w.at)
}

// absent says what a binding waits for that has its files in place already.
func (d *differ) absent(b *spec.Binding, at []located) {
	if b.Consumer == nil {
		return
	}
	var all []Container
	for _, l := range at {
		all = append(all, l.containers...)
	}
	if e := d.w.Engines[b.Host.Name]; e.Err != "" {
		r := unanswered(b, "engine", e.Err)
		d.refuse(r.State, "binding/"+b.Name, r.Reason, "")
		return
	}
	if len(all) == 0 {
		d.refuse(Waiting, "binding/"+b.Name, "waits for "+b.Consumer.String(), "there is no such container: create and start it, or correct the binding")
		return
	}
	state, reason, hint := Waiting, "", "start the container"
	for _, c := range all {
		if c.Running() {
			continue
		}
		load := d.w.State.Loads[TargetKey(b.Name, c)]
		if load.Error != "" && d.w.Now.Sub(load.At) < time.Hour {
			// It was not stopped by a person: it is down since certwright touched it.
			state, reason = Failed, c.Name+" is not running ("+c.State+"): its last reload failed: "+load.Error
			hint = "look at its logs, and start it"
			if len(all) > 1 {
				hint += "; no other replica is reloaded until it runs again"
			}
			break
		}
		if row := d.w.State.Places[at[0].at]; c.State == "restarting" && !row.At.IsZero() && d.w.Now.Sub(row.At) > startUp {
			state, reason = Failed, c.Name+" ends again and again, although its files are there since "+stamp(row.At)
			hint = "look at its logs"
			break
		}
		switch c.State {
		case "paused":
			hint = "unpause the container"
		case "restarting": // the engine starts it by itself
			hint = "look at its logs"
		}
		if reason == "" {
			reason = c.Name + " is not running (" + c.State + ")"
			if i := slices.IndexFunc(at, func(l located) bool { return mounts(c, l.at) }); i < 0 {
				reason += ", and does not mount " + at[0].at.String()
				hint = "mount it (`certwright compose` prints how), and start the container"
			}
		}
	}
	if reason != "" {
		d.refuse(state, "binding/"+b.Name, reason, hint)
	}
}

// pending are the steps of this plan that make what the binding's files are made of.
func (d *differ) pending(b *spec.Binding) []int {
	var steps []int
	if b.Identity != nil {
		steps = append(steps, d.idSteps[b.Identity.Name])
	}
	for _, t := range b.Trust {
		steps = append(steps, d.caSteps[t.Name])
	}
	return slices.DeleteFunc(steps, func(n int) bool { return n == 0 })
}

// place plans one place and returns the last step of the binding's wave of reloads.
func (d *differ) place(b *spec.Binding, w want, i int, pending []int, prev int) int {
	l, m, files, unit := w.at[i], w.m, w.files[i], w.units[i]
	if l.described() {
		pending = nil
	}
	subject := "binding/" + b.Name
	norm := l.at.physical()
	if other, ok := d.wanted[norm]; ok && other != b.Name {
		d.refuse(Blocked, subject, l.at.String()+" is also the place of binding "+other, "give each binding a place of its own")
		return prev
	}
	d.wanted[norm] = b.Name
	if l.still() {
		return prev // absent says so
	}
	state := d.w.Places[l.at]
	row := d.w.State.Places[l.at]
	adopt := d.adopts(subject)
	if why := d.unowned(b, l); why != "" {
		d.refuse(Blocked, subject, why, "name a user the container has, or a number")
		return prev
	}
	if state.Beyond && !d.w.Courier {
		d.unresolved[b.Name] = true
		d.refuse(Unverified, subject, "it cannot be looked at without a courier: "+state.Err, "")
		return prev
	}
	reason, drifted, refused := d.misplaced(b, state, row, files, unit, len(pending) > 0, adopt)
	if refused != nil {
		d.refuse(Blocked, subject, refused.Reason, refused.Hint)
		return prev
	}
	step := 0
	if reason != "" {
		revert := drifted && row.Wrote == unit && !row.underWay(d.w.Now)
		if revert && !adopt && d.contested(subject, row, reason) {
			return prev
		}
		place := Place{Binding: b.Name, At: l.at, Adopt: adopt, InPlace: l.files, Revert: revert, In: d.storeIn(l.at)}
		if l.create {
			volume := CreateVolume{Host: l.at.Host, Name: l.at.Volume, Labels: l.labels}
			if step = d.step(volume, "not there"); step == 0 {
				d.refuseWith(subject, volume.Subject(), "")
				d.plan.Later = append(d.plan.Later, Step{Action: place, Reason: reason})
				return prev
			}
		}
		after := append(pending[:len(pending):len(pending)], step)
		if b.Place.Context != nil {
			after = append(after, prev)
		}
		if step = d.step(place, reason, after...); step == 0 {
			return prev
		}
	}
	if b.Place.Context != nil || b.Place.Engine != nil {
		return step
	}
	for _, c := range l.containers {
		if c.Running() {
			prev = d.load(loading{b: b, l: l, c: c, unit: unit, wrote: row.At, m: m, placed: step}, prev)
		}
	}
	return prev
}

// physical is the location whoever may name it: a directory of the engine's machine and one of this machine
// are the same when the engine is the local one.
func (l Location) physical() Location {
	if l.Dir != "" {
		l.Dir = filepath.Join(l.Dir, filepath.FromSlash(l.Sub))
		l.Sub = ""
		if l.Host == spec.LocalHost {
			l.Machine = false
		}
	}
	return l
}

// adopts reports whether a person asked for what is in the way to be taken over, and that lately: what appears long
// after is not what was meant.
func (d *differ) adopts(subject string) bool {
	wish := d.w.State.Wishes[subject]
	return wish.Adopt && d.w.Now.Sub(wish.At) < adoptWindow
}

// busy is how long something that was recorded before it is done may still be being done by another process.
const busy = 5 * time.Second

// underWay reports whether another process may be writing the files of a row just now, since the row comes before them:
// then it is nobody's doing that they are not there yet. That is believed as long as nothing was undone since they changed.
// The other process may have a clock that is a little ahead.
func (row PlaceRow) underWay(now time.Time) bool {
	return now.Sub(row.At).Abs() < busy && len(since(row.Reverts, now.Add(-contestedWindow))) == 0
}

// since are the times after one, oldest first as they came.
func since(times []time.Time, after time.Time) []time.Time {
	return slices.DeleteFunc(slices.Clone(times), func(t time.Time) bool { return !t.After(after) })
}

func (d *differ) contested(subject string, row PlaceRow, reason string) bool {
	recent := since(row.Reverts, d.w.Now.Add(-contestedWindow))
	if len(recent) <= contestedReverts {
		return false
	}
	again := recent[0].Add(contestedWindow)
	d.refuse(Contested, subject, "someone else keeps changing what is placed ("+reason+")",
		"find the other writer and end it; certwright writes there again after "+stamp(again)+", and `certwright adopt "+
			strings.TrimPrefix(subject, "binding/")+"` does at once")
	d.due(again)
	return true
}

// misplaced says why a place has to be written, whether it is someone else's doing, or why it must not be.
func (d *differ) misplaced(b *spec.Binding, p PlaceState, row PlaceRow, files []wantedFile, unit Fingerprint, pending, adopt bool) (reason string, drifted bool, refused *Refusal) {
	if p.Err != "" {
		return "", false, &Refusal{Reason: p.Err}
	}
	if refused := d.foreign(b, p, files); refused != nil && !adopt {
		return "", false, refused
	}
	if pending {
		if len(row.Files) > 0 {
			return "follows its certificate", false, nil
		}
		return "not placed", false, nil
	}
	if len(row.Files) == 0 || p.Mark == nil {
		return "not placed", row.Wrote != "", nil
	}
	if p.Layout != b.Layout {
		return "layout changed", false, nil
	}
	if r := shut(p, files); r != "" {
		return r, true, nil
	}
	for _, f := range files {
		if r := misplacedFile(f, p.Files[f.spec.Name]); r != "" {
			return r, true, nil
		}
	}
	for _, old := range row.Files {
		if !slices.ContainsFunc(files, func(f wantedFile) bool { return f.spec.Name == old }) {
			return old + " left the spec", false, nil
		}
	}
	if row.Wrote != unit {
		return "the spec changed", false, nil // in what does not show in the files as they are read, as an alias
	}
	return "", false, nil
}

// shut names the directory of a place that keeps files from whom they are for, or is "". A generation is certwright's, and
// stays as it was made; the place's own directory may be someone else's, who has a reason for its mode as long as it
// admits the files.
func shut(p PlaceState, files []wantedFile) string {
	if p.Layout == spec.Atomic && p.Generation.Perm() != DirMode {
		return "mode differs: ..data"
	}
	for _, f := range files {
		if !p.Dir.Admits(f.mode, f.owner) {
			return fmt.Sprintf("mode differs: . (%04o shuts out %d:%d)", p.Dir.Mode.Perm(), f.owner.UID, f.owner.GID)
		}
	}
	return ""
}

func misplacedFile(want wantedFile, is FileState) string {
	switch {
	case is.Kind == KindAbsent:
		return want.spec.Name + " is missing"
	case is.Holds != want.print:
		return "placed file differs: " + want.spec.Name
	case is.Mode.Perm() != want.mode.Perm():
		return "mode differs: " + want.spec.Name
	case want.owner != anyOwner && (want.owner.UID != is.UID || want.owner.GID != is.GID):
		return "owner differs: " + want.spec.Name
	case !is.Ours: // to be adopted, or it had been refused
		return want.spec.Name + " holds what is wanted, and was not made by certwright"
	}
	return ""
}

// foreign says what stands in the way that certwright did not make.
func (d *differ) foreign(b *spec.Binding, p PlaceState, files []wantedFile) *Refusal {
	hint := "move what is there away, or run `certwright adopt " + b.Name + "` to take it over (a backup is kept)"
	if m := p.Mark; m != nil && (m.Project != d.s.Project || m.Installation != d.w.State.Installation && !d.w.Fresh) {
		return &Refusal{
			Reason: "it holds files of another certwright (project " + m.Project + ")",
			Hint:   "give each a place of its own; if the other one is gone, run `certwright adopt " + b.Name + "` to take it over",
		}
	}
	var names []string
	for _, f := range files {
		if is := p.Files[f.spec.Name]; is.Kind != KindAbsent && !is.Ours {
			names = append(names, f.spec.Name+" ("+is.Kind+")")
		}
	}
	if len(names) == 0 {
		return nil
	}
	verb := " was"
	if len(names) > 1 {
		verb = " were"
	}
	return &Refusal{Reason: strings.Join(names, ", ") + verb + " not made by certwright", Hint: hint}
}
