package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"github.com/certwright/certwright/providers/disk"
)

const (
	patience = 30 * time.Second      // with another writer
	knock    = 20 * time.Millisecond // between two tries to take the lock
)

// hold opens the directory for writing, makes it if need be, and takes the lock if it is not held already.
func (s *Store) hold(ctx context.Context) (*disk.Dir, error) {
	if !s.o.Writer {
		return nil, fmt.Errorf("store %s was opened for reading", s.path)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.lock != nil {
		dir, err := s.o.Disk.Open(s.path)
		if err != nil {
			return nil, fmt.Errorf("store: %w", err)
		}
		return dir, nil
	}
	dir, err := s.o.Disk.Make(s.path, 0o700)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	there, err := exists(dir, storeFile, stateFile)
	if err == nil && !there {
		err = vacant(dir, s.path)
	}
	if err == nil {
		err = s.take(ctx, dir)
	}
	if err != nil {
		dir.Close()
		return nil, err
	}
	return dir, nil
}

// take waits for the lock, and removes what a killed writer left: that may be a whole state, keys and all. The
// lock's file is made once and never replaced: a lock is on an inode.
func (s *Store) take(ctx context.Context, dir *disk.Dir) error {
	if err := dir.Create(lockFile, nil, 0o600, -1, -1); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("store: %w", err)
	}
	lock := flock.New(filepath.Join(s.path, lockFile), flock.SetFlag(os.O_RDONLY))
	defer func() {
		if s.lock == nil {
			_ = lock.Unlock()
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := s.o.Disk.Around.Do("lock "+lockFile, func() error {
		_, err := lock.TryLockContext(ctx, knock)
		return err
	})
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded) && err != nil:
		return fmt.Errorf("another certwright is at work in store %s; try again when it is done", s.path)
	case ctx.Err() != nil && err != nil:
		return fmt.Errorf("interrupted while another certwright was at work in store %s", s.path)
	case err != nil:
		return fmt.Errorf("lock store %s: %w", s.path, err)
	}
	for _, name := range []string{stateFile, storeFile, ignoreFile} {
		there, err := exists(dir, name+fresh)
		if err == nil && there {
			err = dir.Remove(name + fresh)
		}
		if err != nil {
			return fmt.Errorf("store: %w", err)
		}
	}
	s.lock = lock
	return nil
}

// prepare makes a directory ready for its first state.
func (s *Store) prepare(dir *disk.Dir) error {
	parent, err := s.o.Disk.Open(filepath.Dir(filepath.Clean(s.path)))
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer parent.Close()
	// The directory may be one that a killed process made and did not make durable.
	if err := parent.Sync(); err != nil {
		return fmt.Errorf("store: %w", err)
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
		return fmt.Errorf("store: %w", err)
	}
	return replace(dir, storeFile, line)
}

// replace makes data the content of a file, in one step and durably. After any error what it wrote is abandoned:
// the kernel may have dropped pages that it could not write, and a second fsync would not say so.
func replace(dir *disk.Dir, name string, data []byte) error {
	temp := name + fresh
	err := dir.Create(temp, data, 0o600, -1, -1)
	if errors.Is(err, fs.ErrExist) { // a killed writer left it
		if err = dir.Remove(temp); err == nil {
			err = dir.Create(temp, data, 0o600, -1, -1)
		}
	}
	if err == nil {
		err = dir.SyncFile(temp)
	}
	if err == nil {
		err = dir.Rename(temp, name)
	}
	if err != nil {
		_ = dir.Remove(temp) // else the next commit does it
		return fmt.Errorf("store: %w", err)
	}
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}
