package files

import (
	"errors"
	"io/fs"

	"github.com/certwright/certwright/providers/disk"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

func (l Local) read(q reconcile.PlaceQuery) reconcile.PlaceContent {
	content := reconcile.PlaceContent{Files: make(map[string]reconcile.FileContent, len(q.Files))}
	for _, name := range q.Files {
		content.Files[name] = reconcile.FileContent{}
	}
	dir, err := l.open(q.At)
	if errors.Is(err, fs.ErrNotExist) {
		return content
	}
	if err != nil {
		content.Err = err
		return content
	}
	defer dir.Close()
	if q.Seen != nil && l.unchanged(dir, q.Files, *q.Seen) {
		return reconcile.PlaceContent{Evidence: *q.Seen}
	}
	content.Exists = true
	p, err := look(dir)
	if err != nil {
		content.Err = err
		return content
	}
	defer p.close()
	content.Mark, content.Layout = p.mark(), p.layout()
	if q.Seen != nil { // before anything is read that it is to stand for
		content.Evidence = l.evidence(p, q.Files)
	}
	if err := p.modes(&content); err != nil {
		content.Err = err
		return content
	}
	for _, name := range q.Files {
		if content.Files[name], err = p.file(name); err != nil {
			content.Err = err
			return content
		}
	}
	if q.Strays {
		content.Strays = p.strays(q.Files)
	}
	return content
}

// modes are those of the place's own directory and of the generation ..data leads to, and when the directory was made.
func (p *place) modes(c *reconcile.PlaceContent) error {
	own, err := p.dir.Self()
	if err != nil {
		return err
	}
	c.Dir, c.Born = dirState(own), own.Born
	if p.current == nil {
		return nil
	}
	current, err := p.current.Self()
	c.Generation = current.Mode
	return err
}

func dirState(info disk.FileInfo) reconcile.DirState {
	return reconcile.DirState{Mode: info.Mode, UID: info.UID, GID: info.GID}
}

// layout is "" for what was interrupted on the way from one to the other, so that it is seen to differ from both.
func (p *place) layout() spec.Layout {
	switch {
	case p.atomic != nil && p.plain == nil:
		return spec.Atomic
	case p.atomic == nil && p.plain != nil && !p.plain.Unfinished:
		return spec.Plain
	}
	return ""
}

// file reads the file at a name: through the generation's own handle where it is a link of ours, so that all files
// of a unit are of one generation.
func (p *place) file(name string) (reconcile.FileContent, error) {
	e, err := p.at(name)
	c := reconcile.FileContent{Kind: e.kind, Ours: e.ours}
	if err != nil || e.kind == reconcile.KindAbsent || e.kind == reconcile.KindOther {
		return c, err
	}
	from, base, err := p.folder(name)
	switch {
	case err != nil:
		return c, err
	case e.through:
		if from = p.current; from == nil {
			return reconcile.FileContent{}, nil // ..data leads nowhere, and so does this
		}
	case e.kind != reconcile.KindFile:
		return c, nil
	}
	data, info, err := from.Read(base, maxFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return reconcile.FileContent{}, nil
	case errors.Is(err, disk.ErrNotRegular) || errors.Is(err, disk.ErrTooLarge):
		err = nil // it is there, and holds nothing that could be wanted
	}
	c.Data, c.Mode, c.UID, c.GID = data, info.Mode, info.UID, info.GID
	return c, err
}
