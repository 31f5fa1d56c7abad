package localca

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const nobody = 65534

// TestSurveyShut has a directory and a file that the user may not read: they are named, and what is beside them is found.
func TestSurveyShut(t *testing.T) {
	e := leave(t)
	e.leaf("web", nil)
	e.leaf("other/db", nil)
	e.write("pass", []byte("secret"))
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	shut := []string{filepath.Join(e.dir, "other"), filepath.Join(e.dir, "pass")}
	for _, path := range shut {
		must(os.Chmod(path, 0))
		t.Cleanup(func() { must(os.Chmod(path, 0o700)) })
	}
	if os.Geteuid() == 0 { // who reads everything
		must(filepath.WalkDir(filepath.Dir(e.dir), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || slices.Contains(shut, path) {
				return err
			}
			return os.Chown(path, nobody, -1)
		}))
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		fsuid := func(uid uintptr) { _, _, _ = syscall.RawSyscall(syscall.SYS_SETFSUID, uid, 0, 0) } // of this thread alone
		fsuid(nobody)
		defer fsuid(0)
	}
	want := rootFound + webFound + "left other: it cannot be read by this user\nleft pass: it cannot be read by this user\n"
	if diff := cmp.Diff(want, e.survey()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	must(os.Chmod(e.dir, 0))
	t.Cleanup(func() { must(os.Chmod(e.dir, 0o700)) })
	_, err := (&CA{}).Survey([]string{e.dir}, nil)
	wantError(t, err, "permission denied")
}
