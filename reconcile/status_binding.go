package reconcile

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/certwright/certwright/spec"
)

func (a assessor) binding(b *spec.Binding) BindingStatus {
	out := BindingStatus{Name: b.Name}
	for _, t := range b.Trust {
		out.Trust = append(out.Trust, t.Name)
	}
	wanted := ""
	var end time.Time
	if b.Identity != nil {
		out.Identity = b.Identity.Name
		i, ok := a.issued(b.Identity.Name, a.w.State)
		out.Issued = truth(ok && len(a.steps["identity/"+b.Identity.Name]) == 0)
		wanted, end = i.Serial, i.NotAfter
	}
	out.Placed = a.placed(b)
	out.Targets = a.targets(b, wanted)
	out.Served = a.served(b, out.Targets)
	loading := slices.ContainsFunc(a.steps["binding/"+b.Name], func(s Step) bool { _, is := s.Action.(Reload); return is })
	switch {
	case out.Served != nil && *out.Served:
		out.Loaded = truth(!loading && a.said["binding/"+b.Name].State != Stale)
	case loading || a.said["binding/"+b.Name].State == Stale:
		out.Loaded = truth(false)
	}
	a.judge(b, &out, end)
	return out
}

// placed is true when every place of a binding is as it should be, nil where one could not be looked at.
func (a assessor) placed(b *spec.Binding) *bool {
	subject := "binding/" + b.Name
	at, refused, _ := a.locate(b)
	switch {
	case a.unissued(b), slices.ContainsFunc(a.steps[subject], func(s Step) bool { _, is := s.Action.(Place); return is }):
		return truth(false)
	case b.Place.Swarm() && a.w.Swarms[b.Host.Name].Err != "",
		refused != nil && a.w.Engines[b.Host.Name].Err != "",
		slices.ContainsFunc(at, func(l located) bool { return a.w.Places[l.at].Err != "" }):
		return nil
	}
	return truth(refused == nil && !slices.ContainsFunc(a.plan.Blocked, func(r Refusal) bool {
		return r.Subject == subject && (r.State == Blocked || r.State == Contested)
	}))
}

// unissued reports whether a binding has an identity that has no certificate.
func (a assessor) unissued(b *spec.Binding) bool {
	if b.Identity == nil {
		return false
	}
	_, ok := a.issued(b.Identity.Name, a.w.State)
	return !ok
}

// judge gives the state and its reason: the gravest thing first.
func (a assessor) judge(b *spec.Binding, out *BindingStatus, end time.Time) {
	subject := "binding/" + b.Name
	said, hasSaid := a.said[subject]
	steps := a.steps[subject]
	set := func(s BindingState, reason, hint string) { out.State, out.Reason, out.Hint = s, reason, hint }
	switch {
	case !end.IsZero() && !a.w.Now.Before(end):
		set(Expired, "its certificate expired "+stamp(end), said.Hint)
		if len(a.steps["identity/"+b.Identity.Name]) > 0 {
			out.Hint = "run `certwright apply`"
		} else if ca := a.ids[b.Identity.Name].CA.Name; a.said["ca/"+ca].Reason != "" {
			out.Reason, out.Hint = "its CA "+ca+": "+a.said["ca/"+ca].Reason, "see what plan says of CA "+ca
			if hint := a.said["ca/"+ca].Hint; hint != "" {
				out.Hint = "CA " + ca + ": " + hint
			}
		}
	case a.ended(b) != "":
		reason, hint := a.lag(b, a.ended(b))
		if hasSaid {
			reason, hint = a.ended(b)+"; "+said.Reason, said.Hint
		}
		set(Expired, reason, hint)
	case hasSaid && !said.State.Settled():
		set(said.State, said.Reason, said.Hint)
	case a.unissued(b) && len(steps) == 0 && !hasSaid:
		set(Blocked, a.said["identity/"+b.Identity.Name].Reason, "")
	case a.failed[subject] != nil:
		f := a.failed[subject]
		set(Failed, f.Action.String()+": "+f.Failed.Error, f.Failed.hint(f.Action))
		if f.Action.Subject() != subject && out.Served != nil && *out.Served { // what it has is good still
			out.State = Progressing
		}
	case len(steps) > 0 && out.Placed != nil && *out.Placed && a.behindWire(out):
		reason, hint := a.lag(b, steps[0].Reason)
		set(Stale, reason, hint)
	case len(steps) > 0:
		set(Progressing, steps[0].Reason, "run `certwright apply`")
	case hasSaid:
		set(said.State, said.Reason, said.Hint)
	case out.Served != nil && *out.Served:
		state, doubt := a.doubt(b)
		set(state, doubt, "")
		if away := a.unmounted(b); away != "" && doubt == "" {
			set(Ready, away+": it would not see the next certificate", mountHint)
		} else if why, hint := a.hidden(b); why != "" && doubt == "" {
			set(Ready, why, hint)
		}
	case out.Served != nil:
		set(Stale, "not every target serves the wanted certificate", "")
	case b.Place.Engine != nil:
		set(Unverified, "its TLS was not looked at", "")
	case b.Place.Context != nil:
		set(Unverified, "a client only", "")
	case b.Consumer == nil && !b.Place.Swarm():
		set(Unverified, "no consumer is named", "")
	case a.unmounted(b) != "":
		set(Waiting, a.unmounted(b), mountHint)
	case b.Place.Store != nil:
		set(Unverified, "its roots are in the trust store; what reads it is not asked", "")
	case b.Probe == nil:
		set(Unverified, "there is no probe", "")
	default:
		set(Unverified, a.unseen(b), "")
	}
}

// unseen says why a binding that has a probe was not seen.
func (a assessor) unseen(b *spec.Binding) string {
	n, why := 0, ""
	for _, c := range a.consumers(b) {
		if s := a.w.Served[TargetKey(b.Name, c)]; c.Away != nil && s.Unreachable {
			n, why = n+1, cmp.Or(why, s.Err)
		}
	}
	if n > 0 {
		return fmt.Sprintf("%d of its tasks run on other nodes and cannot be probed from here: %s", n, why)
	}
	return "it cannot be probed from here"
}

// ended says that a target serves a certificate that has expired, or "".
func (a assessor) ended(b *spec.Binding) string {
	for _, c := range a.consumers(b) {
		if s := a.w.Served[TargetKey(b.Name, c)]; !s.NotAfter.IsZero() && !a.w.Now.Before(s.NotAfter) {
			return c.Name + " serves a certificate that expired " + stamp(s.NotAfter)
		}
	}
	return ""
}

// unmounted names a consumer that cannot see the binding's files, or is "".
func (a assessor) unmounted(b *spec.Binding) string {
	at, _, _ := a.locate(b)
	for _, l := range at {
		for _, c := range l.containers {
			if !mounts(c, l.at) && !l.files {
				return c.Name + " does not mount " + l.at.String()
			}
		}
	}
	return ""
}

// doubt is what the client checks of a binding that serves the wanted certificate could not find out. Only that there
// is no client to be let in leaves it Ready.
func (a assessor) doubt(b *spec.Binding) (BindingState, string) {
	if b.Probe.ClientAuth == spec.ClientAuthNone {
		return Ready, ""
	}
	only := ""
	for _, c := range a.consumers(b) {
		s := a.w.Served[TargetKey(b.Name, c)]
		if s.Foreign == NotAsked || s.Accepted == NotAsked && !s.NoClient || s.Without == NotAsked && b.Probe.ClientAuth == spec.ClientAuthRequired {
			return Unverified, "whom " + c.Name + " lets in could not be found out: " + s.ClientErr
		}
		if s.NoClient {
			only = s.ClientErr
		}
	}
	return Ready, only
}

// behindWire reports whether a target was seen to serve something else than is wanted.
func (a assessor) behindWire(out *BindingStatus) bool {
	return slices.ContainsFunc(out.Targets, func(t TargetStatus) bool {
		return t.ServedSerial != "" && t.ServedSerial != t.WantedSerial
	})
}

// lag adds to the reason of a reload how the last try ended, and says what helps: another try only where the ladder was
// not climbed to its end.
func (a assessor) lag(b *spec.Binding, reason string) (string, string) {
	at, _, _ := a.locate(b)
	for _, l := range at {
		for _, c := range l.containers {
			load := a.w.State.Loads[TargetKey(b.Name, c)]
			tried := load.Target == c.ID && load.Error != ""
			if served := a.w.Served[TargetKey(b.Name, c)]; !mounts(c, l.at) && a.outdated(b, served) {
				reason = c.Name + " does not mount " + l.at.String()
				if tried {
					reason += "; the last try: " + load.Error
				}
				return reason, mountHint
			}
			if !tried {
				continue
			}
			reason += "; the last try: " + load.Error
			if rungs := ladder(b, c); load.Rung >= len(rungs)-1 {
				return reason, remedy(l, c, rungs)
			}
			return reason, "run `certwright apply`"
		}
	}
	return reason, "run `certwright apply`"
}

// outdated reports whether a target shows another certificate than is wanted.
func (a assessor) outdated(b *spec.Binding, s Served) bool {
	if b.Identity == nil || s.Serial == "" {
		return false
	}
	i, ok := a.issued(b.Identity.Name, a.w.State)
	return ok && i.Serial != s.Serial
}
