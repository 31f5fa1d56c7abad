package files

import (
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/certwright/certwright/providers/disk"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// commit puts what is staged in place.
func (j *job) commit() error {
	if j.Adopt {
		if err := j.setAside(); err != nil {
			return err
		}
	}
	p, err := j.look()
	if err != nil {
		return err
	}
	defer p.close()
	if err := j.late(p); err != nil { // it was new, or whoever held its lock wrote meanwhile
		return err
	}
	if err := j.refuse(p); err != nil {
		return err
	}
	if err := j.admit(); err != nil {
		return err
	}
	// What the new unit makes superfluous goes before it: a process that is killed right after the commit leaves a
	// place that is as it should be, and nobody comes by again for the whole life of a certificate.
	// A failure is said, and holds nothing back.
	j.untidy = p.sweep(j.Mark.Installation, union(j.wanted(), j.Old), append([]string{j.generation}, j.previous...))
	if j.Layout == spec.Plain {
		return j.commitPlain(p)
	}
	return j.commitAtomic(p)
}

// admit opens the place's own directory where it keeps a file from whom the file is for.
func (j *job) admit() error {
	info, err := j.dir.Self()
	if err != nil {
		return err
	}
	own := dirState(info)
	for _, f := range j.Files {
		if own.Admits(f.Mode, reconcile.Owner{UID: f.UID, GID: f.GID}) {
			continue
		}
		if err := j.dir.Widen(reconcile.DirMode); err != nil {
			return fmt.Errorf("open the directory to %d:%d, whose %s is in it: %w", f.UID, f.GID, f.Name, err)
		}
		return nil
	}
	return nil
}

// commitAtomic makes ..data lead to the new generation, and the names lead through ..data.
func (j *job) commitAtomic(p *place) error {
	if err := j.link(j.generation, dataName, p.data != dataAbsent); err != nil {
		return err
	}
	for _, name := range j.wanted() {
		e, err := p.at(name)
		if err != nil {
			return err
		}
		if e.through {
			continue
		}
		if err := j.link(dataName+"/"+name, name, e.kind != reconcile.KindAbsent); err != nil {
			return err
		}
	}
	if err := j.drop(p); err != nil || p.plain == nil {
		return err
	}
	return absent(j.dir.Remove(manifestName)) // the layout was plain before
}

// link makes a link: where nothing may stand, or in one step over something of ours.
func (j *job) link(target, name string, replace bool) error {
	if !replace {
		return appeared(name, j.dir.Symlink(target, name))
	}
	temporary := j.generation + linkSuffix
	if err := j.dir.Symlink(target, temporary); err != nil {
		return err
	}
	return j.dir.Rename(temporary, name)
}

// enter moves a staged file to its name: where nothing may stand, or in one step over something of ours.
func (j *job) enter(gen *disk.Dir, staged string, p *place, name string, replace bool) error {
	dir, base, err := p.madeFolder(name)
	if err != nil {
		return err
	}
	if !replace {
		return appeared(name, gen.Move(staged, dir, base))
	}
	return gen.Replace(staged, dir, base)
}

func appeared(name string, err error) error {
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s appeared just now: %w", name, reconcile.ErrForeign)
	}
	return err
}

// commitPlain claims the names with a manifest first and says last that it is finished; in between, whatever was
// done is known to be ours.
func (j *job) commitPlain(p *place) error {
	gen, err := j.dir.Sub(j.generation)
	if err != nil {
		return err
	}
	defer gen.Close()
	if err := j.enter(gen, claimName, p, manifestName, p.plain != nil); err != nil {
		return err
	}
	for _, f := range j.Files {
		e, err := p.at(f.Name)
		if err != nil {
			return err
		}
		if err := j.put(gen, p, f, e); err != nil {
			return err
		}
	}
	if err := j.drop(p); err != nil {
		return err
	}
	if p.data == dataPlaced || p.data == dataVacant { // the layout was atomic before
		if err := absent(j.dir.Remove(dataName)); err != nil {
			return err
		}
	}
	return gen.Replace(manifestName, j.dir, manifestName)
}

func (j *job) put(gen *disk.Dir, p *place, f reconcile.UnitFile, e entry) error {
	if !j.InPlace || e.kind != reconcile.KindFile {
		return j.enter(gen, path.Base(f.Name), p, f.Name, e.kind != reconcile.KindAbsent)
	}
	// What is staged has shown that the disk has room for it, and has done its work.
	j.overwritten = append(j.overwritten, f.Name)
	if err := j.dir.Overwrite(f.Name, f.Data, f.Mode, f.UID, f.GID); err != nil {
		return ownerHint(err, f)
	}
	return gen.Remove(f.Name)
}

// drop removes the names of ours that are no longer of the unit.
func (j *job) drop(p *place) error {
	for _, name := range j.gone {
		e, err := p.at(name)
		if err != nil {
			return err
		}
		if !e.ours {
			continue
		}
		if err := p.remove(name); err != nil {
			return err
		}
	}
	return nil
}
