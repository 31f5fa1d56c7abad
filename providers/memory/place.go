package memory

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// place is a directory that certwright may use.
type place struct {
	dir    reconcile.DirState
	born   time.Time
	names  map[string]*node
	atomic *generation // what ..data leads to
	plain  *manifest
	backup map[string][]*node // what adopting moved away
}

// node is what stands at a name: a file, a link through ..data, or something else.
type node struct {
	kind    string
	through bool
	file    *file
}

// file has an identity: a mount of a single file holds on to it.
type file struct {
	data     []byte
	mode     fs.FileMode
	uid, gid int
}

type manifest struct {
	mark       reconcile.Mark
	files      []string
	unfinished bool
}

type generation struct {
	manifest
	mode fs.FileMode
	held map[string]*file
}

// physical is the location whoever may name it, as the engine's machine is the one certwright runs on.
func physical(at reconcile.Location) reconcile.Location {
	if at.Host == "" {
		at.Host = spec.LocalHost
	}
	at.Machine = false
	if at.Volume == "" {
		at.Dir, at.Sub = path.Join(at.Dir, at.Sub), ""
	} else if at.Sub = path.Clean(at.Sub); at.Sub == "." {
		at.Sub = ""
	}
	return at
}

// reach says why a place cannot be looked at from here.
func (w *World) reach(at reconcile.Location, couriers bool) error {
	here := at.Volume == "" && at.Container == "" && !at.Machine && (at.Host == "" || at.Host == spec.LocalHost)
	if here {
		return nil
	}
	e := w.engines[physical(at).Host]
	switch {
	case e == nil:
		return fmt.Errorf("there is no host %s: %w", at.Host, reconcile.ErrNotHere)
	case e.Down != "":
		return fmt.Errorf("%s: %w", e.Down, reconcile.ErrNotHere)
	case e.Remote && !couriers && at.Container == "":
		return fmt.Errorf("%s needs a courier: %w", at, reconcile.ErrNotHere)
	}
	return nil
}

// Read implements reconcile.Places.
func (w *World) Read(ctx context.Context, queries []reconcile.PlaceQuery, couriers bool) []reconcile.PlaceContent {
	contents := make([]reconcile.PlaceContent, len(queries))
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, q := range queries {
		if err := errors.Join(ctx.Err(), w.reach(q.At, couriers)); err != nil {
			contents[i].Err = err
			continue
		}
		contents[i] = w.places[physical(q.At)].read(q.Files)
	}
	return contents
}

func (p *place) read(names []string) reconcile.PlaceContent {
	c := reconcile.PlaceContent{Exists: p != nil, Files: map[string]reconcile.FileContent{}}
	for _, name := range names {
		c.Files[name] = reconcile.FileContent{}
		if p != nil {
			c.Files[name] = p.content(name)
		}
	}
	if p == nil {
		return c
	}
	c.Mark, c.Dir, c.Born = p.mark(), p.dir, p.born
	if p.atomic != nil {
		c.Generation = p.atomic.mode
	}
	switch {
	case c.Mark == nil, p.atomic != nil && p.plain != nil: // from one layout to the other
	case p.atomic != nil:
		c.Layout = spec.Atomic
	case !p.plain.unfinished:
		c.Layout = spec.Plain
	}
	return c
}

// mark is a copy of the mark certwright left, nil if there is none.
func (p *place) mark() *reconcile.Mark {
	for _, m := range p.manifests() {
		if mark := m.mark; mark.Installation != "" {
			return &mark
		}
	}
	return nil
}

func (p *place) content(name string) reconcile.FileContent {
	n := p.names[name]
	if n == nil {
		return reconcile.FileContent{}
	}
	c := reconcile.FileContent{Kind: n.kind, Ours: p.owns(n, name, "")}
	f := p.resolve(name)
	switch {
	case f != nil:
		c.Data, c.Mode, c.UID, c.GID = slices.Clone(f.data), f.mode, f.uid, f.gid
	case n.through:
		return reconcile.FileContent{} // it leads nowhere
	}
	return c
}

// resolve is the file at a name, followed through ..data.
func (p *place) resolve(name string) *file {
	n := p.names[name]
	switch {
	case n == nil:
		return nil
	case !n.through:
		return n.file
	case p.atomic == nil:
		return nil
	}
	return p.atomic.held[name]
}

// owns reports whether what stands at a name is of an installation, "" for any.
func (p *place) owns(n *node, name, installation string) bool {
	m := p.plain
	if n.through {
		if p.atomic == nil {
			return true // it leads nowhere
		}
		m = &p.atomic.manifest
	}
	if m == nil || m.mark.Installation == "" || installation != "" && m.mark.Installation != installation {
		return false
	}
	return n.through || n.kind == reconcile.KindFile && slices.Contains(m.files, name)
}

// foreign says what stands in the way of a unit, "" if nothing does.
func (p *place) foreign(u reconcile.Unit) string {
	for _, m := range p.manifests() {
		if m.mark.Installation != u.Mark.Installation {
			return "files of another installation"
		}
	}
	var found []string
	for _, f := range u.Files {
		if n := p.names[f.Name]; n != nil && !p.owns(n, f.Name, u.Mark.Installation) {
			found = append(found, f.Name+" ("+n.kind+")")
		}
	}
	return strings.Join(found, ", ")
}

func (p *place) manifests() []*manifest {
	var all []*manifest
	if p.atomic != nil {
		all = append(all, &p.atomic.manifest)
	}
	if p.plain != nil {
		all = append(all, p.plain)
	}
	return all
}

// Remove implements reconcile.Places.
func (w *World) Remove(ctx context.Context, removals []reconcile.Removal) []error {
	errs := make([]error, len(removals))
	for i, r := range removals {
		if errs[i] = ctx.Err(); errs[i] != nil {
			continue
		}
		errs[i] = w.effect("remove from "+r.At.String(), func() error {
			if err := w.reach(r.At, true); err != nil {
				return err
			}
			if p := w.places[physical(r.At)]; p != nil {
				p.clear(r)
			}
			return nil
		})
	}
	return errs
}

func (p *place) clear(r reconcile.Removal) {
	maps.DeleteFunc(p.names, func(name string, n *node) bool { return p.owns(n, name, r.Mark.Installation) })
	if p.atomic != nil && p.atomic.mark.Installation == r.Mark.Installation {
		p.atomic = nil
	}
	if p.plain != nil && p.plain.mark.Installation == r.Mark.Installation {
		p.plain = nil
	}
}
