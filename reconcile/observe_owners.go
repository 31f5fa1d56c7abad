package reconcile

import (
	"context"
)

// owners finds the users that must be able to read the files. What a container's image says of its users cannot
// change under its id, so it is asked once and then remembered in the State.
func (o *observer) owners(ctx context.Context) {
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
					o.ownerOf(ctx, b.Host.Name, c.ID, ownerName(b, want, c))
				}
				if want == nil {
					o.ownerOf(ctx, b.Host.Name, c.ID, "")
				}
			}
		}
	}
}

func (o *observer) ownerOf(ctx context.Context, host, container, user string) {
	key := OwnerKey(container, user)
	if _, known := o.w.Owners[key]; known {
		return
	}
	if known, ok := o.w.State.Owners[key]; ok {
		o.w.Owners[key] = known
		return
	}
	found, err := guarded(o.p, func() (Owner, error) { return o.p.Engines.Owner(ctx, host, container, user) })
	if err != nil {
		o.w.Unknown[key] = err.Error()
		return
	}
	o.w.Owners[key] = found
}
