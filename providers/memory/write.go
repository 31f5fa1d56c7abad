package memory

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// Write implements reconcile.Places. A unit takes an effect to stage it, one for each name that becomes visible by
// itself (in the atomic layout ..data stands for all), and one to drop what it no longer has.
func (w *World) Write(ctx context.Context, units []reconcile.Unit) []error {
	errs := make([]error, len(units))
	seen := map[reconcile.Location]bool{}
	for i, u := range units {
		at := physical(u.At)
		switch {
		case ctx.Err() != nil:
			errs[i] = ctx.Err()
		case seen[at]:
			errs[i] = fmt.Errorf("%s is written twice", u.At)
		default:
			seen[at] = true
			errs[i] = w.write(at, u)
		}
	}
	return errs
}

func (w *World) write(at reconcile.Location, u reconcile.Unit) error {
	if err := fits(u); err != nil {
		return err
	}
	w.mu.Lock()
	if w.writing[at] {
		w.breaks("two writers in " + u.At.String())
	}
	w.writing[at] = true
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.writing, at)
	}()
	var p *place
	var staged *generation
	err := w.effect("stage in "+u.At.String(), func() error {
		if err := w.reach(u.At, true); err != nil {
			return err
		}
		if _, ok := w.volumes[volumeOf(at)]; at.Volume != "" && !ok {
			return fmt.Errorf("there is no volume %s", at.Volume)
		}
		w.checkUnit(at, u)
		p, staged = w.makePlace(at), stage(u)
		return p.refuse(u)
	})
	if err != nil {
		return err
	}
	if u.Adopt {
		err := w.effect("back up in "+u.At.String(), func() error { p.setAside(u); return nil })
		if err != nil {
			return err
		}
	}
	if shut := w.peek(func() bool { return !p.admits(u) }); shut {
		err := w.effect("chmod "+u.At.String(), func() error { p.dir.Mode |= reconcile.DirMode; return nil })
		if err != nil {
			return err
		}
	}
	if u.Layout == spec.Plain {
		return w.commitPlain(p, u, staged)
	}
	return w.commitAtomic(p, u, staged)
}

// fits refuses what no provider could write.
func fits(u reconcile.Unit) error {
	if u.Layout != spec.Atomic && u.Layout != spec.Plain || u.InPlace && u.Layout != spec.Plain {
		return fmt.Errorf("layout %q (in place: %t) cannot be written", u.Layout, u.InPlace)
	}
	if len(u.Files) == 0 || u.Mark.Installation == "" {
		return errors.New("a unit has files and the mark of an installation")
	}
	seen := map[string]bool{}
	for _, f := range u.Files {
		if f.Name == "" || f.Name == "." || strings.HasPrefix(f.Name, "..") || strings.Contains(f.Name, "\x00") || strings.Contains(f.Name, "/") && u.Layout != spec.Plain || seen[f.Name] {
			return fmt.Errorf("%q cannot be the name of a placed file, or is there twice", f.Name)
		}
		seen[f.Name] = true
	}
	return nil
}

// makePlace makes a directory, and shows it in the one above it.
func (w *World) makePlace(at reconcile.Location) *place {
	if p := w.places[at]; p != nil {
		return p
	}
	p := &place{born: w.Now(), dir: reconcile.DirState{Mode: reconcile.DirMode}, names: map[string]*node{}, backup: map[string][]*node{}}
	w.places[at] = p
	for other, q := range w.places {
		if other.Host != at.Host || other.Volume != "" || at.Volume != "" || other == at {
			continue
		}
		if path.Dir(at.Dir) == other.Dir && q.names[path.Base(at.Dir)] == nil {
			q.names[path.Base(at.Dir)] = &node{kind: reconcile.KindDirectory}
		}
		if path.Dir(other.Dir) == at.Dir {
			p.names[path.Base(other.Dir)] = &node{kind: reconcile.KindDirectory}
		}
	}
	return p
}

// stage copies the files of a unit. An owner of -1 is left as it comes, which is root here.
func stage(u reconcile.Unit) *generation {
	g := &generation{manifest: manifest{mark: u.Mark}, mode: reconcile.DirMode, held: map[string]*file{}}
	for _, f := range u.Files {
		g.files = append(g.files, f.Name)
		g.held[f.Name] = &file{data: slices.Clone(f.Data), mode: f.Mode, uid: max(f.UID, 0), gid: max(f.GID, 0)}
	}
	return g
}

func (p *place) refuse(u reconcile.Unit) error {
	if m := p.mark(); m != nil && m.Installation == u.Mark.Installation && m.Version > u.Mark.Version {
		return fmt.Errorf("in %s is a later version: %w", u.At, reconcile.ErrChanged)
	}
	if what := p.foreign(u); what != "" && !u.Adopt {
		return fmt.Errorf("in %s %s: %w", u.At, what, reconcile.ErrForeign)
	}
	return nil
}

// admits reports whether the directory keeps no file of a unit from whom it is for.
func (p *place) admits(u reconcile.Unit) bool {
	return !slices.ContainsFunc(u.Files, func(f reconcile.UnitFile) bool {
		return !p.dir.Admits(f.Mode, reconcile.Owner{UID: f.UID, GID: f.GID})
	})
}

// setAside moves what is foreign at the unit's names into the backup.
func (p *place) setAside(u reconcile.Unit) {
	if p.atomic != nil && p.atomic.mark.Installation != u.Mark.Installation {
		p.atomic = nil
	}
	if p.plain != nil && p.plain.mark.Installation != u.Mark.Installation {
		p.plain = nil
	}
	for _, f := range u.Files {
		n := p.names[f.Name]
		if n == nil || p.owns(n, f.Name, u.Mark.Installation) {
			continue
		}
		if u.InPlace && n.file != nil { // the inode stays where it is
			moved := *n.file
			n = &node{kind: n.kind, file: &moved}
		} else {
			delete(p.names, f.Name)
		}
		p.backup[f.Name] = append(p.backup[f.Name], n)
	}
}

func (w *World) commitAtomic(p *place, u reconcile.Unit, staged *generation) error {
	unwanted := p.unwanted(w, u)
	err := w.effect("rename ..data in "+u.At.String(), func() error {
		p.atomic = staged
		return nil
	})
	if err != nil {
		return err
	}
	for _, f := range u.Files {
		if linked := w.peek(func() bool { n := p.names[f.Name]; return n != nil && n.through }); linked {
			continue
		}
		err := w.effect("rename "+f.Name+" in "+u.At.String(), func() error {
			if err := p.refuse(u); err != nil {
				return err
			}
			p.names[f.Name] = &node{kind: reconcile.KindLink, through: true}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return w.finish(p, u, unwanted, func() { p.plain = nil })
}

func (w *World) commitPlain(p *place, u reconcile.Unit, staged *generation) error {
	unwanted := p.unwanted(w, u)
	err := w.effect("rename .certwright.json in "+u.At.String(), func() error {
		p.plain = &manifest{mark: u.Mark, files: slices.Concat(staged.files, unwanted), unfinished: true}
		return nil
	})
	if err != nil {
		return err
	}
	for _, f := range u.Files {
		err := w.effect("rename "+f.Name+" in "+u.At.String(), func() error {
			if err := p.refuse(u); err != nil {
				return err
			}
			if n := p.names[f.Name]; u.InPlace && n != nil && n.file != nil {
				*n.file = *staged.held[f.Name]
				return nil
			}
			p.names[f.Name] = &node{kind: reconcile.KindFile, file: staged.held[f.Name]}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return w.finish(p, u, unwanted, func() {
		p.atomic, p.plain = nil, &manifest{mark: u.Mark, files: staged.files}
	})
}

// unwanted are the names of ours in the place that are not of the unit.
func (p *place) unwanted(w *World, u reconcile.Unit) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var names []string
	for name, n := range p.names {
		wanted := slices.ContainsFunc(u.Files, func(f reconcile.UnitFile) bool { return f.Name == name })
		if !wanted && p.owns(n, name, u.Mark.Installation) {
			names = append(names, name)
		}
	}
	return names
}

// finish drops the unwanted names and says that the unit is whole.
func (w *World) finish(p *place, u reconcile.Unit, unwanted []string, whole func()) error {
	return w.effect("finish in "+u.At.String(), func() error {
		for _, name := range unwanted {
			delete(p.names, name)
		}
		whole()
		return nil
	})
}

func (w *World) peek(is func() bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return is()
}
