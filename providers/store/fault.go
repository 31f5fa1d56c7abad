package store

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"

	"github.com/certwright/certwright/providers/disk"
)

// fault is something wrong with a file of a store that nothing but another file in its place can mend.
type fault struct {
	path string
	err  error
}

// ErrSealed is that of a file that is sealed with another passphrase, or damaged: nobody can tell which.
var ErrSealed = errors.New("it does not open with this passphrase")

// ErrPassphrase is that of a sealed file without a passphrase, and of one that is not sealed with one.
type ErrPassphrase string

func (e ErrPassphrase) Error() string { return string(e) }

// What is wrong with a file, beside what does not parse.
var (
	errHeader   = errors.New("it does not begin with a header")
	errChecksum = errors.New("its checksum is wrong")
	errDocument = errors.New("its document does not decode")
	errRenamed  = errors.New("its name is that of another generation")
	errMixed    = errors.New("its header and its document are of different stores")
	errForeign  = errors.New("it is of another installation than the store.json beside it")
	errLost     = errors.New("the store has been in use, but this file is missing")
)

func (f fault) Error() string {
	switch {
	case errors.Is(f.err, errLost):
		return fmt.Sprintf("%s: %v; bring it back with `certwright restore FILE`", f.path, f.err)
	case errors.Is(f.err, ErrSealed):
		return fmt.Sprintf("%s: %v: check the passphrase; if it is right, the file is damaged: bring it back with `certwright restore --force FILE`", f.path, f.err)
	}
	return fmt.Sprintf("%s is damaged: %v; bring it back with `certwright restore --force FILE`", f.path, f.err)
}

func (f fault) Unwrap() error { return f.err }

// Hint is what to do where there is no backup.
func (f fault) Hint() string {
	switch filepath.Base(f.path) {
	case stateFile, storeFile:
	default: // in a Swarm
		return ""
	}
	if errors.Is(f.err, ErrSealed) { // another passphrase, more likely
		return ""
	}
	return fmt.Sprintf("without a backup, move %s away, and keep it: `certwright apply` then says what has to go besides before all is issued anew. "+
		"Clients of a CA of certwright's own have to be given the new one", filepath.Dir(f.path))
}

// trouble is an error of the system about the files of a store.
type trouble struct{ err error }

func (f trouble) Error() string { return "store: " + f.err.Error() }
func (f trouble) Unwrap() error { return f.err }

// Hint is what to do about it, "" where the error says as much.
func (f trouble) Hint() string {
	switch {
	case errors.Is(f.err, syscall.ENOTDIR), errors.Is(f.err, disk.ErrNotRegular):
		return "something else stands there, or above it, than certwright would make: move it away, or name another directory under `store`"
	case errors.Is(f.err, fs.ErrPermission):
		return "run certwright as the user whose store it is (who has it with mode 0700: `chmod 0700 DIRECTORY`), or name a directory of your own under `store`"
	case errors.Is(f.err, syscall.EROFS):
		return "mount a file system there that can be written, or name another directory under `store`"
	case errors.Is(f.err, syscall.ENOSPC), errors.Is(f.err, syscall.EDQUOT):
		return "make room there: the store is as it was"
	}
	return ""
}

// newerError is the format of a file that a later version wrote. That is no fault: the file is good.
type newerError int

func (e newerError) Error() string {
	return fmt.Sprintf("it was written by a newer certwright (format %d, this one reads up to %d); use that one", int(e), format)
}

// unreadable names the file that err is about.
func unreadable(path string, err error) error {
	var newer newerError
	if errors.As(err, &newer) {
		return fmt.Errorf("%s: %w", path, err)
	}
	return fault{path, err}
}
