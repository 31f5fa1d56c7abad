package reconcile

import (
	"fmt"
	"slices"
	"time"

	"github.com/certwright/certwright/spec"
)

// Plan is what Diff wants done, as data: it can be printed, compared and carried out.
type Plan struct {
	Project string
	Steps   []Step
	Later   []Step // without numbers: what is to be done as well, and waits since it, or what it comes after, failed
	Blocked []Refusal
	Waiting []Refusal // nothing wrong, but something has to appear first
	Next    time.Time // when time alone will make another plan; zero for never
}

// Step is one change with its reason.
type Step struct {
	ID     int // from one, in order
	Action Action
	Reason string
	After  []int   // the steps that must have succeeded before
	Failed Failure // what became of it the last time; zero when that was nothing bad
}

// Why is the reason of a step, and what became of it the last time.
func (s Step) Why() string {
	if s.Failed.Count == 0 {
		return s.Reason
	}
	times := "it failed"
	if s.Failed.Count > 1 {
		times = fmt.Sprintf("it failed %d times", s.Failed.Count)
	}
	return fmt.Sprintf("%s; %s, and a running watch tries again %s: %s", s.Reason, times, s.Failed.when(), s.Failed.Error)
}

// Refusal is something certwright will not, or cannot yet, do.
type Refusal struct {
	Subject string // binding/web
	Reason  string
	Hint    string // what to do about it
	// State is what it makes of a binding: Blocked, Contested, Stale or Failed; in Plan.Waiting it is Waiting, or
	// Unverified for what could not be looked at.
	State BindingState
	Until time.Time // when certwright does it by itself; zero for never, and where nobody knows
}

// Empty reports whether there is nothing to do.
func (p Plan) Empty() bool { return len(p.Steps) == 0 }

// undone are the steps that are to be done now, and those that are left for later.
func (p Plan) undone() []Step { return slices.Concat(p.Steps, p.Later) }

// until is when something that is refused about one of some subjects is done by itself, the first of it; zero for never.
func (p Plan) until(subjects ...string) (first time.Time) {
	for _, r := range slices.Concat(p.Blocked, p.Waiting) {
		if slices.Contains(subjects, r.Subject) && !r.Until.IsZero() && (first.IsZero() || r.Until.Before(first)) {
			first = r.Until
		}
	}
	return first
}

// blocked is why a subject is blocked, or "".
func (p Plan) blocked(subject string) string {
	for _, r := range p.Blocked {
		if r.Subject == subject {
			return r.Reason
		}
	}
	return ""
}

// Action is one kind of change; the set is closed.
type Action interface {
	// Subject is what is changed: ca/NAME, identity/NAME, binding/NAME, volume/NAME, secret/NAME, config/NAME, swarm/HOST.
	Subject() string
	// Kind is the word for it in a plan's JSON.
	Kind() string
	// String says it in a sentence without a period.
	String() string
	// Interrupts reports whether a consumer stops serving while it is done.
	Interrupts() bool
	action()
}

type steady struct{}

func (steady) Interrupts() bool { return false }
func (steady) action()          {}

// CreateCA makes the first generation of a local CA, or takes the certificate of a Brought one into the store.
type CreateCA struct {
	steady
	CA      string
	Brought bool
}

// Issue makes an identity's certificate, with a new key unless Reuse.
type Issue struct {
	steady
	Identity string
	Reuse    bool
	// Unbidden says that neither its time has come nor anybody wants it.
	Unbidden bool
}

// TakeIn takes the certificate and key that an identity was brought along with into the store.
type TakeIn struct {
	steady
	Identity string
}

// Revoke has a CA take a certificate back.
type Revoke struct {
	steady
	CA, Serial string
	Identity   string // that it was issued to; "" where that is not known
}

// CreateVolume makes a named volume.
type CreateVolume struct {
	steady
	Host, Name string
	Labels     map[string]string
}

// Place writes the whole unit of a binding at one place.
type Place struct {
	steady
	Binding string
	At      Location
	Adopt   bool
	// Backups is where what is adopted is kept; "" is beside it.
	Backups string
	// InPlace says that consumers mount single files of it, so that inodes must stay.
	InPlace bool
	// Revert says that someone else changed what certwright had written.
	Revert bool
	// In names the container whose trust store it is.
	In string
}

// Reload makes one target load what is placed, by one rung of the binding's ladder, and waits for the proof.
type Reload struct {
	Binding string
	Target  Target
	Rung    int
	How     spec.Reload // of a container
	// At is where an engine finds its files.
	At Location
	// Rolling says that a service starts new tasks before it ends old ones, and has several.
	Rolling bool
}

// Settle keeps the configuration that an engine has, as it is proved: what was there before is forgotten.
type Settle struct {
	steady
	Binding    string
	Host, Unit string
}

// Remove clears a place of what certwright put there.
type Remove struct {
	steady
	Binding string
	At      Location
	In      string // as of Place
}

// RemoveSecret removes a Swarm secret or config of ours that nothing uses.
type RemoveSecret struct {
	steady
	SecretKind
	Binding        string // that it was made for
	Host, Name, ID string
}

// Forget drops an identity that left the spec from the store.
type Forget struct {
	steady
	Identity string
}

// Target is one process that serves or uses a binding's files.
type Target struct {
	Host, Kind, Name, ID string // Kind is one of those below
}

// The kinds of targets. A service loads its files by an update that gives it other secrets, and by no rung of a ladder.
const (
	kindContainer = "container"
	kindService   = "service"
	kindEngine    = "engine"
)

func (CreateCA) Kind() string       { return "create-ca" }
func (Issue) Kind() string          { return "issue" }
func (TakeIn) Kind() string         { return "take-in" }
func (Revoke) Kind() string         { return "revoke" }
func (CreateVolume) Kind() string   { return "create-volume" }
func (Place) Kind() string          { return "place" }
func (Reload) Kind() string         { return "reload" }
func (Settle) Kind() string         { return "settle" }
func (Remove) Kind() string         { return "remove" }
func (a RemoveSecret) Kind() string { return "remove-" + a.Word() }
func (Forget) Kind() string         { return "forget" }

func (a CreateCA) Subject() string     { return "ca/" + a.CA }
func (a Issue) Subject() string        { return "identity/" + a.Identity }
func (a TakeIn) Subject() string       { return "identity/" + a.Identity }
func (a CreateVolume) Subject() string { return "volume/" + a.Name }
func (a Revoke) Subject() string {
	if a.Identity == "" {
		return "ca/" + a.CA
	}
	return "identity/" + a.Identity
}

func (a Place) Subject() string        { return "binding/" + a.Binding }
func (a Reload) Subject() string       { return "binding/" + a.Binding }
func (a Settle) Subject() string       { return "binding/" + a.Binding }
func (a Remove) Subject() string       { return "binding/" + a.Binding }
func (a RemoveSecret) Subject() string { return a.Word() + "/" + a.Name }
func (a Forget) Subject() string       { return "identity/" + a.Identity }

func (a TakeIn) String() string       { return "take in " + a.Identity }
func (a Revoke) String() string       { return "revoke " + a.Serial }
func (a CreateVolume) String() string { return "create volume " + a.Name }
func (a RemoveSecret) String() string { return "remove " + a.Word() + " " + a.Name }
func (a Settle) String() string       { return "keep the configuration that " + a.Unit + " has" }
func (a Forget) String() string       { return "forget identity " + a.Identity }
func (a Remove) String() string {
	if a.In != "" {
		return fmt.Sprintf("take the roots of %s out of the trust store %s of %s", a.Binding, a.At.Sub, a.In)
	}
	return fmt.Sprintf("remove the files of %s from %s", a.Binding, a.At)
}

func (a CreateCA) String() string {
	if a.Brought {
		return "take in CA " + a.CA
	}
	return "create CA " + a.CA
}

func (a Issue) String() string {
	if a.Reuse {
		return "issue " + a.Identity + " with its present key"
	}
	return "issue " + a.Identity
}

func (a Place) String() string {
	s := fmt.Sprintf("place %s in %s", a.Binding, a.At)
	if a.In != "" {
		s = fmt.Sprintf("add the roots of %s to the trust store %s of %s", a.Binding, a.At.Sub, a.In)
	}
	if a.Adopt {
		s += ", keeping what is there as a backup"
		if a.Backups != "" {
			s += " in " + a.Backups
		}
	}
	if a.InPlace {
		s += ", written in place"
	}
	return s
}

func (a Reload) String() string {
	switch a.Target.Kind {
	case kindService:
		return "update service " + a.Target.Name
	case kindEngine:
		return fmt.Sprintf("restart %s, to read %s", a.Target.Name, a.At)
	}
	return fmt.Sprintf("%s %s", a.How.Verb(), a.Target.Name)
}

// Interrupts is true of a restart, and of an update that ends a task before another is there.
func (a Reload) Interrupts() bool {
	if a.Target.Kind == kindService {
		return !a.Rolling
	}
	return a.How.Restart
}
func (Reload) action() {}
