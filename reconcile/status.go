package reconcile

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/certwright/certwright/spec"
)

// BindingState is where a binding stands (DESIGN.md 1.3).
type BindingState string

// The states of a binding.
const (
	Ready       BindingState = "Ready"       // proved on the wire
	Unverified  BindingState = "Unverified"  // done, but nothing can prove it
	Waiting     BindingState = "Waiting"     // for something to appear
	Progressing BindingState = "Progressing" // there are steps to be done
	Stale       BindingState = "Stale"       // serves something older than what is placed
	Blocked     BindingState = "Blocked"     // will not touch what is not ours
	Contested   BindingState = "Contested"   // another writer keeps undoing it
	Failed      BindingState = "Failed"
	Expired     BindingState = "Expired"
)

// Settled reports whether a binding in this state leaves nothing to be mended.
func (s BindingState) Settled() bool { return s == Ready || s == Unverified || s == Waiting }

// Status is what Assess finds. It is computed from an observation and never stored.
type Status struct {
	Converged  bool // the plan is empty, nothing of it is blocked, and every binding is settled
	CAs        []CAStatus
	Identities []IdentityStatus
	Bindings   []BindingStatus
	Swarm      *SwarmStatus // nil where no Swarm was asked
}

// SwarmStatus is the Swarm's own CA, and what is to be said of it.
type SwarmStatus struct {
	SwarmCA
	Reason, Hint string
	// Awaited is true while the root of a Swarm is rotated that the spec has wishes about.
	Awaited bool
}

// CAStatus is a CA of the spec with what the store has of it.
type CAStatus struct {
	Name, Kind  string
	Parent      string // the CA that signs it; "" for a root
	Generations []Generation
	Reason      string // why it cannot be used as the spec wants it
}

// IdentityStatus is an identity of the spec with what is stored of it; Issued is nil when it was never issued.
type IdentityStatus struct {
	Name, CA string
	Issued   *Issued
	RenewAt  time.Time
	Reason   string // why it has to be issued, or cannot be
}

// BindingStatus is where a binding stands, and why.
type BindingStatus struct {
	Name         string
	Identity     string   // "" where it brings trust alone
	Trust        []string // as the spec has it
	State        BindingState
	Reason, Hint string
	// Issued, Placed, Loaded and Served are true, false, or nil where it cannot be known.
	Issued, Placed, Loaded, Served *bool
	Targets                        []TargetStatus
}

// TargetStatus is one consumer of a binding.
type TargetStatus struct {
	Host, Kind, Name           string
	ServedSerial, WantedSerial string // "" when unknown
	// NotAfter is when the certificate it serves ends, ChainNotAfter when the first of all that it presents does.
	NotAfter, ChainNotAfter time.Time
	Problem                 string // of the probe
}

// Assess says where everything stands. It is pure.
func Assess(s *spec.Spec, w World, plan Plan) Status {
	a := assessor{
		view: newView(s, &w), plan: plan, steps: map[string][]Step{}, failed: plan.failed(), said: map[string]Refusal{},
		ends: map[string]time.Time{},
	}
	for _, st := range plan.Steps {
		a.steps[st.Action.Subject()] = append(a.steps[st.Action.Subject()], st)
	}
	for _, r := range slices.Concat(plan.Waiting, plan.Blocked) {
		a.said[r.Subject] = r // what is blocked outweighs what waits
	}
	out := Status{Converged: plan.Empty() && len(plan.Blocked) == 0}
	for _, c := range s.CAs {
		ca := CAStatus{Name: c.Name, Kind: "local", Generations: w.State.CAs[c.Name].Generations, Reason: a.said["ca/"+c.Name].Reason}
		if c.Local != nil && c.Local.Parent != nil {
			ca.Parent = c.Local.Parent.Name
		}
		out.CAs = append(out.CAs, ca)
	}
	for i := range s.Identities {
		out.Identities = append(out.Identities, a.identity(&s.Identities[i]))
	}
	for i := range s.Bindings {
		b := a.binding(&s.Bindings[i])
		out.Converged = out.Converged && b.State.Settled()
		out.Bindings = append(out.Bindings, b)
	}
	out.Swarm = a.swarm(spec.LocalHost)
	return out
}

func (a assessor) swarm(host string) *SwarmStatus {
	swarm, asked := a.w.Swarms[host]
	if !asked || swarm.Err != "" {
		return nil
	}
	out := &SwarmStatus{SwarmCA: swarm.CA, Reason: swarm.CA.Err, Awaited: swarm.CA.Rotating && a.s.Swarm != nil}
	if r, ok := a.said[ofSwarm(host)]; ok {
		out.Reason, out.Hint = r.Reason, r.Hint
	} else if steps := a.steps[ofSwarm(host)]; len(steps) > 0 {
		out.Reason = steps[0].Why()
	} else if swarm.CA.Rotating {
		out.Reason = "its root is being rotated: " + swarm.CA.progress()
	}
	return out
}

type assessor struct {
	*view
	plan   Plan
	steps  map[string][]Step
	failed map[string]*Step
	said   map[string]Refusal
	ends   map[string]time.Time // of certificates that servers present, by their DER
}

func (a assessor) identity(id *spec.Identity) IdentityStatus {
	out := IdentityStatus{Name: id.Name, CA: id.CA.Name}
	if i, ok := a.issued(id.Name, a.w.State); ok {
		out.Issued = &i
		if id.From == nil {
			out.RenewAt = RenewAt(id, &i)
		}
	}
	subject := "identity/" + id.Name
	if r, ok := a.said[subject]; ok {
		out.Reason = r.Reason
	} else if len(a.steps[subject]) > 0 {
		out.Reason = a.steps[subject][0].Why()
	}
	return out
}

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
	case slices.ContainsFunc(a.steps[subject], func(s Step) bool { _, is := s.Action.(Place); return is }):
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
		reason, hint := a.ended(b), "run `certwright apply`"
		if hasSaid {
			reason, hint = reason+"; "+said.Reason, said.Hint
		}
		set(Expired, reason, hint)
	case hasSaid && !said.State.Settled():
		set(said.State, said.Reason, said.Hint)
	case out.Issued != nil && !*out.Issued && len(steps) == 0 && !hasSaid:
		set(Blocked, a.said["identity/"+b.Identity.Name].Reason, "")
	case a.failed[subject] != nil:
		f := a.failed[subject]
		set(Failed, f.Action.String()+": "+f.Failed.Error, f.Failed.hint())
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
		}
	case out.Served != nil:
		set(Stale, "not every target serves the wanted certificate", "")
	case b.Consumer == nil && !b.Place.Swarm():
		set(Unverified, "no consumer is named", "")
	case a.unmounted(b) != "":
		set(Waiting, a.unmounted(b), mountHint)
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

// failed are the steps that failed the last time, by the subjects of them and of what comes after them.
func (p Plan) failed() map[string]*Step {
	bySubject, byStep := map[string]*Step{}, map[int]*Step{}
	for i, s := range p.Steps {
		var failed *Step
		for _, id := range s.After {
			failed = cmp.Or(failed, byStep[id])
		}
		if s.Failed.Count > 0 {
			failed = &p.Steps[i]
		}
		byStep[s.ID] = failed
		bySubject[s.Action.Subject()] = cmp.Or(bySubject[s.Action.Subject()], failed)
	}
	return bySubject
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

func (a assessor) targets(b *spec.Binding, wanted string) []TargetStatus {
	var out []TargetStatus
	for _, c := range a.consumers(b) {
		s := a.w.Served[TargetKey(b.Name, c)]
		out = append(out, TargetStatus{
			Host: c.Host, Kind: kindContainer, Name: c.Name, ServedSerial: s.Serial, WantedSerial: wanted, Problem: s.Err,
			NotAfter: s.NotAfter, ChainNotAfter: a.firstEnd(s),
		})
	}
	return out
}

// firstEnd is when the first of the certificates that a server presents ends.
func (a assessor) firstEnd(s Served) time.Time {
	first := s.NotAfter
	for _, der := range s.Chain[min(1, len(s.Chain)):] { // what is above the leaf is the same for many
		end, known := a.ends[string(der)]
		if !known {
			if c, err := x509.ParseCertificate(der); err == nil {
				end = c.NotAfter
			}
			a.ends[string(der)] = end
		}
		if !end.IsZero() && end.Before(first) {
			first = end
		}
	}
	return first
}

// served is true when every replica showed the wanted certificate, nil where nothing could be asked.
func (a assessor) served(b *spec.Binding, targets []TargetStatus) *bool {
	if b.Probe == nil || b.Identity == nil || len(targets) == 0 || a.incomplete(b) {
		return nil
	}
	for _, c := range a.consumers(b) {
		s, probed := a.w.Served[TargetKey(b.Name, c)]
		if !probed || s.Unreachable {
			return nil
		}
		if s.Err != "" || fault(b, c, s) != nil {
			return truth(false)
		}
	}
	return truth(!slices.ContainsFunc(targets, func(t TargetStatus) bool { return t.ServedSerial != t.WantedSerial }))
}

// incomplete reports whether a service has running tasks of which the engine had no container yet.
func (a assessor) incomplete(b *spec.Binding) bool {
	n := 0
	if b.Place.Swarm() {
		for _, svc := range a.services(b) {
			n += a.running(b.Host.Name, svc)
		}
	}
	return n > len(a.consumers(b))
}

func truth(b bool) *bool { return &b }
