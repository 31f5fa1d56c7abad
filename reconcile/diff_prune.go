package reconcile

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/spec"
)

// prune plans the removal of what left the spec: places first, then the identities.
func (d *differ) prune() {
	gone, all := d.gone()
	cleared := map[string]bool{}
	for _, l := range gone {
		if b := d.w.State.Places[l].Binding; d.bindings[b] == nil && d.hasHost(l.Host) {
			cleared[b] = true
		}
	}
	if 2*len(cleared) > all && d.scope.Prune != PruneAll && len(cleared) > 0 {
		d.refuse(Blocked, "prune", fmt.Sprintf("%d of %d bindings left the spec; clearing more than half wants to be said", len(cleared), all),
			"run `certwright apply --prune=all`, or bring them back")
		return
	}
	var removals []int
	left := false
	for _, l := range gone {
		row := d.w.State.Places[l]
		left = left || !d.hasHost(l.Host) // its key may come back with the host, until a person says that it is gone
		if l.secrets() {
			d.emptied(l, row.Binding)
			continue
		}
		reason, subject := "left the spec", "binding/"+row.Binding
		if d.bindings[row.Binding] != nil { // which is as well as it is where it is now
			reason, subject = "the binding has another place now", "place/"+l.String()
		}
		who, hint := d.user(l), d.unreached(l.Host)
		if who == "" {
			who, hint = d.doubted(l)
		}
		if who != "" {
			d.refuse(Waiting, subject, reason+", but "+who, hint)
			continue
		}
		step := d.step(Remove{Binding: row.Binding, At: l, In: d.storeIn(l)}, reason, d.placing(row.Binding)...)
		removals, left = append(removals, step), left || step == 0
	}
	if !left {
		d.forget(removals)
	}
	d.collect()
}

// placing are the steps of this plan that place a binding: where they fail, what it had before is better than nothing.
func (d *differ) placing(binding string) []int {
	var steps []int
	for _, s := range d.plan.Steps {
		if p, is := s.Action.(Place); is && p.Binding == binding {
			steps = append(steps, s.ID)
		}
	}
	return steps
}

// gone are the places of the inventory that no binding wants, and how many bindings the inventory knows on hosts of the spec. What
// a binding had before stays while its new place is in trouble.
func (d *differ) gone() (gone []Location, bindings int) {
	names := map[string]bool{}
	for l, row := range d.w.State.Places {
		if d.hasHost(l.Host) {
			names[row.Binding] = true
		}
		if d.vanished(l) {
			continue
		}
		if _, ok := d.wanted[d.physical(l)]; !ok && !d.unresolved[row.Binding] && d.held["binding/"+row.Binding].Reason == "" {
			gone = append(gone, l)
		}
	}
	slices.SortFunc(gone, func(a, b Location) int { return strings.Compare(a.String(), b.String()) })
	return gone, len(names)
}

// user names a running container that still mounts the place, or says that it cannot be known.
func (d *differ) user(l Location) string {
	if l.OfDaemon() {
		switch s := d.w.Daemons[l.Host]; {
		case s.Err != "":
			return "whether dockerd reads it is not known: " + s.Err
		case s.FileErr != "" || s.TLS.names(l):
			return "dockerd is configured with it in " + s.File
		case s.Unfinished && s.Before.TLS.names(l):
			return "dockerd may go back to it, since a restart was cut off"
		}
		return ""
	}
	e, seen := d.w.Engines[l.Host]
	if e.Err != "" || !seen {
		if l.Host != spec.LocalHost && e.Err != "" {
			return e.Err
		}
		if l.Volume != "" || l.Machine || d.hadConsumer(d.w.State.Places[l].Binding) {
			return "the engine does not answer"
		}
		return ""
	}
	if c, there := e.container(l.Container); there && !c.Running() {
		return c.Name + " is not running (" + c.State + "), and it has to be taken out of its trust store from inside"
	} else if there {
		return ""
	}
	for _, c := range e.Containers {
		// One that is paused, or between two starts, comes back for its files.
		if (c.Running() || c.State == "paused" || c.State == "restarting") && mounts(c, l) {
			return c.Name + " still mounts it"
		}
	}
	return ""
}

// hadConsumer reports whether a container was ever made to load the binding's files.
func (d *differ) hadConsumer(binding string) bool {
	for _, l := range d.w.State.Loads {
		if l.Binding == binding {
			return true
		}
	}
	return false
}

func (d *differ) forget(after []int) {
	var names []string
	for name := range d.w.State.Identities {
		if d.ids[name] == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		d.step(Forget{Identity: name}, "left the spec", after...)
	}
}

// stamp writes a time as certwright shows times: RFC 3339 in UTC.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
