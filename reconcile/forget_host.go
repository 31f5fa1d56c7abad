package reconcile

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/certwright/certwright/spec"
)

// hasHost reports whether the spec has a host.
func (v *view) hasHost(name string) bool {
	return name == spec.LocalHost || slices.ContainsFunc(v.s.Hosts, func(h spec.Host) bool { return h.Name == name })
}

// unreached is what to do about what is to be cleared on a host that does not answer, or that the spec does not have.
func (d *differ) unreached(host string) string {
	switch {
	case !d.hasHost(host):
		return fmt.Sprintf("bring the host back until this is cleared; if it is gone for good, run `certwright forget %s`", host)
	case host != spec.LocalHost && d.w.Engines[host].Err+d.w.Swarms[host].Err != "":
		return fmt.Sprintf("it is cleared when that answers; a host that is gone for good leaves the spec, too, and then run `certwright forget %s`", host)
	}
	return ""
}

// ForgetHost drops the records of what was placed on a host, and says what they were: it stays where it is, unknown to
// certwright.
func (s *State) ForgetHost(host string) (left []string) {
	for at, row := range s.Places {
		if at.Host == host {
			left = append(left, fmt.Sprintf("%s (%s)", at, row.Binding))
		}
	}
	slices.SortFunc(left, strings.Compare)
	maps.DeleteFunc(s.Places, func(at Location, _ PlaceRow) bool { return at.Host == host })
	return left
}

// ForeignHosts are those on which something was placed and that a spec does not have any more, sorted.
func (s State) ForeignHosts(of *spec.Spec) (names []string) {
	v := newView(of, &World{})
	for at := range s.Places {
		if !v.hasHost(at.Host) {
			names = append(names, at.Host)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
