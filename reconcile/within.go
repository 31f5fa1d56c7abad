package reconcile

import "github.com/certwright/certwright/spec"

// hidden says of a server that was proved that nobody else can reach it, and what helps; "" where somebody can. A container that
// shares its network reaches its loopback as well.
func (v *view) hidden(b *spec.Binding) (why, hint string) {
	if b.Probe == nil {
		return "", ""
	}
	for _, c := range v.consumers(b) {
		if !v.w.Served[TargetKey(b.Name, c)].Within || v.shared(c) {
			continue
		}
		if c.Network == "none" {
			return c.Name + " is in no network: nobody but itself reaches it", "give it a network, or share its own with whoever is to reach it"
		}
		return c.Name + " listens on its loopback alone: nobody but itself reaches it", "have it listen on 0.0.0.0 or ::, or on the address of its network"
	}
	return "", ""
}

// shared reports whether another container is in the network of this one.
func (v *view) shared(c Container) bool {
	for _, other := range v.w.Engines[c.Host].Containers {
		if other.Network == "container:"+c.ID {
			return true
		}
	}
	return false
}
