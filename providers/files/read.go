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
	content.Exists = true
	p, err := look(dir)
	if err != nil {
		content.Err = err
		return content
	}
	defer p.close()
	content.Mark, content.Layout = p.mark(), p.layout()
	for _, name := range q.Files {
		if content.Files[name], err = p.file(name); err != nil {
			content.Err = err
			return content
		}
	}
	return content
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
	from := p.dir
	switch {
	case err != nil || e.kind == reconcile.KindAbsent:
		return c, err
	case e.through:
		if from = p.current; from == nil {
			return reconcile.FileContent{}, nil // ..data leads nowhere, and so does this
		}
	case e.kind != reconcile.KindFile:
		return c, nil
	}
	data, info, err := from.Read(name, maxFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return reconcile.FileContent{}, nil
	case errors.Is(err, disk.ErrNotRegular) || errors.Is(err, disk.ErrTooLarge):
		err = nil // it is there, and holds nothing that could be wanted
	}
	c.Data, c.Mode, c.UID, c.GID = data, info.Mode, info.UID, info.GID
	return c, err
}
