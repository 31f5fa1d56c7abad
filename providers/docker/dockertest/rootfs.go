package dockertest

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// rootfs is the file system of an image in the making: what stands at each absolute path.
type rootfs struct {
	t     testing.TB
	nodes map[string]node
}

// node is a file (of this machine if from is set, else data), a link or a directory.
type node struct {
	mode     fs.FileMode // its type and permission bits
	from     string
	data     []byte
	link     string
	uid, gid int
}

// file puts data at name.
func (r rootfs) file(name string, mode fs.FileMode, data []byte) {
	r.nodes[name] = node{mode: mode, data: data}
}

// dir makes a directory owned by uid and a group of the same number.
func (r rootfs) dir(name string, mode fs.FileMode, uid int) {
	r.nodes[name] = node{mode: fs.ModeDir | mode, uid: uid, gid: uid}
}

// copy brings a file of this machine to the same path, or to another.
func (r rootfs) copy(from, to string) {
	r.t.Helper()
	info, err := os.Stat(from)
	if err != nil {
		r.t.Fatalf("image: %v", err)
	}
	r.nodes[to] = node{mode: info.Mode().Perm(), from: from}
}

// elf brings a program or library and every library that the loader would give it.
func (r rootfs) elf(from, to string) {
	r.t.Helper()
	real, err := filepath.EvalSymlinks(from)
	if err != nil {
		r.t.Fatalf("image: %v", err)
	}
	r.copy(real, to)
	for _, library := range libraries.get(real, func() []string { return r.ldd(real) }) {
		r.copy(library, filepath.Clean(library)) // one of its own may be behind $ORIGIN/../
	}
}

// libraries are those of programs that were looked at already.
var libraries known[[]string]

// ldd returns the libraries that the loader gives to a program, and the loader.
func (r rootfs) ldd(program string) (libraries []string) {
	r.t.Helper()
	out, err := exec.Command("ldd", program).CombinedOutput()
	if err != nil {
		if strings.Contains(string(out), "not a dynamic executable") {
			return nil
		}
		r.t.Fatalf("image: ldd %s: %v: %s", program, err, out)
	}
	for line := range strings.Lines(string(out)) {
		// "	libc.so.6 => /lib/…/libc.so.6 (0x…)", or without the arrow for the loader; the vdso has no path.
		for _, word := range strings.Fields(line) {
			if strings.HasPrefix(word, "/") {
				libraries = append(libraries, word)
			}
		}
	}
	return libraries
}

// programs brings installed programs to the bin directory given.
func (r rootfs) programs(bin string, names ...string) {
	r.t.Helper()
	for _, name := range names {
		Servers(r.t, name)
		r.elf(program(name), path.Join(bin, name))
	}
}

// tree brings what is below a directory of this machine, but for the directories named in skip.
func (r rootfs) tree(dir string, skip ...string) {
	r.t.Helper()
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if slices.Contains(skip, entry.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		r.copy(name, name)
		return nil
	})
	if err != nil {
		r.t.Fatalf("image: %v", err)
	}
}

// paths returns every path in an order in which a directory comes before what is in it.
func (r rootfs) paths() []string { return slices.Sorted(maps.Keys(r.nodes)) }

// hash stands for the content: equal hashes, equal images. Files of this machine count by size and time, as make
// has it, so that finding an image again costs milliseconds.
func (r rootfs) hash(more ...string) string {
	r.t.Helper()
	sum := sha256.New()
	for _, name := range r.paths() {
		n := r.nodes[name]
		fmt.Fprintf(sum, "%s %v %d:%d %q %q %d ", name, n.mode, n.uid, n.gid, n.from, n.link, len(n.data))
		sum.Write(n.data)
		if n.from == "" {
			continue
		}
		info, err := os.Stat(n.from)
		if err != nil {
			r.t.Fatalf("image: %v", err)
		}
		fmt.Fprintf(sum, "%d %d ", info.Size(), info.ModTime().UnixNano())
	}
	fmt.Fprintf(sum, "%q", more)
	return hex.EncodeToString(sum.Sum(nil))[:12]
}

// tar writes the file system as an archive.
func (r rootfs) tar(w io.Writer) error {
	archive := tar.NewWriter(w)
	for _, name := range r.paths() {
		if err := r.nodes[name].tar(archive, strings.TrimPrefix(name, "/")); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return archive.Close()
}

func (n node) tar(archive *tar.Writer, name string) error {
	header := &tar.Header{Name: name, Mode: int64(n.mode.Perm()), Uid: n.uid, Gid: n.gid, Typeflag: tar.TypeReg}
	if n.mode&fs.ModeSticky != 0 {
		header.Mode |= 0o1000 // tar keeps the sticky bit where POSIX has it
	}
	data := n.data
	switch {
	case n.mode.IsDir():
		header.Typeflag = tar.TypeDir
	case n.link != "":
		header.Typeflag, header.Linkname = tar.TypeSymlink, n.link
	case n.from != "":
		var err error
		if data, err = os.ReadFile(n.from); err != nil {
			return err
		}
	}
	header.Size = int64(len(data))
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err := archive.Write(data)
	return err
}
