package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/certwright/certwright/reconcile"
)

// Errors that are told apart with errors.Is, beside fs.ErrNotExist and fs.ErrExist.
var (
	ErrNotRegular = errors.New("not a regular file")
	ErrTooLarge   = errors.New("too large")
	ErrLinked     = errors.New("has more than one name (hard links)")
)

// Dir is an open directory. Its methods may be called by several goroutines, but not after Close.
type Dir struct {
	around reconcile.Around
	path   string // for errors only
	fd     int
	made   bool
}

// FileInfo says what stands at a name.
type FileInfo struct {
	Kind     string      // reconcile.KindFile, …; never KindAbsent
	Mode     fs.FileMode // permission bits
	UID, GID int
	Links    int // its hard links
	Dev, Ino uint64
	Size     int64     // in bytes
	Changed  time.Time // when its content, mode, owner or names changed last
	Born     time.Time // of a directory, by Self; zero where its file system or the kernel does not tell
}

// Made reports whether dir was made just now, with this handle: what is in it came later.
func (dir *Dir) Made() bool { return dir.made }

// Close gives the handle back.
func (dir *Dir) Close() error { return unix.Close(dir.fd) }

// Sub opens the directory at name.
func (dir *Dir) Sub(name string) (*Dir, error) {
	fd, err := dir.open(name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, dir.fail("open", name, err)
	}
	return &Dir{around: dir.around, path: dir.path + "/" + name, fd: fd}, nil
}

// MakeSub is Sub, and makes the directory with exactly mode first if it is not there.
func (dir *Dir) MakeSub(name string, mode fs.FileMode) (*Dir, error) {
	sub, err := dir.Sub(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return sub, err
	}
	sub, err = dir.Mkdir(name, mode)
	if errors.Is(err, fs.ErrExist) {
		return dir.Sub(name)
	}
	return sub, err
}

// Lock takes the lock of the directory itself (flock(2)) and holds it until Close, or until its process ends, however it
// does. It waits for whoever has it as long as ctx lets it; then the error is one of ctx. A file system that knows no
// locks has none to wait for.
func (dir *Dir) Lock(ctx context.Context) error {
	for {
		err := unix.Flock(dir.fd, unix.LOCK_EX|unix.LOCK_NB)
		switch err {
		case nil, unix.ENOLCK, unix.EOPNOTSUPP:
			return nil
		case unix.EINTR:
			continue
		case unix.EWOULDBLOCK:
		default:
			return dir.fail("lock", ".", err)
		}
		select {
		case <-ctx.Done():
			return dir.fail("lock", ".", ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Self says what dir itself is now.
func (dir *Dir) Self() (FileInfo, error) {
	var st unix.Statx_t
	_, err := retry(func() (int, error) {
		return 0, unix.Statx(dir.fd, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &st)
	})
	if err != nil { // a kernel, or what filters its calls, may not have it
		info, err := fstat(dir.fd)
		return info, dir.fail("stat", ".", err)
	}
	info := FileInfo{
		Kind: kind(uint32(st.Mode)), Mode: fs.FileMode(st.Mode) & fs.ModePerm, UID: int(st.Uid), GID: int(st.Gid),
		Links: int(st.Nlink), Dev: unix.Mkdev(st.Dev_major, st.Dev_minor), Ino: st.Ino, Size: int64(st.Size),
		Changed: time.Unix(st.Ctime.Sec, int64(st.Ctime.Nsec)),
	}
	if st.Mask&unix.STATX_BTIME != 0 {
		info.Born = time.Unix(st.Btime.Sec, int64(st.Btime.Nsec)).UTC()
	}
	return info, nil
}

// Stat says what stands at name.
func (dir *Dir) Stat(name string) (FileInfo, error) {
	info, err := dir.stat(name)
	return info, dir.fail("stat", name, err)
}

// Names lists what is in dir, sorted.
func (dir *Dir) Names() ([]string, error) {
	// A handle of its own, because a directory's handle remembers how far it was listed.
	fd, err := retry(func() (int, error) {
		return unix.Openat(dir.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, dir.fail("list", ".", err)
	}
	defer unix.Close(fd)
	var names []string
	var buf [2048]byte // stays on the stack; the longest name takes 280 bytes of it
	for {
		n, err := retry(func() (int, error) { return unix.ReadDirent(fd, buf[:]) })
		if err != nil {
			return nil, dir.fail("list", ".", err)
		}
		if n == 0 {
			slices.Sort(names)
			return names, nil
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
}

// Read returns what is in the regular file at name and what it was when it was opened. A file of more than limit
// bytes is ErrTooLarge; anything that is not a regular file is ErrNotRegular and is not read, and FileInfo says what
// it is.
func (dir *Dir) Read(name string, limit int64) ([]byte, FileInfo, error) {
	fd, info, err := dir.openRegular(name, unix.O_RDONLY)
	if err != nil {
		return nil, info, dir.fail("read", name, err)
	}
	defer unix.Close(fd)
	if info.Size > limit {
		return nil, info, dir.fail("read", name, fmt.Errorf("%w: %d bytes, at most %d are read", ErrTooLarge, info.Size, limit))
	}
	data := make([]byte, info.Size) // what is appended meanwhile is of another time than info
	n, err := readFull(fd, data)
	if err != nil {
		return nil, info, dir.fail("read", name, err)
	}
	return data[:n], info, nil
}

// Readlink returns the target of the link at name.
func (dir *Dir) Readlink(name string) (string, error) {
	if err := single(name); err != nil {
		return "", dir.fail("readlink", name, err)
	}
	var short [64]byte // stays on the stack, and is enough for links of ours
	target := short[:]
	for ; ; target = make([]byte, 8*len(target)) {
		n, err := retry(func() (int, error) { return unix.Readlinkat(dir.fd, name, target) })
		if err != nil {
			return "", dir.fail("readlink", name, err)
		}
		if n < len(target) { // else it may have been cut off
			return string(target[:n]), nil
		}
	}
}

// open opens what stands at name. A name is one component and O_NOFOLLOW refuses a link there, so there is nothing
// on the way that could lead out of dir; openat2 with RESOLVE_BENEATH would add nothing, and needs Linux 5.6.
func (dir *Dir) open(name string, flags int) (int, error) {
	if err := single(name); err != nil {
		return -1, err
	}
	// O_NONBLOCK: a FIFO put there must not hold us. O_NOCTTY: nor a terminal become ours.
	flags |= unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY
	return retry(func() (int, error) { return unix.Openat(dir.fd, name, flags, 0) })
}

// openRegular opens the regular file at name. It looks before it opens, since opening a device can have an effect of
// its own (a watchdog starts), and looks again afterwards, since only what was opened counts.
func (dir *Dir) openRegular(name string, flags int) (int, FileInfo, error) {
	info, err := dir.stat(name)
	if err != nil {
		return -1, info, err
	}
	if info.Kind != reconcile.KindFile {
		return -1, info, ErrNotRegular
	}
	fd, err := dir.open(name, flags)
	if err != nil {
		return -1, info, err
	}
	info, err = fstat(fd)
	if err == nil && info.Kind != reconcile.KindFile {
		err = ErrNotRegular
	}
	if err != nil {
		unix.Close(fd)
		return -1, info, err
	}
	return fd, info, nil
}

func (dir *Dir) stat(name string) (FileInfo, error) {
	if err := single(name); err != nil {
		return FileInfo{}, err
	}
	var st unix.Stat_t
	_, err := retry(func() (int, error) { return 0, unix.Fstatat(dir.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	return info(&st), err
}

func fstat(fd int) (FileInfo, error) {
	var st unix.Stat_t
	_, err := retry(func() (int, error) { return 0, unix.Fstat(fd, &st) })
	return info(&st), err
}

func kind(mode uint32) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return reconcile.KindFile
	case unix.S_IFLNK:
		return reconcile.KindLink
	case unix.S_IFDIR:
		return reconcile.KindDirectory
	}
	return reconcile.KindOther
}

func info(st *unix.Stat_t) FileInfo {
	return FileInfo{
		Kind: kind(st.Mode), Mode: fs.FileMode(st.Mode) & fs.ModePerm, UID: int(st.Uid), GID: int(st.Gid),
		Links: int(st.Nlink), Dev: uint64(st.Dev), Ino: st.Ino, Size: st.Size, Changed: time.Unix(st.Ctim.Unix()),
	}
}

// fail wraps an error with what was done to what; nil stays nil.
func (dir *Dir) fail(op, name string, err error) error {
	if err == nil {
		return nil
	}
	path := dir.path
	if name != "." {
		path += "/" + name
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}

// single refuses what is not one component of a path.
func single(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return errors.New("not a plain file name")
	}
	return nil
}

// readFull reads until data is full or the file ends.
func readFull(fd int, data []byte) (int, error) {
	for n := 0; ; {
		if n == len(data) {
			return n, nil
		}
		m, err := retry(func() (int, error) { return unix.Read(fd, data[n:]) })
		if err != nil {
			return n, err
		}
		if m == 0 {
			return n, nil
		}
		n += m
	}
}

// writeFull writes all of data at the start of the file.
func writeFull(fd int, data []byte) error {
	for n := 0; n < len(data); {
		m, err := retry(func() (int, error) { return unix.Pwrite(fd, data[n:], int64(n)) })
		if err != nil {
			return err
		}
		if m == 0 {
			return io.ErrShortWrite
		}
		n += m
	}
	return nil
}
