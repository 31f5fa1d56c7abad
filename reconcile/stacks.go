package reconcile

import (
	"strings"

	"github.com/certwright/certwright/spec"
)

// Stacked is what one binding gives a service of a stack.
type Stacked struct {
	Stack   string // "" while the service is not known, and where the binding names none
	Service string // as the stack's file names it; as the spec does while the service is not known; "" where it names none
	Secrets []StackSecret
	// Refused says why there are no secrets: Waiting for the service, or what has to be done before.
	Refused *Refusal
}

// StackSecret is a secret or config that a service of a stack mounts.
type StackSecret struct {
	Key string // the same for all versions, and for no other file
	SecretRef
}

// Stacks lists what has to be in the files of stacks so that their services keep the secrets that certwright gives them,
// in the order of the spec. Services of no stack are deployed from no file, and not in it.
func Stacks(s *spec.Spec, w World) []Stacked {
	v := newView(s, &w)
	taken := map[string]bool{}
	var out []Stacked
	for i := range s.Bindings {
		b := &s.Bindings[i]
		if !b.Place.Swarm() {
			continue
		}
		keys := make([]string, len(b.Files))
		for i, f := range b.Files {
			keys[i] = secretKey(s.Project, b.Name, f.Name)
			if taken[keys[i]] { // web-server and cert.pem, after web and server-cert.pem
				keys[i] += "-" + string(digest(s.Project, b.Name, f.Name)[:shortHash])
			}
			taken[keys[i]] = true
		}
		if x, ok := v.stacked(b, keys); ok {
			out = append(out, x)
		}
	}
	return out
}

// stacked is what a binding gives its service, unless that belongs to no stack.
func (v *view) stacked(b *spec.Binding, keys []string) (x Stacked, ok bool) {
	subject, services, named := "binding/"+b.Name, v.services(b), ""
	if b.Consumer != nil {
		named = b.Consumer.Service
	}
	switch err := v.w.Swarms[b.Host.Name].Err; {
	case err != "":
		return Stacked{Service: named, Refused: &Refusal{Subject: subject, Reason: err, Hint: "ask a manager of the Swarm", State: Failed}}, true
	case b.Consumer == nil: // whoever mounts them finds them by their keys
	case len(services) == 0:
		return Stacked{Service: named, Refused: &Refusal{Subject: subject, Reason: "there is no service " + named, State: Waiting}}, true
	default:
		svc := services[0]
		if x.Service, ok = strings.CutPrefix(svc.Name, svc.Stack+"_"); !ok { // no name begins with "_"
			return Stacked{}, false
		}
		x.Stack = svc.Stack
	}
	m, missing := v.material(b, v.w.State)
	var refs []SecretRef
	if missing == "" {
		refs = v.refs(b, m)
		missing = v.unmade(b, refs)
	}
	if b.Consumer != nil {
		x.Refused = v.theirs(b, services[0], refs)
	}
	if x.Refused == nil && missing != "" {
		x.Refused = &Refusal{Subject: subject, Reason: missing, Hint: "run `certwright apply` first", State: Failed}
	}
	if x.Refused != nil {
		return x, true
	}
	for i, r := range refs {
		x.Secrets = append(x.Secrets, StackSecret{Key: keys[i], SecretRef: r})
	}
	return x, true
}
