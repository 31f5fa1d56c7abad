package reconcile

import (
	"cmp"

	"github.com/certwright/certwright/spec"
)

const lookAgain = "mend that, and run lint again"

// Unseen says of what Lint would look at that it could not be looked at, and why: that nothing was found in it means nothing. What
// is not there yet is nothing to look at. It is pure.
func Unseen(s *spec.Spec, w World) []Finding {
	l := &linter{view: newView(s, &w)}
	for host, e := range Sorted(w.Engines) {
		l.unseen("host/"+host, "its containers", e.Err, "")
	}
	for host, swarm := range Sorted(w.Swarms) {
		if e := w.Engines[host]; e.Err == "" {
			l.unseen("host/"+host, "its Swarm", swarm.Err, "")
		}
	}
	for host, d := range Sorted(w.Daemons) {
		l.unseen("host/"+host, "its dockerd", d.Err, d.Hint)
	}
	for i := range s.Identities {
		if id := &s.Identities[i]; id.From != nil {
			l.unseen("identity/"+id.Name, "its certificate", w.From[id.Name].Err, "")
		}
	}
	for i := range s.Bindings {
		l.unseenOf(&s.Bindings[i])
	}
	for _, f := range w.KeyFiles {
		l.unseen("file "+f.Path, "who can read "+f.What, f.Err, "")
	}
	return l.found
}

// unseenOf is about the places of a binding, and about what its consumers serve. An engine that does not answer was named.
func (l *linter) unseenOf(b *spec.Binding) {
	subject := "binding/" + b.Name
	at, refused, wait := l.locate(b)
	if refused != nil && !wait {
		l.unseen(subject, "what is placed", refused.Reason, refused.Hint)
	}
	for _, place := range at {
		state, hint := l.w.Places[place.at], ""
		if state.Beyond && !l.w.Courier {
			hint = "run lint without --no-couriers"
		}
		l.unseen(subject, "what is in "+place.at.String(), state.Err, hint)
	}
	if why, _ := l.hidden(b); b.Probe == nil || why != "" { // that nobody reaches it is found
		return
	}
	for _, c := range l.consumers(b) {
		if c.Running() {
			l.unseen(subject, "what "+c.Name+" serves", l.w.Served[TargetKey(b.Name, c)].Err, "`certwright why "+b.Name+"` says what keeps it from being served")
		}
	}
}

// unseen says that something was not looked at, if there is a reason why.
func (l *linter) unseen(subject, what, why, hint string) {
	if why != "" {
		l.find(subject, cmp.Or(hint, lookAgain), "%s could not be looked at: %s", what, why)
	}
}
