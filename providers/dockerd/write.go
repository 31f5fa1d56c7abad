package dockerd

import (
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/certwright/certwright/reconcile"
)

// put makes data the content of a file, in one step and durably. A link that stands there is an administrator's, and is
// followed.
func (m Machine) put(file string, data []byte, mode fs.FileMode) error {
	file = target(file)
	dir, err := m.Disk.Make(filepath.Dir(file), reconcile.DirMode)
	if err != nil {
		return err
	}
	defer dir.Close()
	name := filepath.Base(file)
	temporary := "." + name + ".certwright-new"
	if err := dir.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a run that was cut off
		return err
	}
	return dir.Write(name, temporary, data, mode)
}

// remove takes a file away; one that is not there is success.
func (m Machine) remove(file string) error {
	dir, err := m.Disk.Open(filepath.Dir(file))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := dir.Remove(filepath.Base(file)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return dir.Sync()
}

// target is where a file really is.
func target(file string) string {
	if to, err := filepath.EvalSymlinks(file); err == nil {
		return to
	}
	return file
}
