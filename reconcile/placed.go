package reconcile

import "github.com/certwright/certwright/spec"

// Placed are the bindings by the place their files are in, as far as that is a directory or a volume and known.
func Placed(s *spec.Spec, w World) map[Location][]string {
	v, out := newView(s, &w), map[Location][]string{}
	for i := range s.Bindings {
		b := &s.Bindings[i]
		at, _, _ := v.locate(b)
		for _, l := range at {
			if !l.create {
				out[l.at] = append(out[l.at], b.Name)
			}
		}
	}
	return out
}
