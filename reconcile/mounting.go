package reconcile

import (
	"path"

	"github.com/certwright/certwright/spec"
)

// Mounted is one mount that a consumer needs to see its binding's files.
type Mounted struct {
	Service string // of Compose; the container's name where it is named by that
	At      Location
	Target  string // in the container
}

// defaultTarget is where a binding's files are mounted when no container says otherwise.
const defaultTarget = "/certs"

// Mounting lists what has to be mounted where, in the order of the spec. A target is where a container mounts it
// already, else defaultTarget.
func Mounting(s *spec.Spec, w World) []Mounted {
	v := newView(s, &w)
	var out []Mounted
	for i := range s.Bindings {
		b := &s.Bindings[i]
		if b.Consumer == nil || b.Consumer.LabelKey != "" || b.Place.Swarm() || b.Place.Store != nil {
			continue
		}
		service := b.Consumer.Container
		if b.Consumer.ComposeService != "" {
			service = b.Consumer.ComposeService
		}
		at, refused, _ := v.locate(b)
		if refused != nil {
			continue
		}
		for _, l := range at {
			out = append(out, Mounted{Service: service, At: l.at.physical(), Target: target(b, l)})
		}
	}
	return out
}

func target(b *spec.Binding, l located) string {
	if b.Place.Path != "" {
		return b.Place.Path
	}
	for _, c := range l.containers {
		for _, m := range c.Mounts {
			if m.Type == "volume" && m.Name == l.at.Volume && l.at.Volume != "" || m.Type == "bind" && m.Source == l.at.Dir {
				return path.Clean(m.Destination)
			}
		}
	}
	return defaultTarget
}
