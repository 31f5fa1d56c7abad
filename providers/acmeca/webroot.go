package acmeca

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"

	"github.com/mholt/acmez/v3/acme"

	"github.com/certwright/certwright/reconcile"
)

// webroot answers through the HTTP server that serves a directory (RFC 8555 section 8.3). Whoever can write there cannot lead
// it out of it: os.Root follows no link that does.
type webroot struct {
	directory string
	around    reconcile.Around
}

const wellKnown = ".well-known/acme-challenge"

func (w webroot) set(_ context.Context, c acme.Challenge) error {
	return w.within(func(root *os.Root) error {
		return w.around.Do("write "+wellKnown, func() error {
			if err := root.MkdirAll(wellKnown, 0o755); err != nil {
				return err
			}
			name := path.Join(wellKnown, c.Token)
			// One of a run that was cut off may stand there, and belong to whoever it was.
			if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
			if err != nil {
				return err
			}
			_, err = f.WriteString(c.KeyAuthorization)
			return errors.Join(err, f.Chmod(0o644), f.Close())
		})
	})
}

func (w webroot) unset(_ context.Context, c acme.Challenge) error {
	return w.within(func(root *os.Root) error {
		return w.around.Do("remove from "+wellKnown, func() error {
			if err := root.Remove(path.Join(wellKnown, c.Token)); !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			return nil
		})
	})
}

func (w webroot) within(do func(*os.Root) error) error {
	root, err := os.OpenRoot(w.directory)
	if err != nil {
		return err
	}
	defer root.Close()
	return do(root)
}
