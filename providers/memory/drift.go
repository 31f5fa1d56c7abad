package memory

import (
	"io/fs"
	"slices"

	"github.com/certwright/certwright/reconcile"
)

// The operators of this file are what people and other programs do to places. What is not there they leave alone
// and return false.

// Edit writes other bytes into a file, through links, as an editor does that keeps the inode.
func (w *World) Edit(at reconcile.Location, name string, data []byte) bool {
	return w.drift(at, name, func(_ *place, f *file) { f.data = slices.Clone(data) })
}

// Chmod changes a file's mode, or that of the directory: "." is the place's own, "..data" its generation's.
func (w *World) Chmod(at reconcile.Location, name string, mode fs.FileMode) bool {
	if name == "." || name == "..data" {
		return w.chmodDir(at, name, mode)
	}
	return w.drift(at, name, func(_ *place, f *file) { f.mode = mode })
}

func (w *World) chmodDir(at reconcile.Location, name string, mode fs.FileMode) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.places[physical(at)]
	switch {
	case p == nil, name == "..data" && p.atomic == nil:
		return false
	case name == "..data":
		p.atomic.mode = mode
	default:
		p.dir.Mode = mode
	}
	return true
}

// Chown changes a file's owner.
func (w *World) Chown(at reconcile.Location, name string, uid, gid int) bool {
	return w.drift(at, name, func(_ *place, f *file) { f.uid, f.gid = uid, gid })
}

// Delete removes what stands at a name.
func (w *World) Delete(at reconcile.Location, name string) bool {
	return w.drift(at, name, func(p *place, _ *file) { delete(p.names, name) })
}

// RemoveMark takes away what makes a place's files known as ours.
func (w *World) RemoveMark(at reconcile.Location) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.places[physical(at)]
	if p == nil || p.mark() == nil {
		return false
	}
	if p.atomic != nil {
		p.atomic.mark = reconcile.Mark{}
	}
	p.plain = nil
	return true
}

// DeletePlace removes a whole directory.
func (w *World) DeletePlace(at reconcile.Location) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.places[physical(at)]
	if p == nil {
		return false
	}
	for _, n := range p.names {
		w.forgive(n)
	}
	delete(w.places, physical(at))
	return true
}

// ForeignFile puts a file that is not ours at a name, over whatever stood there.
func (w *World) ForeignFile(at reconcile.Location, name string, data []byte) {
	w.put(at, name, &node{kind: reconcile.KindFile, file: &file{data: slices.Clone(data), mode: 0o644}})
}

// ReplaceByDirectory puts a directory at a name, over whatever stood there.
func (w *World) ReplaceByDirectory(at reconcile.Location, name string) {
	w.put(at, name, &node{kind: reconcile.KindDirectory})
}

func (w *World) put(at reconcile.Location, name string, n *node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.makePlace(physical(at))
	if old := p.names[name]; old != nil {
		w.forgive(old)
	}
	p.names[name] = n
	w.estrange(physical(at), name, n)
}

func (w *World) drift(at reconcile.Location, name string, change func(*place, *file)) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.places[physical(at)]
	if p == nil || p.names[name] == nil {
		return false
	}
	f := p.resolve(name)
	if f == nil {
		f = &file{} // a directory or a link to nowhere has nothing to change, but can go
	}
	w.forgive(p.names[name])
	change(p, f)
	return true
}
