package files

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/disk"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

var mark = reconcile.Mark{Installation: "i1", Project: "shop", Binding: "web"}

func local(around reconcile.Around) Local {
	return Local{Disk: disk.Disk{Around: around}, Rand: rand.Reader}
}

// unsynced carries out everything but syncs, for tests that write a thousand times.
func unsynced(what string, do func() error) error {
	if strings.HasPrefix(what, "sync") {
		return nil
	}
	return do()
}

func at(dir string) reconcile.Location { return reconcile.Location{Host: spec.LocalHost, Dir: dir} }

// unit is the files of a version: every one says which it is of.
func unit(dir, version string, change ...func(*reconcile.Unit)) reconcile.Unit {
	file := func(name string, mode fs.FileMode) reconcile.UnitFile {
		return reconcile.UnitFile{Name: name, Data: []byte(name + " " + version), Mode: mode, UID: os.Getuid(), GID: os.Getgid()}
	}
	u := reconcile.Unit{
		At: at(dir), Mark: mark, Layout: spec.Atomic, Now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Files: []reconcile.UnitFile{file("ca.pem", 0o644), file("cert.pem", 0o644), file("key.pem", 0o600)},
	}
	for _, c := range change {
		c(&u)
	}
	return u
}

func plain(u *reconcile.Unit)   { u.Layout = spec.Plain }
func inPlace(u *reconcile.Unit) { u.Layout, u.InPlace = spec.Plain, true }
func nested(u *reconcile.Unit) {
	for i := range u.Files {
		u.Files[i].Name = "docker/" + u.Files[i].Name
	}
	for i := range u.Old {
		u.Old[i] = "docker/" + u.Old[i]
	}
}
func adopt(u *reconcile.Unit) { u.Adopt = true }
func elsewhere(u *reconcile.Unit) {
	u.Backups = filepath.Join(filepath.Dir(u.At.Dir), "backups", "web")
}
func renamed(u *reconcile.Unit) { u.Files[1].Name, u.Old = "renamed.pem", []string{"cert.pem"} }

func names(u reconcile.Unit) []string {
	var names []string
	for _, f := range u.Files {
		names = append(names, f.Name)
	}
	return names
}

func write(t *testing.T, l Local, units ...reconcile.Unit) {
	t.Helper()
	for _, err := range l.Write(context.Background(), units) {
		must(t, err)
	}
}

func read(u reconcile.Unit) reconcile.PlaceContent {
	c := local(nil).Read(context.Background(), []reconcile.PlaceQuery{{At: u.At, Files: names(u)}}, false)[0]
	c.Born = time.Time{} // not every file system tells
	return c
}

func remove(l Local, u reconcile.Unit) error {
	return l.Remove(context.Background(), []reconcile.Removal{{At: u.At, Mark: u.Mark, Files: names(u)}})[0]
}

// placed fails the test unless a unit is there whole, and is all of ours that is there.
func placed(t *testing.T, u reconcile.Unit) {
	t.Helper()
	if diff := cmp.Diff(whole(u), read(u)); diff != "" {
		t.Fatalf("placed (-want +got):\n%s", diff)
	}
	if left := leftovers(t, u.At.Dir); len(left) > 0 {
		t.Fatalf("left over: %q", left)
	}
}

// whole is what Read says of a unit that is in place.
func whole(u reconcile.Unit) reconcile.PlaceContent {
	want := reconcile.PlaceContent{Exists: true, Mark: &u.Mark, Layout: u.Layout, Files: map[string]reconcile.FileContent{}}
	if info, err := os.Stat(filepath.Join(u.At.Dir, u.At.Sub)); err == nil {
		st := info.Sys().(*syscall.Stat_t)
		want.Dir = reconcile.DirState{Mode: info.Mode().Perm(), UID: int(st.Uid), GID: int(st.Gid)}
	}
	if u.Layout == spec.Atomic {
		want.Generation = 0o755
	}
	for _, f := range u.Files {
		c := reconcile.FileContent{Kind: reconcile.KindFile, Ours: true, Data: f.Data, Mode: f.Mode, UID: f.UID, GID: f.GID}
		if u.Layout == spec.Atomic {
			c.Kind = reconcile.KindLink
		}
		want.Files[f.Name] = c
	}
	return want
}

// leftovers lists names in a place that are ours and that nothing refers to.
func leftovers(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	current, _ := os.Readlink(filepath.Join(dir, dataName))
	manifest, _ := os.ReadFile(filepath.Join(dir, current, manifestName))
	var left []string
	for _, e := range entries {
		name := e.Name()
		if theirs, _ := os.ReadFile(filepath.Join(dir, name, manifestName)); strings.Contains(string(theirs), `"other"`) {
			continue
		}
		if strings.HasPrefix(name, prefix) && !strings.HasPrefix(name, backupPrefix) && name != current && !strings.Contains(string(manifest), name) {
			left = append(left, name)
		}
	}
	return left
}

// inMemory is a directory for tests that make and remove thousands of files, where there is a file system for that.
func inMemory(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "certwright")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tree describes everything below a directory: kind, mode, owner, content.
func tree(t testing.TB, root string) map[string]string {
	t.Helper()
	all := map[string]string{}
	must(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		must(t, err)
		info, err := d.Info()
		must(t, err)
		content := ""
		switch info.Mode().Type() {
		case 0:
			b, err := os.ReadFile(path)
			must(t, err)
			content = string(b)
		case fs.ModeSymlink:
			content, err = os.Readlink(path)
			must(t, err)
		}
		st := info.Sys().(*syscall.Stat_t)
		all[path] = fmt.Sprintf("%v %d:%d %q", info.Mode(), st.Uid, st.Gid, content)
		return nil
	}))
	return all
}

func TestWriteReadRemove(t *testing.T) {
	for _, layout := range []spec.Layout{spec.Atomic, spec.Plain} {
		t.Run(string(layout), func(t *testing.T) {
			root := t.TempDir()
			dir := filepath.Join(root, "made/too")
			as := func(u *reconcile.Unit) { u.Layout, u.At.Sub = layout, "a/b" }
			if got := read(unit(dir, "1", as)); got.Exists || got.Err != nil || len(got.Files) != 3 {
				t.Fatalf("a place that is not there reads as %+v", got)
			}
			for _, version := range []string{"1", "2", "3", "4", "5"} {
				u := unit(dir, version, as)
				write(t, local(nil), u)
				if diff := cmp.Diff(whole(u), read(u)); diff != "" {
					t.Fatal(diff)
				}
			}
			place := filepath.Join(dir, "a/b")
			if left := leftovers(t, place); len(left) > 0 {
				t.Errorf("left over: %q", left)
			}
			generations, _ := filepath.Glob(filepath.Join(place, prefix+"*"))
			if want := map[spec.Layout]int{spec.Atomic: 1 + oldGenerations}[layout]; len(generations) != want {
				t.Errorf("%d generations, want %d", len(generations), want)
			}
			must(t, os.WriteFile(filepath.Join(place, "foreign"), nil, 0o600))
			for range 2 {
				must(t, remove(local(nil), unit(dir, "5", as)))
				left, err := os.ReadDir(place)
				must(t, err)
				if len(left) != 1 || left[0].Name() != "foreign" {
					t.Fatalf("after Remove: %v", left)
				}
			}
		})
	}
}

// TestChangesOfOurOwnUnit walks from every way a unit can lie to every other.
func TestChangesOfOurOwnUnit(t *testing.T) {
	ways := map[string][]func(*reconcile.Unit){
		"atomic": nil, "plain": {plain}, "in place": {inPlace}, "atomic renamed": {renamed}, "plain renamed": {plain, renamed},
	}
	for from, change := range ways {
		for to, another := range ways {
			t.Run(from+" to "+to, func(t *testing.T) {
				dir := t.TempDir()
				write(t, local(unsynced), unit(dir, "1", change...))
				u := unit(dir, "2", another...)
				u.Mark.Binding = "renamed too"
				write(t, local(unsynced), u)
				placed(t, u)
				gone := "cert.pem"
				if !strings.Contains(to, "renamed") {
					gone = "renamed.pem"
				}
				if _, err := os.Lstat(filepath.Join(dir, gone)); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s stayed: %v", gone, err)
				}
			})
		}
	}
}

func TestInPlaceKeepsInodes(t *testing.T) {
	dir := t.TempDir()
	write(t, local(nil), unit(dir, "1", plain))
	before, err := os.Stat(filepath.Join(dir, "key.pem"))
	must(t, err)
	u := unit(dir, "version two", inPlace)
	write(t, local(nil), u)
	placed(t, u)
	after, err := os.Stat(filepath.Join(dir, "key.pem"))
	must(t, err)
	if !os.SameFile(before, after) {
		t.Error("the inode changed")
	}
}

func TestWhatCannotBeWrittenIsRefused(t *testing.T) {
	name := func(name string) func(*reconcile.Unit) {
		return func(u *reconcile.Unit) { u.Files[0].Name = name }
	}
	for want, change := range map[string]func(*reconcile.Unit){
		"layout: plain":        func(u *reconcile.Unit) { u.InPlace = true },
		`no layout "x"`:        func(u *reconcile.Unit) { u.Layout = "x" },
		"key.pem is there twi": name("key.pem"),
		`"../x" cannot be`:     name("../x"),
		`"x/../y" cannot be`:   name("x/../y"),
		`"x/" cannot be`:       name("x/"),
		`"x/y/z" cannot be`:    name("x/y/z"),
		"only the plain layo":  name("x/y"),
		`"..data" cannot be`:   name("..data"),
		`"." cannot be`:        name("."),
		`"" cannot be`:         name(""),
		`".certwright.json" c`: name(".certwright.json"),
		"out of reach":         func(u *reconcile.Unit) { u.At = reconcile.Location{Volume: "v"} },
		"not a directory of t": func(u *reconcile.Unit) { u.At.Machine = true },
		"not an absolute path": func(u *reconcile.Unit) { u.At.Dir = "relative" },
		"has files":            func(u *reconcile.Unit) { u.Files = nil },
		"mark of an":           func(u *reconcile.Unit) { u.Mark.Installation = "" },
	} {
		dir := t.TempDir()
		good := unit(filepath.Join(dir, "good"), "1")
		errs := local(nil).Write(context.Background(), []reconcile.Unit{unit(filepath.Join(dir, "bad"), "1", change), good})
		if errs[0] == nil || !strings.Contains(errs[0].Error(), want) {
			t.Errorf("want %q, got %v", want, errs[0])
		}
		if errs[1] != nil {
			t.Errorf("%s: the other unit failed too: %v", want, errs[1])
		}
		if _, err := os.Lstat(filepath.Join(dir, "bad")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: something was made: %v", want, err)
		}
	}
}

func TestResolve(t *testing.T) {
	dir := t.TempDir()
	l := local(nil)
	l.Resolve = func(at reconcile.Location) (string, error) {
		if at.Volume != "v" {
			return "", reconcile.ErrNotHere
		}
		return dir, nil
	}
	u := unit("", "1", func(u *reconcile.Unit) { u.At = reconcile.Location{Volume: "v", Sub: "tls"} })
	other := unit(dir, "1")
	errs := l.Write(context.Background(), []reconcile.Unit{u, other})
	must(t, errs[0])
	if !errors.Is(errs[1], reconcile.ErrNotHere) {
		t.Errorf("got %v", errs[1])
	}
	if data, err := os.ReadFile(filepath.Join(dir, "tls/cert.pem")); err != nil || string(data) != "cert.pem 1" {
		t.Errorf("%q, %v", data, err)
	}
}

func TestOneDirectoryUnderTwoNames(t *testing.T) {
	dir := t.TempDir()
	alias := filepath.Join(t.TempDir(), "alias")
	must(t, os.Symlink(dir, alias))
	first := unit(dir, "1")
	errs := local(nil).Write(context.Background(), []reconcile.Unit{first, unit(alias, "2")})
	must(t, errs[0])
	if errs[1] == nil || !strings.Contains(errs[1].Error(), "same directory") {
		t.Errorf("got %v", errs[1])
	}
	placed(t, first)
}

// TestLostPartsAreFoundAndMended takes parts of a placed unit away, as a restored backup or a person may.
func TestLostPartsAreFoundAndMended(t *testing.T) {
	for _, lost := range []string{"key.pem", "..data", "the generation", "the generation's key.pem", "plain key.pem"} {
		t.Run(lost, func(t *testing.T) {
			dir := t.TempDir()
			u := unit(dir, "1")
			if name, ok := strings.CutPrefix(lost, "plain "); ok {
				plain(&u)
				lost = name
			}
			write(t, local(unsynced), u)
			path := filepath.Join(dir, lost)
			generation, _ := filepath.EvalSymlinks(filepath.Join(dir, dataName))
			switch lost {
			case "the generation":
				path = generation
			case "the generation's key.pem":
				path = filepath.Join(generation, "key.pem")
			}
			must(t, os.RemoveAll(path))
			if got := read(u).Files["key.pem"]; got.Kind != reconcile.KindAbsent {
				t.Errorf("Read says %q", got.Kind)
			}
			write(t, local(unsynced), u)
			placed(t, u)
		})
	}
}

func TestManifestHoldsNamesOnly(t *testing.T) {
	dir := t.TempDir()
	write(t, local(unsynced), unit(dir, "1"))
	data, err := os.ReadFile(filepath.Join(dir, dataName, manifestName))
	must(t, err)
	want := `{"installation":"i1","project":"shop","binding":"web","files":["ca.pem","cert.pem","key.pem"]}` + "\n"
	if diff := cmp.Diff(want, string(data)); diff != "" {
		t.Error(diff)
	}
	if !generationName.MatchString(prefix+"0123abcd") || slices.ContainsFunc([]string{"..data", prefix + "0123ABCD", "x" + prefix + "0123abcd"}, generationName.MatchString) {
		t.Error("generation names are told apart wrongly")
	}
	if !regexp.MustCompile(`^\.\.certwright-`).MatchString(backupPrefix) || generationName.MatchString(backupPrefix+"20260102") {
		t.Error("a backup looks like a generation")
	}
}
