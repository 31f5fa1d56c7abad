package files

import (
	"context"
	"errors"
	"io/fs"

	"github.com/certwright/certwright/providers/disk"
	"github.com/certwright/certwright/reconcile"
)

// Remove implements reconcile.Places. The directory itself and backups stay.
func (l Local) Remove(ctx context.Context, removals []reconcile.Removal) []error {
	errs := make([]error, len(removals))
	each(len(removals), func(i int) {
		if errs[i] = ctx.Err(); errs[i] == nil {
			errs[i] = l.remove(ctx, removals[i])
		}
	})
	return errs
}

func (l Local) remove(ctx context.Context, r reconcile.Removal) error {
	dir, err := l.open(r.At)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	ctx, cancel := l.waiting(ctx)
	defer cancel()
	if err := dir.Lock(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	p, err := look(dir)
	if err != nil {
		return err
	}
	defer p.close()
	p.of(r.Mark.Installation)
	if err := removeNames(dir, p, r.Files); err != nil {
		return err
	}
	if err := sweep(dir, r.Mark.Installation, r.Files); err != nil {
		return err
	}
	return dir.Sync()
}

// removeNames removes what leads to the files first, and what proves that they are ours last.
func removeNames(dir *disk.Dir, p *place, names []string) error {
	for _, m := range []*manifest{p.atomic, p.plain} {
		if m != nil {
			names = union(names, m.Files)
		}
	}
	for _, name := range names {
		if checkName(name) != nil {
			continue
		}
		e, err := p.at(name)
		if err != nil {
			return err
		}
		if e.ours {
			if err := p.remove(name); err != nil {
				return err
			}
		}
	}
	if err := removeFolders(dir, p); err != nil {
		return err
	}
	if p.data == dataPlaced || p.data == dataVacant {
		if err := absent(dir.Remove(dataName)); err != nil {
			return err
		}
	}
	if p.plain != nil {
		return absent(dir.Remove(manifestName))
	}
	return nil
}
