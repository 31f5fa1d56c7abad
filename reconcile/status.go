package reconcile

import (
	"cmp"
	"slices"
	"strings"
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
	Roots      []RootsStatus // of outside the spec, as bindings name them
	Identities []IdentityStatus
	Bindings   []BindingStatus
	Beside     []Refusal    // what waits, and then what is blocked, that is of no binding of the spec
	Exposed    []Exposure   // what Audit found, where it was asked
	Weak       []Finding    // what Certificates found, where they were looked over
	Revoking   []string     // what is still to be revoked, and why it is not
	Swarm      *SwarmStatus // nil where no Swarm was asked
}

// RootsStatus is how many roots spec.PublicRoots or spec.SystemRoots are.
type RootsStatus struct {
	Name  string
	Count int
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

// Roots are those that whoever trusts the CA is given (DER), by age of their generations: each once, none before the CA is made.
func (c CAStatus) Roots() [][]byte { return distinct(CA{Generations: c.Generations}.roots()) }

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

// Assess says where everything stands; where only some bindings were looked at, where they do. It is pure.
func Assess(s *spec.Spec, w World, plan Plan) Status {
	a := assessor{
		view: newView(s, &w), plan: plan, steps: map[string][]Step{}, failed: plan.failed(), said: map[string]Refusal{},
		ends: map[string]time.Time{},
	}
	for _, st := range plan.undone() {
		a.steps[st.Action.Subject()] = append(a.steps[st.Action.Subject()], st)
	}
	for _, r := range slices.Concat(plan.Waiting, plan.Blocked) {
		a.said[r.Subject] = r // what is blocked outweighs what waits
	}
	out := Status{Converged: plan.Empty() && len(plan.Blocked) == 0}
	for _, r := range slices.Concat(plan.Waiting, plan.Blocked) {
		if name, of := strings.CutPrefix(r.Subject, "binding/"); !of || s.BindingByName(name) == nil {
			out.Beside = append(out.Beside, r)
		}
	}
	for _, c := range s.CAs {
		ca := CAStatus{Name: c.Name, Kind: c.Kind(), Generations: w.State.CAs[c.Name].Generations, Reason: a.said["ca/"+c.Name].Reason}
		if c.Local != nil && c.Local.Parent != nil {
			ca.Parent = c.Local.Parent.Name
		}
		out.CAs = append(out.CAs, ca)
	}
	for name, roots := range Sorted(w.Roots) {
		out.Roots = append(out.Roots, RootsStatus{name, len(roots)})
	}
	for i := range s.Identities {
		if w.Only == nil {
			out.Identities = append(out.Identities, a.identity(&s.Identities[i]))
		}
	}
	for i := range s.Bindings {
		if !among(s.Bindings[i].Name, w.Only) {
			continue
		}
		b := a.binding(&s.Bindings[i])
		out.Converged = out.Converged && b.State.Settled()
		out.Bindings = append(out.Bindings, b)
	}
	for _, st := range plan.undone() {
		if revoke, is := st.Action.(Revoke); is {
			out.Revoking = append(out.Revoking, revoke.String()+" of CA "+revoke.CA+": "+st.Why())
		}
	}
	out.Swarm = a.swarm(spec.LocalHost)
	return out
}

// Left is what is not as the spec has it, or has something to be done about it: of the bindings, and then Beside.
func (s Status) Left() (left []Refusal) {
	for _, b := range s.Bindings {
		if !b.State.Settled() || b.Hint != "" {
			left = append(left, Refusal{Subject: "binding/" + b.Name, State: b.State, Reason: b.Reason, Hint: b.Hint})
		}
	}
	return append(left, s.Beside...)
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
	steps  map[string][]Step // that are undone, by their subjects
	failed map[string]*Step
	said   map[string]Refusal
	ends   map[string]time.Time // of certificates that servers present, by their DER
}

func (a assessor) identity(id *spec.Identity) IdentityStatus {
	out := IdentityStatus{Name: id.Name, CA: id.CA.Name}
	if i, ok := a.issued(id.Name, a.w.State); ok {
		out.Issued = &i
		if id.From == nil {
			out.RenewAt = a.w.RenewAt(id, &i)
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

func truth(b bool) *bool { return &b }
