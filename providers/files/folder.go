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

// A file of the plain layout may stand in a folder of its place: docker takes whatever lies beside the TLS files of a
// context for one of them, so that the manifest has to be elsewhere. What is staged has no folders.

// folder is the directory that a name stands in, and its name there. It is fs.ErrNotExist where there is no such folder.
func (p *place) folder(name string) (*disk.Dir, string, error) {
	folder, base, nested := strings.Cut(name, "/")
	if !nested {
		return p.dir, name, nil
	}
	if dir := p.folders[folder]; dir != nil {
		return dir, base, nil
	}
	dir, err := p.dir.Sub(folder)
	if err != nil {
		return nil, base, err
	}
	return p.keep(folder, dir), base, nil
}

// madeFolder is folder, and makes one that is not there.
func (p *place) madeFolder(name string) (*disk.Dir, string, error) {
	dir, base, err := p.folder(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return dir, base, err
	}
	folder := path.Dir(name)
	if dir, err = p.dir.MakeSub(folder, reconcile.DirMode); err != nil {
		return nil, base, err
	}
	return p.keep(folder, dir), base, nil
}

// keep has close close a folder as well.
func (p *place) keep(folder string, dir *disk.Dir) *disk.Dir {
	if p.folders == nil {
		p.folders = map[string]*disk.Dir{}
	}
	p.folders[folder] = dir
	return dir
}

// remove takes away what stands at a name, which may be gone already.
func (p *place) remove(name string) error {
	dir, base, err := p.folder(name)
	if err == nil {
		err = dir.Remove(base)
	}
	return absent(err)
}

// strange reports whether an error says that something else stands where a folder should.
func strange(err error) bool { return errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) }

// folders are those that names stand in; what cannot be a name is in none.
func folders(names []string) []string {
	var all []string
	for _, name := range names {
		if folder, _, nested := strings.Cut(name, "/"); nested && checkName(name) == nil {
			all = append(all, folder)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// syncFolders makes durable what the names in folders lead to.
func syncFolders(dir *disk.Dir, names []string) error {
	for _, folder := range folders(names) {
		sub, err := dir.Sub(folder)
		if err == nil {
			err = sub.Sync()
			sub.Close()
		}
		if absent(err) != nil && !strange(err) {
			return err
		}
	}
	return nil
}

// removeFolders removes those of the files that are ours, and leaves what somebody else has something in.
func removeFolders(dir *disk.Dir, p *place) error {
	if p.plain == nil {
		return nil
	}
	if err := syncFolders(dir, p.plain.Files); err != nil {
		return err
	}
	for _, folder := range folders(p.plain.Files) {
		if err := emptied(dir.RemoveDir(folder)); err != nil {
			return err
		}
	}
	return nil
}
