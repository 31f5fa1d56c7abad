package reconcile

import (
	"slices"

	"github.com/certwright/certwright/spec"
)

// ofContext are the places of a docker context. What makes docker see it comes last: its material is there before.
func ofContext(b *spec.Binding) []located {
	c := b.Place.Context
	described := slices.IndexFunc(b.Files, func(f spec.File) bool { return f.Content == spec.ContentContext })
	if described < 0 {
		return []located{{at: Location{Host: b.Host.Name, Dir: c.TLS()}, list: b.Files}}
	}
	return []located{
		{at: Location{Host: b.Host.Name, Dir: c.TLS()}, list: b.Files[:described]},
		{at: Location{Host: b.Host.Name, Dir: c.MetaDir()}, list: b.Files[described:]},
	}
}

// described reports whether nothing but the description of a context lies there, which no certificate changes.
func (l located) described() bool {
	return len(l.list) == 1 && l.list[0].Content == spec.ContentContext
}
