// Package disk has every effect certwright has on this machine's file system, one method each.
//
// A Disk opens directories; a Dir is an open directory, and everything else is done to the entries of a Dir by their
// name. A name is one component, never a path, and no link standing at a name is ever followed. So whatever another
// process does to the directories below at the same time, nothing outside of the opened directory is read, written
// or removed.
//
// Every change goes through reconcile.Around. Nothing is durable before SyncFile, Sync or SyncFS has returned nil.
package disk

import (
	"errors"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/certwright/certwright/reconcile"
)

// Disk opens directories. Its zero value is ready.
type Disk struct {
	Around reconcile.Around
}

// Open opens an existing directory. Links in path are followed: the path is the administrator's.
func (d Disk) Open(path string) (*Dir, error) {
	fd, err := retry(func() (int, error) {
		return unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return &Dir{around: d.Around, path: path, fd: fd}, nil
}

// Make opens a directory and makes it first, with the parents that are missing, if it is not there. What it makes
// gets exactly mode and is durable when Make returns; what is there already keeps its mode and owner.
func (d Disk) Make(path string, mode fs.FileMode) (*Dir, error) {
	return d.make(path, mode, (*Dir).Sync)
}

// MakeUnsynced is Make, but what it makes is durable only after a SyncFS.
func (d Disk) MakeUnsynced(path string, mode fs.FileMode) (*Dir, error) {
	return d.make(path, mode, func(*Dir) error { return nil })
}

func (d Disk) make(path string, mode fs.FileMode, sync func(*Dir) error) (*Dir, error) {
	dir, err := d.Open(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return dir, err
	}
	up, name := filepath.Split(filepath.Clean(path))
	if up == "" {
		up = "."
	}
	if name == "" || name == "." || name == ".." || filepath.Clean(up) == filepath.Clean(path) {
		return nil, err
	}
	parent, err := d.make(filepath.Clean(up), mode, sync)
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	dir, err = parent.Mkdir(name, mode)
	if errors.Is(err, fs.ErrExist) { // somebody was faster
		dir, err = parent.Sub(name)
	}
	if err != nil {
		return nil, err
	}
	if err := sync(parent); err != nil {
		dir.Close()
		return nil, err
	}
	return dir, nil
}

// retry repeats a system call that a signal interrupted; some file systems in user space let that show.
func retry[T any](call func() (T, error)) (T, error) {
	for {
		v, err := call()
		if err != unix.EINTR {
			return v, err
		}
	}
}
