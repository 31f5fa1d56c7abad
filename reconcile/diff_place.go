package reconcile

import (
	"cmp"
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
		d.keep(b, w.at)
		return
	}
	if missing != "" && len(pending) == 0 {
		d.unresolved[b.Name] = true
		d.keep(b, w.at)
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
	if d.taken(b, l.at) {
		return prev
	}
	d.wanted[d.physical(l.at)] = b.Name
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
		d.refuse(Unverified, subject, "it cannot be looked at without a courier: "+state.Err, "leave --no-couriers out")
		return prev
	}
	reason, drifted, refused := d.misplaced(b, l.at, state, row, files, unit, len(pending) > 0, adopt)
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
		if c := b.Place.Context; adopt && c != nil {
			place.Backups = c.Backups()
		}
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

// keep has what is in some places of a binding stay, whichever binding placed it.
func (d *differ) keep(b *spec.Binding, at []located) {
	for _, l := range at {
		if norm := d.physical(l.at); d.wanted[norm] == "" {
			d.wanted[norm] = b.Name
		}
	}
}

// taken refuses a binding whose place another one has, and reports whether that is so.
func (d *differ) taken(b *spec.Binding, at Location) bool {
	other, ok := d.wanted[d.physical(at)]
	if !ok || other == b.Name {
		return false
	}
	reason, hint := at.String()+" is also the place of binding "+other, "give each binding a place of its own"
	if host := d.bindings[other].Host.Name; host != b.Host.Name {
		same := " are one machine"
		if d.first(host) == d.first(b.Host.Name) {
			same, hint = " are one engine", hint+"; "+cloned
		}
		reason += ": hosts " + host + " and " + b.Host.Name + same
	}
	d.refuse(Blocked, "binding/"+b.Name, reason, hint)
	return true
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
	d.refuseUntil(again, Contested, subject, "someone else keeps changing what is placed ("+reason+")",
		"find the other writer and end it; certwright writes there again after "+stamp(again)+", and `certwright adopt "+
			strings.TrimPrefix(subject, "binding/")+"` does at once")
	return true
}
