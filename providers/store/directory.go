package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/certwright/certwright/providers/disk"
)

// directory is a store in a directory:
//
//	DIR/         0700
//	.gitignore   keeps the directory out of git
//	lock         flock(2): one writer; a killed one frees it at once
//	store.json   says that there is a state, and of which installation
//	state        0600: the whole State, one file
//
// A commit replaces state in one step (a new file, fsync, rename, fsync of the directory), so there is always one
// whole state, and readers need no lock.
type directory struct {
	path string
	disk disk.Disk
	lock *flock.Flock // nil: not held
}

// The files of a store in a directory.
const (
	ignoreFile = ".gitignore"
	lockFile   = "lock"
	storeFile  = "store.json"
	stateFile  = "state"
	fresh      = ".new" // the ending of a file that is about to replace another
)

const (
	patience = 30 * time.Second      // with another writer
	knock    = 20 * time.Millisecond // between two tries to take the lock
)

// Open opens the store in the directory at path, which need not exist. A writer waits for other writers until ctx ends,
// at most half a minute; where there is no store yet, the first Commit does that.
func Open(ctx context.Context, path string, o Options) (*Store, error) {
	return open(ctx, path, o, recommended())
}

func open(ctx context.Context, path string, o Options, c costs) (*Store, error) {
	d := &directory{path: path, disk: o.Disk}
	s, err := newStore(d, o, c)
	if err != nil || !o.Writer {
		return s, err
	}
	dir, err := d.disk.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, trouble{err}
	}
	defer dir.Close()
	if there, err := exists(dir, stateFile, storeFile); err != nil || !there {
		return s, err
	}
	if err := d.take(ctx, dir); err != nil {
		return nil, err
	}
	return s, nil
}

func (d *directory) String() string { return d.path }

func (d *directory) label(*header, header, int) {}

func (d *directory) close() error {
	if d.lock == nil {
		return nil
	}
	err := d.lock.Unlock()
	d.lock = nil
	return err
}

func (d *directory) look(context.Context) (found, error) {
	dir, err := d.disk.Open(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		return found{path: filepath.Join(d.path, stateFile)}, nil
	}
	if err != nil {
		return found{}, trouble{err}
	}
	defer dir.Close()
	return look(dir, d.path)
}

// look reads a store's files as far as their headers. With an error that is a fault, found has what could be read.
func look(dir *disk.Dir, path string) (found, error) {
	f := found{path: filepath.Join(path, stateFile)}
	// store.json comes first: it is never there without a state, unless a state was lost.
	marker, _, err := dir.Read(storeFile, maxHeader)
	marked := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return f, trouble{err}
	}
	state, info, err := dir.Read(stateFile, maxHeader+maxDocument)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return f, trouble{err}
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

// vacant is nil if a store can be made in a directory that has neither store.json nor state.
func vacant(dir *disk.Dir, path string) error {
	names, err := dir.Names()
	if err != nil {
		return trouble{err}
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
		return trouble{err}
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
			return false, trouble{err}
		}
	}
	return false, nil
}

// hold makes the directory if need be, and takes the lock if it is not held already.
func (d *directory) hold(ctx context.Context) error {
	if d.lock != nil {
		return nil
	}
	dir, err := d.disk.Make(d.path, 0o700)
	if err != nil {
		return trouble{err}
	}
	defer dir.Close()
	there, err := exists(dir, storeFile, stateFile)
	if err == nil && !there {
		err = vacant(dir, d.path)
	}
	if err != nil {
		return err
	}
	return d.take(ctx, dir)
}

// enter opens the directory to write a state, and prepares it for its first one.
func (d *directory) enter(f found) (*disk.Dir, error) {
	dir, err := d.disk.Open(d.path)
	if err != nil {
		return nil, trouble{err}
	}
	if f.stamp == "" {
		if err := d.prepare(dir); err != nil {
			dir.Close()
			return nil, err
		}
	}
	return dir, nil
}

// yield lets store.json take any installation's: so the state of before opens as long as it is there, and a restore
// that is killed is not taken for a first run.
func (d *directory) yield(f *found, installation string) error {
	if f.marker.Installation == installation {
		return nil
	}
	dir, err := d.enter(*f)
	if err != nil {
		return err
	}
	defer dir.Close()
	f.marker = header{}
	return mark(dir, "")
}

func (d *directory) put(_ context.Context, f found, h header, file []byte) error {
	dir, err := d.enter(f)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := replace(dir, stateFile, file); err != nil {
		return err
	}
	if f.marker.Installation == h.Installation {
		return nil
	}
	return mark(dir, h.Installation)
}

// take waits for the lock, and removes what a killed writer left: that may be a whole state, keys and all. The
// lock's file is made once and never replaced: a lock is on an inode.
func (d *directory) take(ctx context.Context, dir *disk.Dir) error {
	if err := dir.Create(lockFile, nil, 0o600, -1, -1); err != nil && !errors.Is(err, fs.ErrExist) {
		return trouble{err}
	}
	lock := flock.New(filepath.Join(d.path, lockFile), flock.SetFlag(os.O_RDONLY))
	defer func() {
		if d.lock == nil {
			_ = lock.Unlock()
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := d.disk.Around.Do("lock "+lockFile, func() error {
		_, err := lock.TryLockContext(ctx, knock)
		return err
	})
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded) && err != nil:
		return fmt.Errorf("another certwright is at work in store %s; try again when it is done", d.path)
	case ctx.Err() != nil && err != nil:
		return fmt.Errorf("interrupted while another certwright was at work in store %s", d.path)
	case err != nil:
		return fmt.Errorf("lock store %s: %w", d.path, err)
	}
	for _, name := range []string{stateFile, storeFile, ignoreFile} {
		there, err := exists(dir, name+fresh)
		if err == nil && there {
			err = dir.Remove(name + fresh)
		}
		if err != nil {
			return trouble{err}
		}
	}
	d.lock = lock
	return nil
}

// prepare makes a directory ready for its first state.
func (d *directory) prepare(dir *disk.Dir) error {
	parent, err := d.disk.Open(filepath.Dir(filepath.Clean(d.path)))
	if err != nil {
		return trouble{err}
	}
	defer parent.Close()
	// The directory may be one that a killed process made and did not make durable.
	if err := parent.Sync(); err != nil {
		return trouble{err}
	}
	if there, err := exists(dir, ignoreFile); err != nil || there {
		return err
	}
	return replace(dir, ignoreFile, []byte("*\n"))
}

// mark writes store.json.
func mark(dir *disk.Dir, installation string) error {
	line, err := header{Certwright: kindStore, Format: format, Installation: installation}.line()
	if err != nil {
		return trouble{err}
	}
	return replace(dir, storeFile, line)
}

// replace makes data the content of a file, in one step and durably.
func replace(dir *disk.Dir, name string, data []byte) error {
	temp := name + fresh
	err := dir.Write(name, temp, data, 0o600)
	if errors.Is(err, fs.ErrExist) { // a killed writer left it
		if err = dir.Remove(temp); err == nil {
			err = dir.Write(name, temp, data, 0o600)
		}
	}
	if err != nil {
		return trouble{err}
	}
	return nil
}
