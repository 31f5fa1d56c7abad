package reconcile

import (
	"context"
	"sync"
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
	var questions []question
	var mu sync.Mutex
	for key, q := range Sorted(asked) {
		questions = append(questions, only(q.host, "the users of a container", func(ctx context.Context) error {
			found, err := guarded(o.p, func() (Owner, error) { return o.p.Engines.Owner(ctx, q.host, q.container, q.user) })
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				o.w.Unknown[key] = err.Error()
			} else {
				o.w.Owners[key] = found
			}
			return err
		}))
	}
	o.ask(ctx, hostWorkers, questions)
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
