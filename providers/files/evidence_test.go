package files

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/certwright/certwright/reconcile"
)

// later is a Local for which all that was done until now is settled.
func later() Local {
	l := local(unsynced)
	l.Now = func() time.Time { return time.Now().Add(time.Minute) }
	return l
}

// again reads a place of which there is Evidence.
func again(t *testing.T, l Local, u reconcile.Unit, seen reconcile.Evidence) reconcile.PlaceContent {
	t.Helper()
	c := l.Read(t.Context(), []reconcile.PlaceQuery{{At: u.At, Files: names(u), Seen: &seen}}, false)[0]
	must(t, c.Err)
	return c
}

// tick waits until what is changed next has another time than what was changed last.
func tick(t *testing.T) {
	t.Helper()
	changed := func() time.Time {
		name := filepath.Join(t.TempDir(), "tick")
		must(t, os.WriteFile(name, nil, 0o600))
		info, err := os.Stat(name)
		must(t, err)
		return time.Unix(info.Sys().(*syscall.Stat_t).Ctim.Unix())
	}
	for first, deadline := changed(), time.Now().Add(10*time.Second); !changed().After(first); {
		if time.Now().After(deadline) {
			t.Fatal("the file system's clock stands still")
		}
	}
}

// TestEvidence changes a place in every way that Read tells of: the Evidence of before stands for none of them.
func TestEvidence(t *testing.T) {
	in := func(dir, name string) string { return filepath.Join(dir, name) }
	for name, change := range map[string]func(t *testing.T, u reconcile.Unit, dir string){
		"a file, of the same size and times": func(t *testing.T, _ reconcile.Unit, dir string) {
			info, err := os.Stat(in(dir, "cert.pem"))
			must(t, err)
			must(t, os.WriteFile(in(dir, "cert.pem"), make([]byte, info.Size()), 0o644))
			must(t, os.Chtimes(in(dir, "cert.pem"), info.ModTime(), info.ModTime()))
		},
		"a file's mode":    func(t *testing.T, _ reconcile.Unit, dir string) { must(t, os.Chmod(in(dir, "key.pem"), 0o644)) },
		"a file's owner":   func(t *testing.T, _ reconcile.Unit, dir string) { must(t, os.Chown(in(dir, "key.pem"), 7, 7)) },
		"the manifest":     func(t *testing.T, _ reconcile.Unit, dir string) { must(t, os.Remove(in(dir, "..data/"+manifestName))) },
		"a file goes":      func(t *testing.T, _ reconcile.Unit, dir string) { must(t, os.Remove(in(dir, "..data/key.pem"))) },
		"a name goes":      func(t *testing.T, _ reconcile.Unit, dir string) { must(t, os.Remove(in(dir, "key.pem"))) },
		"the place's mode": func(t *testing.T, _ reconcile.Unit, dir string) { must(t, os.Chmod(dir, 0o700)) },
		"the generation's": func(t *testing.T, _ reconcile.Unit, dir string) { must(t, os.Chmod(in(dir, "..data/"), 0o700)) },
		"..data goes":      func(t *testing.T, _ reconcile.Unit, dir string) { must(t, os.Remove(in(dir, dataName))) },
		"somebody's manifest": func(t *testing.T, _ reconcile.Unit, dir string) {
			must(t, os.WriteFile(in(dir, manifestName), nil, 0o644))
		},
		"a name is somebody's file": func(t *testing.T, _ reconcile.Unit, dir string) {
			must(t, os.Remove(in(dir, "key.pem")))
			must(t, os.WriteFile(in(dir, "key.pem"), []byte("theirs"), 0o600))
		},
		"a file is replaced": func(t *testing.T, _ reconcile.Unit, dir string) {
			must(t, os.WriteFile(in(dir, "new"), []byte("cert.pem v2"), 0o644))
			generation, err := os.Readlink(in(dir, dataName))
			must(t, err)
			must(t, os.Rename(in(dir, "new"), in(dir, generation+"/cert.pem")))
		},
		"the next version": func(t *testing.T, u reconcile.Unit, dir string) {
			next := unit(dir, "v2")
			write(t, local(unsynced), next)
		},
		"a copy in its place": func(t *testing.T, _ reconcile.Unit, dir string) {
			must(t, exec.Command("cp", "-a", dir, dir+"2").Run())
			must(t, os.RemoveAll(dir))
			must(t, os.Rename(dir+"2", dir))
		},
	} {
		t.Run(name, func(t *testing.T) {
			asRoot(t)
			l, dir := later(), filepath.Join(t.TempDir(), "web")
			u := unit(dir, "v1")
			write(t, l, u)
			seen := again(t, l, u, "").Evidence
			if seen == "" {
				t.Fatal("there is no Evidence of a settled place")
			}
			if c := again(t, l, u, seen); c.Evidence != seen || c.Files != nil {
				t.Fatalf("of the same place it says %v", c)
			}
			tick(t)
			change(t, u, dir)
			if c := again(t, l, u, seen); c.Evidence == seen || c.Files == nil {
				t.Error("it stands for another place")
			}
		})
	}
}

// TestNoEvidence asks for it where a change would not show in it.
func TestNoEvidence(t *testing.T) {
	dir := t.TempDir()
	none := func(what string, l Local, u reconcile.Unit) {
		t.Helper()
		if c := again(t, l, u, ""); c.Evidence != "" || c.Files == nil {
			t.Errorf("%s: there is Evidence", what)
		}
	}
	u := unit(filepath.Join(dir, "atomic"), "v1")
	write(t, later(), u)
	none("without a clock", local(nil), u)
	now := local(nil)
	now.Now = time.Now
	none("of what was just written", now, u)
	now.Now = func() time.Time { return time.Now().Add(-time.Hour) }
	none("of what is to come", now, u)
	more := u
	more.Files = append(more.Files[:3:3], reconcile.UnitFile{Name: "other.pem"})
	none("with a file that is not there", later(), more)
	p := unit(filepath.Join(dir, "plain"), "v1", plain)
	write(t, later(), p)
	none("of the plain layout", later(), p)
	none("of no place", later(), unit(filepath.Join(dir, "absent"), "v1"))
}
