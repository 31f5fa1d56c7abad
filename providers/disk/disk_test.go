package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/certwright/certwright/reconcile"
)

func open(t *testing.T) (*Dir, string) {
	t.Helper()
	path := t.TempDir()
	dir, err := Disk{}.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	return dir, path
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wants(t *testing.T, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Fatalf("got error %v, want %v", got, want)
	}
}

func TestMakeGivesExactModesAndKeepsWhatIsThere(t *testing.T) {
	defer unix.Umask(unix.Umask(0o077))
	root := t.TempDir()
	must(t, os.Chmod(root, 0o710))
	var effects []string
	d := Disk{Around: func(what string, do func() error) error {
		effects = append(effects, what)
		return do()
	}}
	dir, err := d.Make(filepath.Join(root, "a/b"), 0o755)
	must(t, err)
	defer dir.Close()
	for name, want := range map[string]fs.FileMode{"": 0o710, "a": 0o755, "a/b": 0o755} {
		st, err := os.Stat(filepath.Join(root, name))
		must(t, err)
		if st.Mode().Perm() != want {
			t.Errorf("%q has mode %v, want %v", name, st.Mode().Perm(), want)
		}
	}
	if diff := cmp.Diff([]string{"mkdir a", "sync .", "mkdir b", "sync ."}, effects); diff != "" {
		t.Error(diff)
	}
	effects = nil
	again, err := d.Make(filepath.Join(root, "a/b"), 0o700)
	must(t, err)
	again.Close()
	if len(effects) != 0 {
		t.Errorf("making what is there had effects %v", effects)
	}
}

// TestMkdirCutShort ends a Mkdir right after the directory is there: no handle is left to open it with.
func TestMkdirCutShort(t *testing.T) {
	defer unix.Umask(unix.Umask(0o022))
	dir, _ := open(t)
	var limit unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: limit.Max}))
	_, err := dir.Mkdir("tls", 0o755)
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
	wants(t, err, unix.EMFILE)
	sub, err := dir.MakeSub("tls", 0o755)
	must(t, err)
	defer sub.Close()
	if self, err := sub.Self(); err != nil || self.Mode != 0o755 {
		t.Errorf("the next one finds mode %v, %v", self.Mode, err)
	}
}

func TestMakeRefusesAFileInTheWay(t *testing.T) {
	root := t.TempDir()
	must(t, os.WriteFile(filepath.Join(root, "f"), nil, 0o600))
	_, err := Disk{}.Make(filepath.Join(root, "f/x"), 0o755)
	wants(t, err, unix.ENOTDIR)
}

func TestCreateReadOverwrite(t *testing.T) {
	defer unix.Umask(unix.Umask(0o077))
	dir, _ := open(t)
	must(t, dir.Create("key", []byte("one"), 0o644, -1, -1))
	wants(t, dir.Create("key", []byte("two"), 0o644, -1, -1), fs.ErrExist)
	data, before, err := dir.Read("key", 10)
	must(t, err)
	if string(data) != "one" || before.Mode != 0o644 || before.Kind != reconcile.KindFile || before.Links != 1 || before.Size != 3 {
		t.Fatalf("read %q, %+v", data, before)
	}
	for _, content := range []string{"longer than it was", "s", ""} {
		must(t, dir.Overwrite("key", []byte(content), 0o640, -1, -1))
		data, after, err := dir.Read("key", 100)
		must(t, err)
		if string(data) != content || after.Ino != before.Ino || after.Mode != 0o640 {
			t.Fatalf("read %q, %+v after overwriting with %q", data, after, content)
		}
	}
	must(t, dir.SyncFile("key"))
	must(t, dir.Sync())
	must(t, dir.SyncFS())
}

// TestFullDiskLeavesTheOldContent has no room for what is to be written over a file.
func TestFullDiskLeavesTheOldContent(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount")
	}
	small := t.TempDir()
	must(t, unix.Mount("tmpfs", small, "tmpfs", 0, "size=1m"))
	t.Cleanup(func() { must(t, unix.Unmount(small, unix.MNT_DETACH)) })
	dir, err := Disk{}.Open(small)
	must(t, err)
	defer dir.Close()
	must(t, dir.Create("key", []byte("old"), 0o600, -1, -1))
	must(t, dir.Create("ballast", make([]byte, 512<<10), 0o600, -1, -1))
	wants(t, dir.Overwrite("key", make([]byte, 768<<10), 0o600, -1, -1), unix.ENOSPC)
	if data, _, err := dir.Read("key", 1<<20); err != nil || string(data) != "old" {
		t.Errorf("%d bytes are there: %v", len(data), err)
	}
}

// TestNobodyLooksWhileAFileIsRefilled looks at the mode at the moment when the new content is there: before and after
// it, the old and the new mode and owner stand.
func TestNobodyLooksWhileAFileIsRefilled(t *testing.T) {
	dir, _ := open(t)
	me := os.Geteuid()
	for _, c := range []struct {
		old, mode fs.FileMode
		uid       int
		want      fs.FileMode
	}{
		{0o644, 0o600, -1, 0o600},
		{0o600, 0o644, -1, 0o600},
		{0o640, 0o604, me, 0o600},
		{0o644, 0o644, me + 1, 0},
	} {
		must(t, dir.Create("f", []byte("old"), c.old, -1, -1))
		fd, info, err := dir.openRegular("f", unix.O_WRONLY)
		must(t, err)
		must(t, refill(fd, info, []byte("new"), c.mode, c.uid, -1))
		got, err := fstat(fd)
		must(t, err)
		unix.Close(fd)
		if got.Mode != c.want {
			t.Errorf("from %v to %v, owner %d: mode %v, want %v", c.old, c.mode, c.uid, got.Mode, c.want)
		}
		must(t, dir.Remove("f"))
	}
}

func TestReadIsBounded(t *testing.T) {
	dir, _ := open(t)
	must(t, dir.Create("f", make([]byte, 11), 0o600, -1, -1))
	_, _, err := dir.Read("f", 10)
	wants(t, err, ErrTooLarge)
	_, _, err = dir.Read("f", 11)
	must(t, err)
	_, _, err = dir.Read("none", 11)
	wants(t, err, fs.ErrNotExist)
}

// TestNothingButRegularFiles has one of every kind of thing and tries every method that opens one.
func TestNothingButRegularFiles(t *testing.T) {
	dir, path := open(t)
	outside := filepath.Join(t.TempDir(), "outside")
	must(t, os.WriteFile(outside, []byte("outside"), 0o600))
	must(t, os.Symlink(outside, filepath.Join(path, "link")))
	must(t, os.Mkdir(filepath.Join(path, "directory"), 0o700))
	must(t, unix.Mkfifo(filepath.Join(path, "fifo"), 0o600))
	kinds := map[string]string{
		"link": reconcile.KindLink, "directory": reconcile.KindDirectory, "fifo": reconcile.KindOther,
	}
	for name, kind := range kinds {
		_, info, err := dir.Read(name, 100)
		wants(t, err, ErrNotRegular)
		if info.Kind != kind {
			t.Errorf("%s is %q, want %q", name, info.Kind, kind)
		}
		wants(t, dir.Overwrite(name, []byte("x"), 0o600, -1, -1), ErrNotRegular)
		wants(t, dir.SyncFile(name), ErrNotRegular)
		wants(t, dir.Create(name, nil, 0o600, -1, -1), fs.ErrExist)
	}
	if _, err := dir.Sub("link"); err == nil {
		t.Error("a link was opened as a directory")
	}
	must(t, os.Link(outside, filepath.Join(path, "hard")))
	wants(t, dir.Overwrite("hard", []byte("x"), 0o600, -1, -1), ErrLinked)
	if data, _ := os.ReadFile(outside); string(data) != "outside" {
		t.Errorf("the file outside now holds %q", data)
	}
}

func TestNamesAreNoPaths(t *testing.T) {
	dir, _ := open(t)
	must(t, dir.Create("ok", nil, 0o600, -1, -1))
	for _, name := range []string{"", ".", "..", "a/b", "../ok", "/etc/passwd", "a\x00b"} {
		_, statErr := dir.Stat(name)
		_, subErr := dir.Sub(name)
		_, mkdirErr := dir.Mkdir(name, 0o700)
		_, _, readErr := dir.Read(name, 10)
		_, linkErr := dir.Readlink(name)
		for what, err := range map[string]error{
			"stat": statErr, "sub": subErr, "read": readErr, "readlink": linkErr,
			"mkdir": mkdirErr, "create": dir.Create(name, nil, 0o600, -1, -1),
			"overwrite": dir.Overwrite(name, nil, 0o600, -1, -1), "symlink": dir.Symlink("x", name),
			"rename to": dir.Rename("ok", name), "rename from": dir.Rename(name, "to"),
			"move to": dir.Move("ok", dir, name), "move from": dir.Move(name, dir, "to"),
			"remove": dir.Remove(name), "rmdir": dir.RemoveDir(name), "sync": dir.SyncFile(name),
		} {
			if err == nil || !strings.Contains(err.Error(), "not a plain file name") {
				t.Errorf("%s %q: %v", what, name, err)
			}
		}
	}
}

// mkdir makes a directory and leaves it.
func mkdir(dir *Dir, name string) error {
	made, err := dir.Mkdir(name, 0o700)
	if err == nil {
		made.Close()
	}
	return err
}

func TestRenameMoveRemove(t *testing.T) {
	dir, _ := open(t)
	must(t, dir.Create("a", []byte("a"), 0o600, -1, -1))
	must(t, dir.Symlink("target", "l"))
	must(t, dir.Rename("a", "l"))
	if data, _, err := dir.Read("l", 10); err != nil || string(data) != "a" {
		t.Fatalf("after renaming over a link: %q, %v", data, err)
	}
	must(t, mkdir(dir, "d"))
	wants(t, dir.Rename("l", "d"), unix.EISDIR)
	must(t, dir.Symlink("target", "m"))
	wants(t, dir.Move("l", dir, "m"), fs.ErrExist)
	sub, err := dir.Sub("d")
	must(t, err)
	defer sub.Close()
	must(t, dir.Move("l", sub, "moved"))
	if target, err := dir.Readlink("m"); err != nil || target != "target" {
		t.Fatalf("link leads to %q, %v", target, err)
	}
	if err := dir.RemoveDir("d"); err == nil {
		t.Fatal("a directory that is not empty was removed")
	}
	must(t, sub.Remove("moved"))
	wants(t, sub.Remove("moved"), fs.ErrNotExist)
	must(t, dir.RemoveDir("d"))
	names, err := dir.Names()
	must(t, err)
	if diff := cmp.Diff([]string{"m"}, names); diff != "" {
		t.Fatal(diff)
	}
}

// TestEveryChangeIsAnEffect refuses every effect and looks whether anything happened all the same.
func TestEveryChangeIsAnEffect(t *testing.T) {
	dir, path := open(t)
	must(t, dir.Create("f", []byte("f"), 0o600, -1, -1))
	must(t, mkdir(dir, "d"))
	refused := errors.New("refused")
	var asked int
	dir.around = func(string, func() error) error { asked++; return refused }
	changes := []error{
		mkdir(dir, "new"), dir.Create("new", nil, 0o600, -1, -1), dir.Overwrite("f", []byte("x"), 0o600, -1, -1),
		dir.Symlink("x", "new"), dir.Rename("f", "new"), dir.Move("f", dir, "new"), dir.Remove("f"), dir.RemoveDir("d"),
		dir.SyncFile("f"), dir.Sync(), dir.SyncFS(),
	}
	for _, err := range changes {
		wants(t, err, refused)
	}
	if asked != len(changes) {
		t.Errorf("%d changes asked %d times", len(changes), asked)
	}
	names, err := dir.Names()
	must(t, err)
	if diff := cmp.Diff([]string{"d", "f"}, names); diff != "" {
		t.Error(diff)
	}
	if data, _ := os.ReadFile(filepath.Join(path, "f")); string(data) != "f" {
		t.Errorf("the file now holds %q", data)
	}
}
