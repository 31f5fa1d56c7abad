package files

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/certwright/certwright/providers/disk"
	"github.com/certwright/certwright/reconcile"
)

// sweep removes what writes of an installation have left in a place and nothing refers to: generations older than
// those that stay, and the remains of interrupted writes. names are those a unit of ours has or had there.
func sweep(dir *disk.Dir, installation string, names []string) error {
	p, err := survey(dir)
	if err != nil {
		return err
	}
	defer p.close()
	var stay []string
	if p.atomic != nil {
		stay = p.atomic.Previous
	}
	return p.sweep(installation, names, stay)
}

// sweep is the same for a place that was surveyed, and that goes on with the generations that stay.
func (p *place) sweep(installation string, names, stay []string) error {
	var err error
	for _, name := range p.names {
		switch {
		case name == p.generation || slices.Contains(stay, name): // whatever it holds, somebody reads it
		case generationName.MatchString(name):
			err = removeGeneration(p.dir, name, installation, names)
		case generationName.MatchString(strings.TrimSuffix(name, linkSuffix)):
			err = removeLink(p.dir, name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// removeLink removes a link that was about to be renamed.
func removeLink(dir *disk.Dir, name string) error {
	target, err := dir.Readlink(name)
	if err != nil || !generationName.MatchString(target) && !strings.HasPrefix(target, dataName+"/") {
		return nil //nolint:nilerr // not a link, so not ours
	}
	return absent(dir.Remove(name))
}

// removeGeneration removes a generation directory of an installation: the files its manifest names, the manifest,
// and the directory. Anything else in it stays, and so does the directory then.
func removeGeneration(dir *disk.Dir, name, installation string, names []string) error {
	gen, err := dir.Sub(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	defer gen.Close()
	m, err := readManifest(gen)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return emptied(dir.RemoveDir(name)) // a write was interrupted before it had begun: empty, or not ours
	case errors.Is(err, errNoManifest):
		// The power failed before it was synced. Only names that are ours in this place are taken from it.
		m = &manifest{Mark: reconcile.Mark{Installation: installation}, Files: names}
	case err != nil:
		return err
	}
	if m.Installation != installation {
		return nil
	}
	for _, file := range append(m.Files, claimName) {
		if checkName(file) != nil && file != claimName {
			continue
		}
		if err := emptied(gen.Remove(path.Base(file))); err != nil {
			return err
		}
	}
	left, err := gen.Names()
	if err != nil || !slices.Equal(left, []string{manifestName}) {
		return err
	}
	if err := emptied(gen.Remove(manifestName)); err != nil {
		return err
	}
	return emptied(dir.RemoveDir(name))
}

// emptied is err, but nil where something is gone already or is in use by somebody else.
func emptied(err error) error {
	for _, harmless := range []error{fs.ErrNotExist, unix.ENOTEMPTY, unix.EISDIR, unix.ENOTDIR} {
		if errors.Is(err, harmless) {
			return nil
		}
	}
	return err
}
