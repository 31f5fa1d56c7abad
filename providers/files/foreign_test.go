package files

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/certwright/certwright/reconcile"
)

// strangers puts something that certwright did not make where a unit wants to be. outside is a file elsewhere.
var strangers = map[string]struct {
	words string // how the error names it
	put   func(dir, outside string) error
}{
	"file": {"cert.pem is a file", func(dir, _ string) error {
		return os.WriteFile(filepath.Join(dir, "cert.pem"), []byte("theirs"), 0o604)
	}},
	"directory": {"cert.pem is a directory", func(dir, _ string) error {
		return os.MkdirAll(filepath.Join(dir, "cert.pem/inside"), 0o750)
	}},
	"empty directory": {"cert.pem is an empty directory, as Docker makes", func(dir, _ string) error {
		return os.Mkdir(filepath.Join(dir, "cert.pem"), 0o750)
	}},
	"link": {"cert.pem is a link to ", func(dir, outside string) error {
		return os.Symlink(outside, filepath.Join(dir, "cert.pem"))
	}},
	"hard link": {"cert.pem is a file", func(dir, outside string) error {
		return os.Link(outside, filepath.Join(dir, "cert.pem"))
	}},
	"fifo": {"cert.pem is neither file", func(dir, _ string) error {
		return unix.Mkfifo(filepath.Join(dir, "cert.pem"), 0o600)
	}},
	"data link": {"..data is a link to ..2026", func(dir, _ string) error {
		if err := os.Mkdir(filepath.Join(dir, "..2026"), 0o755); err != nil {
			return err
		}
		return os.Symlink("..2026", filepath.Join(dir, dataName))
	}},
	"data link outwards": {"..data is a link to /", func(dir, _ string) error {
		return os.Symlink("/", filepath.Join(dir, dataName))
	}},
	"data directory": {"..data is a directory", func(dir, _ string) error {
		return os.MkdirAll(filepath.Join(dir, dataName, "inside"), 0o755)
	}},
	"data of another installation": {"..data is of another installation (project \"theirs\"", func(dir, _ string) error {
		u := unit(dir, "theirs")
		u.Mark = reconcile.Mark{Installation: "other", Project: "theirs", Binding: "x"}
		return local(nil).Write(context.Background(), []reconcile.Unit{u})[0]
	}},
	"plain of another installation": {".certwright.json is of another installation", func(dir, _ string) error {
		u := unit(dir, "theirs", plain)
		u.Mark = reconcile.Mark{Installation: "other", Project: "theirs", Binding: "x"}
		return local(nil).Write(context.Background(), []reconcile.Unit{u})[0]
	}},
	"manifest that is none": {".certwright.json is a file", func(dir, _ string) error {
		return os.WriteFile(filepath.Join(dir, manifestName), []byte("{}"), 0o644)
	}},
}

// TestNothingForeignIsTouched tries to write and to remove where every kind of stranger stands.
func TestNothingForeignIsTouched(t *testing.T) {
	for name, stranger := range strangers {
		for how, change := range map[string]func(*reconcile.Unit){"atomic": func(*reconcile.Unit) {}, "plain": plain, "in place": inPlace} {
			t.Run(name+" "+how, func(t *testing.T) {
				root := t.TempDir()
				dir, outside := filepath.Join(root, "place"), filepath.Join(root, "outside")
				must(t, os.WriteFile(outside, []byte("outside"), 0o640))
				must(t, os.Mkdir(dir, 0o755))
				must(t, stranger.put(dir, outside))
				before := tree(t, root)
				u := unit(dir, "1", change)
				err := local(nil).Write(context.Background(), []reconcile.Unit{u})[0]
				if !errors.Is(err, reconcile.ErrForeign) || !strings.Contains(err.Error(), stranger.words) {
					t.Errorf("want %q, got %v", stranger.words, err)
				}
				must(t, remove(local(nil), u))
				if diff := cmp.Diff(before, tree(t, root)); diff != "" {
					t.Error(diff)
				}
				if got := read(u); got.Err != nil || got.Mark != nil && got.Mark.Installation == mark.Installation {
					t.Errorf("Read takes it for ours: %+v", got)
				}
			})
		}
	}
}

// TestAdoptKeepsABackup takes over what every kind of stranger has left.
func TestAdoptKeepsABackup(t *testing.T) {
	for name, stranger := range strangers {
		for how, change := range map[string]func(*reconcile.Unit){"atomic": func(*reconcile.Unit) {}, "plain": plain, "in place": inPlace} {
			if name == "hard link" && how == "in place" {
				continue // refused: TestAdoptInPlaceRefusesHardLinks
			}
			t.Run(name+" "+how, func(t *testing.T) {
				root := t.TempDir()
				dir, outside := filepath.Join(root, "place"), filepath.Join(root, "outside")
				must(t, os.WriteFile(outside, []byte("outside"), 0o640))
				must(t, os.Mkdir(dir, 0o755))
				must(t, stranger.put(dir, outside))
				before := tree(t, root)
				u := unit(dir, "1", adopt, change)
				write(t, local(nil), u)
				placed(t, u)
				kept(t, root, dir, before)
				must(t, remove(local(nil), u))
				kept(t, root, dir, before)
			})
		}
	}
}

// kept fails the test unless everything that was there is there still: where it was, or in the backup.
func kept(t *testing.T, root, dir string, before map[string]string) {
	t.Helper()
	after := tree(t, root)
	backup := filepath.Join(dir, backupPrefix+"20260102T030405Z")
	if !strings.HasPrefix(after[backup], "drwx------") {
		t.Fatalf("the backup is %q", after[backup])
	}
	for path, what := range before {
		moved := strings.Replace(path, dir, backup, 1)
		if path == dir || after[path] == what || after[moved] == what {
			continue
		}
		t.Errorf("%s was %s, is %s and in the backup %s", path, what, after[path], after[moved])
	}
}

func TestAdoptKeepsOwners(t *testing.T) {
	asRoot(t)
	dir := t.TempDir()
	theirs := filepath.Join(dir, "key.pem")
	must(t, os.WriteFile(theirs, []byte("theirs"), 0o640))
	must(t, os.Chown(theirs, 999, 998))
	before := tree(t, dir)
	for _, change := range []func(*reconcile.Unit){plain, inPlace} {
		write(t, local(nil), unit(dir, "1", adopt, change))
		kept(t, dir, dir, before)
		must(t, os.RemoveAll(dir))
		must(t, os.Mkdir(dir, 0o755))
		must(t, os.WriteFile(theirs, []byte("theirs"), 0o640))
		must(t, os.Chown(theirs, 999, 998))
	}
}

func TestAdoptInPlaceKeepsTheInode(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key.pem")
	must(t, os.WriteFile(path, []byte("theirs"), 0o640))
	before, err := os.Stat(path)
	must(t, err)
	u := unit(dir, "1", adopt, inPlace)
	write(t, local(nil), u)
	placed(t, u)
	after, err := os.Stat(path)
	must(t, err)
	if !os.SameFile(before, after) {
		t.Error("the inode changed")
	}
}

func TestAdoptInPlaceRefusesHardLinks(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "place")
	must(t, os.Mkdir(dir, 0o755))
	outside := filepath.Join(root, "outside")
	must(t, os.WriteFile(outside, []byte("outside"), 0o640))
	must(t, os.Link(outside, filepath.Join(dir, "key.pem")))
	err := local(nil).Write(context.Background(), []reconcile.Unit{unit(dir, "1", adopt, inPlace)})[0]
	if err == nil || !strings.Contains(err.Error(), "hard links") {
		t.Errorf("got %v", err)
	}
	if data, _ := os.ReadFile(outside); string(data) != "outside" {
		t.Errorf("the file outside holds %q", data)
	}
}

// TestAdoptTwiceInASecond keeps both.
func TestAdoptTwiceInASecond(t *testing.T) {
	dir := t.TempDir()
	for _, content := range []string{"one", "two"} {
		must(t, os.WriteFile(filepath.Join(dir, "cert.pem"), []byte(content), 0o600))
		u := unit(dir, "1", adopt)
		write(t, local(nil), u)
		placed(t, u)
		must(t, os.Remove(filepath.Join(dir, "cert.pem")))
	}
	got := map[string]string{}
	for path, what := range tree(t, filepath.Join(dir, backupPrefix+"20260102T030405Z")) {
		if _, content, ok := strings.Cut(what, ` "`); ok && content != `"` {
			got[filepath.Base(path)] = content
		}
	}
	if diff := cmp.Diff(map[string]string{"cert.pem": `one"`, "cert.pem.1": `two"`}, got); diff != "" {
		t.Error(diff)
	}
}

// TestOneForeignPlaceStopsNoOther writes several units of which one is refused.
func TestOneForeignPlaceStopsNoOther(t *testing.T) {
	root := t.TempDir()
	var units []reconcile.Unit
	for _, name := range []string{"a", "b", "c", "d"} {
		units = append(units, unit(filepath.Join(root, name), name))
	}
	must(t, os.MkdirAll(filepath.Join(root, "b/cert.pem"), 0o755))
	before := tree(t, filepath.Join(root, "b"))
	errs := local(nil).Write(context.Background(), units)
	for i, u := range units {
		if i == 1 {
			if !errors.Is(errs[i], reconcile.ErrForeign) {
				t.Errorf("got %v", errs[i])
			}
			continue
		}
		must(t, errs[i])
		placed(t, u)
	}
	if !maps.Equal(before, tree(t, filepath.Join(root, "b"))) {
		t.Error("the foreign place changed")
	}
}

// TestWhatAppearsMeanwhileIsForeign puts something in the way between the look and the change.
func TestWhatAppearsMeanwhileIsForeign(t *testing.T) {
	for _, name := range []string{"cert.pem", dataName} {
		for how, change := range map[string]edit{"first": nil, "second": func(*reconcile.Unit) {}, "to plain": plain} {
			t.Run(how+" "+name, func(t *testing.T) {
				dir := t.TempDir()
				if change == nil {
					change = func(*reconcile.Unit) {}
				} else {
					write(t, local(nil), unit(dir, "1"))
				}
				path := filepath.Join(dir, name)
				err := writeOne(local(func(what string, do func() error) error {
					if strings.HasPrefix(what, "sync") {
						must(t, os.RemoveAll(path))
						must(t, os.WriteFile(path, []byte("theirs"), 0o600))
					}
					return do()
				}), unit(dir, "2", change))
				if !errors.Is(err, reconcile.ErrForeign) {
					t.Errorf("got %v", err)
				}
				if data, err := os.ReadFile(path); string(data) != "theirs" {
					t.Errorf("holds %q, %v", data, err)
				}
			})
		}
	}
}

// TestNamesAloneMakeNothingOurs has strangers beside a unit of ours: at a name it wants next, and at one that the
// inventory takes for an old one of ours.
func TestNamesAloneMakeNothingOurs(t *testing.T) {
	for how, change := range map[string]edit{"atomic": func(*reconcile.Unit) {}, "plain": plain} {
		t.Run(how, func(t *testing.T) {
			dir := t.TempDir()
			theirs := filepath.Join(dir, "renamed.pem")
			write(t, local(nil), unit(dir, "1", change))
			must(t, os.WriteFile(theirs, []byte("theirs"), 0o600))
			if err := writeOne(local(nil), unit(dir, "2", change, renamed)); !errors.Is(err, reconcile.ErrForeign) {
				t.Errorf("got %v", err)
			}
			placed(t, unit(dir, "1", change))
			old := func(u *reconcile.Unit) { u.Old = []string{"renamed.pem"} }
			for i := range 20 {
				f := &fault{at: i, kind: "killed after"}
				_ = f.run(dir, func(l Local, dir string) error { return writeOne(l, unit(dir, "2", change, old)) })
				write(t, local(unsynced), unit(dir, "2", change, old))
			}
			u := unit(dir, "2", change)
			u.Files[0].Name = "renamed.pem"
			must(t, remove(local(nil), u))
			if data, err := os.ReadFile(theirs); string(data) != "theirs" {
				t.Errorf("holds %q, %v", data, err)
			}
		})
	}
}

func asRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root, to give files away and to mount")
	}
}
