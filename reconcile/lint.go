package reconcile

import (
	"fmt"
	"slices"

	"github.com/certwright/certwright/spec"
)

// Finding is something that is allowed and does its work, and that somebody will regret.
type Finding struct {
	Subject string // binding/web
	Reason  string
	Hint    string // what to do about it
}

// Network is a network with names on it, and those that a container was given there.
type Network struct {
	Name    string
	Aliases []string
}

// KeyFile is a file with a key or a passphrase in it, or the directory of the store.
type KeyFile struct {
	Path string // absolute
	What string // is in it, in words
	Mode uint32 // permission bits
	Err  string // why they could not be looked at
}

// Lint looks a spec and a world over for what no plan and no state shows: it says what will be regretted, in the order of the
// spec, beside the Warnings that the spec has already. It is pure. What the world does not have, Unseen is about.
func Lint(s *spec.Spec, w World) []Finding {
	l := &linter{view: newView(s, &w)}
	for i := range s.Identities {
		l.identity(&s.Identities[i])
	}
	for i := range s.Bindings {
		b := &s.Bindings[i]
		l.consumer(b)
		l.mounts(b)
		l.loading(b)
		l.clients(b)
		l.presented(b)
		if id := l.serverOf(b); id != nil {
			l.names(b, id)
		}
	}
	l.keyFiles()
	l.otherSecrets()
	return l.found
}

type linter struct {
	*view
	found []Finding
}

func (l *linter) find(subject, hint, reason string, args ...any) {
	f := Finding{Subject: subject, Reason: fmt.Sprintf(reason, args...), Hint: hint}
	if !slices.Contains(l.found, f) { // replicas have mistakes in common
		l.found = append(l.found, f)
	}
}

// serverOf is the identity that a binding's consumer serves with, or nil.
func (l *linter) serverOf(b *spec.Binding) *spec.Identity {
	if b.Identity == nil {
		return nil
	}
	id := l.ids[b.Identity.Name]
	// What something else issued may be for both, so a probe says that it serves.
	if id == nil || !id.Usage(spec.Server) || id.Usage(spec.Client) && b.Probe == nil {
		return nil
	}
	return id
}
