package docker

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/docker/docker/api/types/volume"

	"github.com/certwright/certwright/providers/truststore"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// Places sends each query, unit and removal the way it can go: to Local when the files are reached through the
// file system of this machine, else to one courier per engine. It implements reconcile.Places.
type Places struct {
	Local   reconcile.Places
	Engines Engines
	Stores  truststore.Stores // of containers
}

var _ reconcile.Places = Places{}

// sideBySide is with how many engines files are exchanged at once.
const sideBySide = 32

// beside calls do for each engine and the items that go to it, and returns when all is done.
func beside[E comparable](items map[E][]int, do func(to E, members []int)) {
	limit := make(chan struct{}, sideBySide)
	var all sync.WaitGroup
	for to, members := range items {
		all.Go(func() {
			limit <- struct{}{}
			defer func() { <-limit }()
			do(to, members)
		})
	}
	all.Wait()
}

// way is how a location is reached.
type way struct {
	at      reconcile.Location // for Local: the directory of this machine; else unchanged
	courier *Engine            // who starts the courier; nil for Local
	there   bool               // over ssh instead: what has to be reached while the engine is down
	inside  bool               // the trust store of a container of that engine, which takes none
	absent  bool               // a volume that does not exist
	err     error
}

// Read implements reconcile.Places.
func (p Places) Read(ctx context.Context, queries []reconcile.PlaceQuery, couriers bool) []reconcile.PlaceContent {
	ways := p.ways(ctx, len(queries), func(i int) reconcile.Location { return queries[i].At })
	return divide(ways, queries, carriers[reconcile.PlaceQuery, reconcile.PlaceContent]{
		at: func(q *reconcile.PlaceQuery) *reconcile.Location { return &q.At },
		local: func(qs []reconcile.PlaceQuery) []reconcile.PlaceContent {
			return p.Local.Read(ctx, qs, false)
		},
		remote: func(e *Engine, qs []reconcile.PlaceQuery) []reconcile.PlaceContent {
			if !couriers {
				return repeat(len(qs), reconcile.PlaceContent{Err: fmt.Errorf("%w without a courier", reconcile.ErrNotHere)})
			}
			return e.read(ctx, qs)
		},
		there: func(e *Engine, qs []reconcile.PlaceQuery) []reconcile.PlaceContent {
			return there(ctx, e, qs, reading)
		},
		inside: func(e *Engine, qs []reconcile.PlaceQuery) []reconcile.PlaceContent { return p.readStores(ctx, e, qs) },
		refuse: func(err error) reconcile.PlaceContent { return reconcile.PlaceContent{Err: err} },
		absent: func(q reconcile.PlaceQuery) reconcile.PlaceContent { return nothing(q) },
	})
}

// Write implements reconcile.Places.
func (p Places) Write(ctx context.Context, units []reconcile.Unit) []error {
	ways := p.ways(ctx, len(units), func(i int) reconcile.Location { return units[i].At })
	return divide(ways, units, carriers[reconcile.Unit, error]{
		at:     func(u *reconcile.Unit) *reconcile.Location { return &u.At },
		local:  func(us []reconcile.Unit) []error { return p.Local.Write(ctx, us) },
		remote: func(e *Engine, us []reconcile.Unit) []error { return e.write(ctx, us) },
		there:  func(e *Engine, us []reconcile.Unit) []error { return there(ctx, e, us, writing) },
		inside: func(e *Engine, us []reconcile.Unit) []error { return p.writeStores(ctx, e, us) },
		refuse: func(err error) error { return err },
		absent: func(u reconcile.Unit) error { return fmt.Errorf("%s does not exist", u.At) },
	})
}

// Remove implements reconcile.Places.
func (p Places) Remove(ctx context.Context, removals []reconcile.Removal) []error {
	ways := p.ways(ctx, len(removals), func(i int) reconcile.Location { return removals[i].At })
	return divide(ways, removals, carriers[reconcile.Removal, error]{
		at:     func(r *reconcile.Removal) *reconcile.Location { return &r.At },
		local:  func(rs []reconcile.Removal) []error { return p.Local.Remove(ctx, rs) },
		remote: func(e *Engine, rs []reconcile.Removal) []error { return e.remove(ctx, rs) },
		there:  func(e *Engine, rs []reconcile.Removal) []error { return there(ctx, e, rs, removing) },
		inside: func(e *Engine, rs []reconcile.Removal) []error { return p.removeStores(ctx, e, rs) },
		refuse: func(err error) error { return err },
		absent: func(reconcile.Removal) error { return nil },
	})
}

// Here gives the directories of this machine that locations are, of those that are reached through its file system.
func (p Places) Here(ctx context.Context, at []reconcile.Location) map[reconcile.Location]string {
	dirs := map[reconcile.Location]string{}
	for i, w := range p.ways(ctx, len(at), func(i int) reconcile.Location { return at[i] }) {
		if w.err == nil && !w.absent && w.courier == nil {
			dirs[at[i]] = filepath.Join(w.at.Dir, filepath.FromSlash(w.at.Sub))
		}
	}
	return dirs
}

// nothing is the answer for a place that does not exist.
func nothing(q reconcile.PlaceQuery) reconcile.PlaceContent {
	files := map[string]reconcile.FileContent{}
	for _, name := range q.Files {
		files[name] = reconcile.FileContent{}
	}
	return reconcile.PlaceContent{Files: files}
}

// carriers are the ways of one call, and its answers where there is none.
type carriers[Q, A any] struct {
	at     func(*Q) *reconcile.Location
	local  func([]Q) []A
	remote func(*Engine, []Q) []A
	there  func(*Engine, []Q) []A
	inside func(*Engine, []Q) []A
	refuse func(error) A
	absent func(Q) A
}

// divide sorts the items by the way they go, lets all ways go at once, and puts the answers in the items' order.
func divide[Q, A any](ways []way, items []Q, c carriers[Q, A]) []A {
	answers := make([]A, len(items))
	type group struct {
		engine *Engine // nil: local
		there  bool
		inside bool
	}
	groups := map[group][]int{}
	for i, w := range ways {
		switch {
		case w.err != nil:
			answers[i] = c.refuse(w.err)
		case w.absent:
			answers[i] = c.absent(items[i])
		default:
			to := group{w.courier, w.there, w.inside}
			groups[to] = append(groups[to], i)
		}
	}
	beside(groups, func(to group, members []int) {
		part := make([]Q, len(members))
		for n, i := range members {
			part[n] = items[i]
			*c.at(&part[n]) = ways[i].at
		}
		var got []A
		switch {
		case to.inside:
			got = c.inside(to.engine, part)
		case to.there:
			got = c.there(to.engine, part)
		case to.engine == nil:
			got = c.local(part)
		default:
			got = c.remote(to.engine, part)
		}
		for n, i := range members {
			answers[i] = got[n]
		}
	})
	return answers
}

func repeat[A any](n int, a A) []A {
	all := make([]A, n)
	for i := range all {
		all[i] = a
	}
	return all
}

// ways finds the way to each of n locations. The engines are asked side by side, each for its volumes once, and only if one
// is needed.
func (p Places) ways(ctx context.Context, n int, at func(int) reconcile.Location) []way {
	found := make([]way, n)
	remote := map[string][]int{} // by host
	for i := range found {
		if l := at(i); l.Volume == "" && !l.Machine && l.Container == "" && (!l.OfDaemon() || l.Host == spec.LocalHost) {
			found[i] = way{at: l}
		} else {
			remote[l.Host] = append(remote[l.Host], i)
		}
	}
	beside(remote, func(host string, members []int) {
		e, err := p.Engines.engine(host)
		var volumes map[string]*volume.Volume
		var unlisted error
		if err == nil && slices.ContainsFunc(members, func(i int) bool { return at(i).Container == "" }) {
			_, err = e.here(ctx) // of one that does not answer it is asked once, not for each
		}
		if err == nil && slices.ContainsFunc(members, func(i int) bool { return at(i).Volume != "" }) {
			volumes, unlisted = e.volumes(ctx)
		}
		for _, i := range members {
			switch l := at(i); {
			case err != nil:
				found[i] = way{err: err}
			case l.Container != "":
				found[i] = way{at: l, courier: e, inside: true}
			case l.Volume == "" && !l.Machine:
				found[i] = way{at: l, courier: e, there: true}
			case l.Volume == "":
				found[i] = e.toDirectory(ctx, l)
			case unlisted != nil:
				found[i] = way{err: unlisted}
			default:
				found[i] = e.toVolume(ctx, l, volumes[l.Volume])
			}
		}
	})
	return found
}

// toDirectory finds the way to a directory of the engine's machine.
func (e *Engine) toDirectory(ctx context.Context, l reconcile.Location) way {
	here, err := e.here(ctx)
	switch {
	case err != nil:
		return way{err: err}
	case here:
		return way{at: reconcile.Location{Host: spec.LocalHost, Dir: l.Dir, Sub: l.Sub}}
	}
	return way{at: l, courier: e}
}

// toVolume finds the way to a volume. The directory of one that the engine mounts somewhere else (NFS, tmpfs, a
// plugin) holds nothing while no container uses it, so such a volume always takes a courier.
func (e *Engine) toVolume(ctx context.Context, l reconcile.Location, v *volume.Volume) way {
	if v == nil {
		return way{absent: true}
	}
	here, err := e.here(ctx)
	if err != nil {
		return way{err: err}
	}
	if here && v.Driver == "local" && len(v.Options) == 0 {
		if info, err := os.Stat(v.Mountpoint); err == nil && info.IsDir() {
			return way{at: reconcile.Location{Host: spec.LocalHost, Dir: v.Mountpoint, Sub: l.Sub}}
		}
	}
	return way{at: l, courier: e}
}

// here reports whether the files of the engine's machine are those of this one, with the same user ids, and may
// be changed.
func (e *Engine) here(ctx context.Context) (bool, error) {
	if e.o.ForceCourier || os.Geteuid() != 0 {
		return false, nil
	}
	on, err := e.OnThisMachine(ctx)
	if err != nil || !on {
		return false, err
	}
	f, err := e.about(ctx)
	return err == nil && !f.remapped, err
}

// OnThisMachine reports whether a path on the engine's machine is the same file here. A user without rights does not see the
// root directory of who listens at the engine's socket, and goes by the name of the machine.
func (e *Engine) OnThisMachine(ctx context.Context) (bool, error) {
	if e.err != nil || !e.end.onMachine() || os.Geteuid() == 0 && !sharesRoot(e.end.address) {
		return false, e.err
	}
	f, err := e.about(ctx)
	if err != nil {
		return false, fmt.Errorf("engine %s: %w", e.host, err)
	}
	host, err := os.Hostname()
	return err == nil && host == f.name, nil
}
