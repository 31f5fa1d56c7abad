package store

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/certwright/certwright/providers/disk"
)

// The files of a store.
const (
	ignoreFile = ".gitignore"
	lockFile   = "lock"
	storeFile  = "store.json"
	stateFile  = "state"
	fresh      = ".new" // the ending of a file that is about to replace another
)

// found is what lies in the directory. Nothing in it is proved yet.
type found struct {
	path   string // of the state file
	marker header // of store.json; zero if there is none
	stamp  string // "" if there is no state
	header header
	line   []byte
	rest   []byte
}

// look reads a store's files as far as their headers. With an error that is a fault, found has what could be read.
func look(dir *disk.Dir, path string) (found, error) {
	f := found{path: filepath.Join(path, stateFile)}
	// store.json comes first: it is never there without a state, unless a state was lost.
	marker, _, err := dir.Read(storeFile, maxHeader)
	marked := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return f, fmt.Errorf("store: %w", err)
	}
	state, info, err := dir.Read(stateFile, maxHeader+maxDocument)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return f, fmt.Errorf("store: %w", err)
	}
	if err != nil && !marked {
		return f, vacant(dir, path)
	}
	if err := private(dir, path); err != nil {
		return f, err
	}
	if err == nil && info.Mode&0o077 != 0 {
		return f, exposed(f.path, info.Mode, 0o600)
	}
	return f, f.parse(marker, marked, state, err == nil)
}

// parse splits the two files that were read, those that are there.
func (f *found) parse(marker []byte, marked bool, state []byte, there bool) error {
	var err error
	if there {
		f.stamp = stampOf(state)
		if f.header, f.line, f.rest, err = parseHeader(state, kindState); err != nil {
			return unreadable(f.path, err)
		}
	}
	if marked {
		if f.marker, _, _, err = parseHeader(marker, kindStore); err != nil {
			return unreadable(filepath.Join(filepath.Dir(f.path), storeFile), err)
		}
	}
	switch {
	case !there:
		return fault{f.path, errLost}
	case f.marker.Installation != "" && f.marker.Installation != f.header.Installation:
		return fault{f.path, errForeign}
	}
	return nil
}

// stampOf tells one state file from every other: it takes in the checksum, or as much of what is sealed.
func stampOf(file []byte) string {
	return string(file[:min(len(file), maxHeader+sha256.Size)])
}

// vacant is nil if a store can be made in a directory that has neither store.json nor state.
func vacant(dir *disk.Dir, path string) error {
	names, err := dir.Names()
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	for _, name := range names {
		if !slices.Contains([]string{ignoreFile, lockFile, storeFile, stateFile}, strings.TrimSuffix(name, fresh)) {
			return fmt.Errorf("%s is no store: it holds %q; name a directory in the spec that certwright has to itself", path, name)
		}
	}
	return private(dir, path)
}

// private refuses a directory that others can enter.
func private(dir *disk.Dir, path string) error {
	info, err := dir.Self()
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if info.Mode&0o077 != 0 {
		return exposed(path, info.Mode, 0o700)
	}
	return nil
}

func exposed(path string, is, want fs.FileMode) error {
	return fmt.Errorf("%s has mode %04o, so others than its owner may have read its keys; run `chmod %04o %s`", path, is, want, path)
}

// exists reports whether something stands at one of the names.
func exists(dir *disk.Dir, names ...string) (bool, error) {
	for _, name := range names {
		if _, err := dir.Stat(name); err == nil {
			return true, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return false, fmt.Errorf("store: %w", err)
		}
	}
	return false, nil
}
