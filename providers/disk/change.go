package disk

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/certwright/certwright/reconcile"
)

// Mkdir makes a directory with exactly mode, whatever the umask, and opens it. fs.ErrExist if something is there. It
// asks for mode from the beginning: nobody widens a directory that is there already, so one that was left narrower by
// a process that was killed in between would shut its readers out for good.
func (dir *Dir) Mkdir(name string, mode fs.FileMode) (made *Dir, err error) {
	fd := -1
	defer func() {
		if made == nil && fd >= 0 { // also when an effect ends in a panic, as in tests
			unix.Close(fd)
		}
	}()
	err = dir.change("mkdir", name, func() (err error) {
		if err := unix.Mkdirat(dir.fd, name, uint32(mode.Perm())); err != nil {
			return err
		}
		if fd, err = dir.open(name, unix.O_RDONLY|unix.O_DIRECTORY); err != nil {
			return err
		}
		return unix.Fchmod(fd, uint32(mode.Perm()))
	})
	if err != nil {
		return nil, err
	}
	return &Dir{around: dir.around, path: dir.path + "/" + name, fd: fd, made: true}, nil
}

// Widen gives dir itself the permissions of mode beside those it has.
func (dir *Dir) Widen(mode fs.FileMode) error {
	return dir.fail("chmod", ".", dir.around.Do("chmod .", func() error {
		var st unix.Stat_t
		if _, err := retry(func() (int, error) { return 0, unix.Fstat(dir.fd, &st) }); err != nil {
			return err
		}
		return unix.Fchmod(dir.fd, st.Mode&0o7777|uint32(mode.Perm()))
	}))
}

// Create makes a new file. It is readable by its owner alone until it is whole, then gets uid and gid (-1: as they
// are) and exactly mode. fs.ErrExist if something is there. When it fails, the file is there in part or not at all.
func (dir *Dir) Create(name string, data []byte, mode fs.FileMode, uid, gid int) error {
	return dir.change("create", name, func() error {
		flags := unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
		fd, err := retry(func() (int, error) { return unix.Openat(dir.fd, name, flags, 0o600) })
		if err != nil {
			return err
		}
		err = writeFull(fd, data)
		return finish(fd, err, mode, uid, gid)
	})
}

// Write makes data the content of the file at name, in one step and durably. It is made at temp first: fs.ErrExist if
// something is there, which is left as it is. After any other error what it made there is abandoned, and removed if that can
// be done: the kernel may have dropped pages that it could not write, and a second sync would not say so.
func (dir *Dir) Write(name, temp string, data []byte, mode fs.FileMode) error {
	err := dir.Create(temp, data, mode, -1, -1)
	if errors.Is(err, fs.ErrExist) {
		return err
	}
	if err == nil {
		err = dir.SyncFile(temp)
	}
	if err == nil {
		err = dir.Rename(temp, name)
	}
	if err != nil {
		_ = dir.Remove(temp)
		return err
	}
	return dir.Sync()
}

// Overwrite puts data into the file that stands at name and keeps its inode, for readers that are bound to it. The
// file must be a regular one with a single name, or a link planted there could make it another file: ErrNotRegular,
// ErrLinked. The space is reserved first, so that a full disk leaves the old content. Readers can see a mixture of
// old and new; at no time can more users read it than before or after.
func (dir *Dir) Overwrite(name string, data []byte, mode fs.FileMode, uid, gid int) error {
	return dir.change("overwrite", name, func() error {
		fd, old, err := dir.openRegular(name, unix.O_WRONLY)
		if err != nil {
			return err
		}
		if old.Links != 1 {
			unix.Close(fd)
			return ErrLinked
		}
		return finish(fd, refill(fd, old, data, mode, uid, gid), mode, uid, gid)
	})
}

// refill replaces the content of an open file, with nobody looking who may not see both the old and the new.
func refill(fd int, old FileInfo, data []byte, mode fs.FileMode, uid, gid int) error {
	if len(data) > 0 {
		err := unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, 0, int64(len(data)))
		if err != nil && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOSYS) {
			return fmt.Errorf("reserve space: %w", err)
		}
	}
	narrow := old.Mode & mode
	if (uid != -1 && uid != old.UID) || (gid != -1 && gid != old.GID) {
		narrow = 0
	}
	if narrow != old.Mode {
		if err := unix.Fchmod(fd, uint32(narrow)); err != nil {
			return err
		}
	}
	if err := writeFull(fd, data); err != nil {
		return err
	}
	return unix.Ftruncate(fd, int64(len(data)))
}

// finish gives an open file its owner and mode and closes it, unless it failed before. The owner comes first: a new
// owner must not find the old one's mode, and a change of owner may clear bits.
func finish(fd int, err error, mode fs.FileMode, uid, gid int) error {
	if err == nil && (uid != -1 || gid != -1) {
		err = unix.Fchown(fd, uid, gid)
	}
	if err == nil {
		err = unix.Fchmod(fd, uint32(mode.Perm()))
	}
	if closed := unix.Close(fd); err == nil {
		err = closed // some network file systems report a failed write only here
	}
	return err
}

// Symlink makes a link at name. fs.ErrExist if something is there.
func (dir *Dir) Symlink(target, name string) error {
	return dir.change("symlink", name, func() error { return unix.Symlinkat(target, dir.fd, name) })
}

// Rename moves what is at from to to, in one step, over the file or link that is there. It never replaces a
// directory.
func (dir *Dir) Rename(from, to string) error { return dir.Replace(from, dir, to) }

// Replace is Rename into another directory of the same file system.
func (dir *Dir) Replace(from string, into *Dir, to string) error {
	if err := single(from); err != nil {
		return dir.fail("rename", from, err)
	}
	return into.change("rename", to, func() error {
		if at, err := into.stat(to); err == nil && at.Kind == reconcile.KindDirectory {
			return unix.EISDIR
		}
		return unix.Renameat(dir.fd, from, into.fd, to)
	})
}

// Move is Replace where nothing may stand at to: fs.ErrExist.
func (dir *Dir) Move(from string, into *Dir, to string) error {
	if err := single(from); err != nil {
		return dir.fail("move", from, err)
	}
	return into.change("move", to, func() error {
		err := unix.Renameat2(dir.fd, from, into.fd, to, unix.RENAME_NOREPLACE)
		if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
			return err
		}
		// The file system cannot promise it (NFS, some FUSE): look, then move.
		if _, err := into.stat(to); err == nil {
			return fs.ErrExist
		}
		return unix.Renameat(dir.fd, from, into.fd, to)
	})
}

// Remove takes away the file, link or other thing at name that is no directory; fs.ErrNotExist if nothing is there.
func (dir *Dir) Remove(name string) error {
	return dir.change("remove", name, func() error { return unix.Unlinkat(dir.fd, name, 0) })
}

// RemoveDir takes away the directory at name if it is empty.
func (dir *Dir) RemoveDir(name string) error {
	return dir.change("rmdir", name, func() error { return unix.Unlinkat(dir.fd, name, unix.AT_REMOVEDIR) })
}

// SyncFile makes the content of the regular file at name durable, not its name. After an error the file must be
// abandoned and written anew: the kernel may have dropped what it could not write, and a second sync would succeed.
func (dir *Dir) SyncFile(name string) error {
	return dir.change("sync", name, func() error {
		fd, _, err := dir.openRegular(name, unix.O_RDONLY)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Fsync(fd)
	})
}

// Sync makes the names in dir durable. As with SyncFile, an error is final.
func (dir *Dir) Sync() error {
	return dir.fail("sync", ".", dir.around.Do("sync .", func() error { return unix.Fsync(dir.fd) }))
}

// SyncFS makes everything durable that was written to the file system dir is on (syncfs(2); errors are reported since
// Linux 5.8). It waits for what other programs have written there, too. As with SyncFile, an error is final.
func (dir *Dir) SyncFS() error {
	return dir.fail("sync file system of", ".", dir.around.Do("syncfs .", func() error { return unix.Syncfs(dir.fd) }))
}

// change carries out one effect on an entry of dir.
func (dir *Dir) change(op, name string, do func() error) error {
	if err := single(name); err != nil {
		return dir.fail(op, name, err)
	}
	return dir.fail(op, name, dir.around.Do(op+" "+name, do))
}
