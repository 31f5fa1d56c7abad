package reconcile

import (
	"strings"

	"github.com/certwright/certwright/spec"
)

// Stacked is what one binding gives a service of a stack.
type Stacked struct {
	Stack   string // "" while the service is not known
	Service string // as the stack's file names it; as the spec does while the service is not known
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
	subject, svc := "binding/"+b.Name, v.service(b)
	if svc == nil {
		r := &Refusal{Subject: subject, Reason: "there is no service " + b.Consumer.Service, State: Waiting}
		if err := v.w.Swarms[b.Host.Name].Err; err != "" {
			r.Reason, r.Hint, r.State = err, "ask a manager of the Swarm", Failed
		}
		return Stacked{Service: b.Consumer.Service, Refused: r}, true
	}
	name, ok := strings.CutPrefix(svc.Name, svc.Stack+"_") // no name begins with "_"
	if !ok {
		return Stacked{}, false
	}
	m, missing := v.material(b, v.w.State)
	var refs []SecretRef
	if missing == "" {
		refs = v.refs(b, m)
		missing = v.unmade(b, refs)
	}
	x = Stacked{Stack: svc.Stack, Service: name, Refused: v.theirs(b, *svc, refs)}
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
