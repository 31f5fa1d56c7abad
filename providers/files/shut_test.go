package files

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/certwright/certwright/reconcile"
)

// TestShutDirectories closes the directories of a place. Read tells, and a write opens them to the owner of the files; a
// directory that lets the owner through keeps its mode.
func TestShutDirectories(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root gives files away")
	}
	given := func(u *reconcile.Unit) {
		for i := range u.Files {
			u.Files[i].UID, u.Files[i].GID = 100, 101
		}
	}
	for name, row := range map[string]struct {
		mode, want fs.FileMode
		owner      reconcile.Owner
		files      func(*reconcile.Unit)
	}{
		"shut":                 {0o700, 0o755, reconcile.Owner{}, given},
		"of another group":     {0o750, 0o755, reconcile.Owner{UID: 0, GID: 50}, given},
		"of its group":         {0o750, 0o750, reconcile.Owner{UID: 0, GID: 101}, given},
		"of its user":          {0o700, 0o700, reconcile.Owner{UID: 100, GID: 100}, given},
		"to be gone through":   {0o711, 0o711, reconcile.Owner{}, given},
		"of root, as its keys": {0o700, 0o700, reconcile.Owner{}, func(*reconcile.Unit) {}},
		"shut to a group": {0o700, 0o755, reconcile.Owner{}, func(u *reconcile.Unit) {
			u.Files[2].Mode, u.Files[2].GID = 0o640, 101
		}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "web")
			u := unit(dir, "1", row.files)
			write(t, local(unsynced), u)
			data := filepath.Join(dir, dataName)
			must(t, os.Chown(dir, row.owner.UID, row.owner.GID))
			must(t, os.Chmod(dir, row.mode))
			must(t, os.Chmod(data+"/", 0o700))
			got := read(u)
			if want := (reconcile.DirState{Mode: row.mode, UID: row.owner.UID, GID: row.owner.GID}); got.Dir != want || got.Generation != 0o700 {
				t.Errorf("read %+v and generation %04o, want %+v and 0700", got.Dir, got.Generation, want)
			}
			write(t, local(unsynced), unit(dir, "2", row.files))
			if got := read(u); got.Dir.Mode != row.want || got.Generation != 0o755 {
				t.Errorf("written again %04o and %04o, want %04o and 0755", got.Dir.Mode, got.Generation, row.want)
			}
		})
	}
}

// TestWideningKeepsTheRest opens a directory whose group is inherited.
func TestWideningKeepsTheRest(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root gives files away")
	}
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o700|fs.ModeSetgid))
	u := unit(dir, "1")
	u.Files[2].UID, u.Files[2].GID = 100, 101
	write(t, local(unsynced), u)
	info, err := os.Stat(dir)
	must(t, err)
	if want := 0o755 | fs.ModeSetgid | fs.ModeDir; info.Mode() != want {
		t.Errorf("mode %v, want %v", info.Mode(), want)
	}
}
