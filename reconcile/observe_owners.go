package reconcile

import (
	"context"
	"maps"
	"slices"
)

// owners finds the users that must be able to read the files. What a container's image says of its users cannot
// change under its id, so it is asked once and then remembered in the State.
func (o *observer) owners(ctx context.Context) {
	asked := map[string]ownerQuery{}
	for i := range o.s.Bindings {
		b := &o.s.Bindings[i]
		if !o.look.has(b) {
			continue
		}
		at, refused, _ := o.locate(b)
		if refused != nil {
			continue
		}
		for _, l := range at {
			if len(l.containers) == 0 {
				continue
			}
			c := l.containers[0]
			for _, f := range b.Files {
				want := f.Owner
				if want == nil {
					want = b.Owner
				}
				if want == nil || want.Name != "" {
					o.ownerOf(asked, b.Host.Name, c.ID, ownerName(b, want, c))
				}
				if want == nil {
					o.ownerOf(asked, b.Host.Name, c.ID, "")
				}
			}
		}
	}
	keys := slices.Sorted(maps.Keys(asked))
	found, errs := make([]Owner, len(keys)), make([]error, len(keys))
	_ = inWorkers(hostWorkers, len(keys), func(i int) error {
		q := asked[keys[i]]
		found[i], errs[i] = guarded(o.p, func() (Owner, error) { return o.p.Engines.Owner(ctx, q.host, q.container, q.user) })
		return nil
	})
	for i, key := range keys {
		if errs[i] != nil {
			o.w.Unknown[key] = errs[i].Error()
			continue
		}
		o.w.Owners[key] = found[i]
	}
}

// ownerQuery is about a user of a container.
type ownerQuery struct{ host, container, user string }

// ownerOf adds what has to be asked, unless it is known.
func (o *observer) ownerOf(asked map[string]ownerQuery, host, container, user string) {
	key := OwnerKey(container, user)
	if known, ok := o.w.State.Owners[key]; ok {
		o.w.Owners[key] = known
		return
	}
	asked[key] = ownerQuery{host, container, user}
}
