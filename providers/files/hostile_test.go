package files

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/certwright/certwright/reconcile"
)

// TestAttackerInThePlace lets somebody who owns the volume exchange everything in it for links, hard links, FIFOs
// and directories that lead to a tree outside, while units are written, read and removed. The tree stays as it is.
func TestAttackerInThePlace(t *testing.T) {
	const exchanges = 10_000
	root := inMemory(t)
	volume, canary := filepath.Join(root, "volume"), filepath.Join(root, "canary")
	must(t, os.MkdirAll(filepath.Join(volume, "sub"), 0o755))
	write(t, local(unsynced), unit(canary, "canary"), unit(filepath.Join(canary, "sub"), "canary", plain))
	before := tree(t, root)
	for path := range before {
		if !strings.HasPrefix(path, canary) {
			delete(before, path)
		}
	}
	a := &attacker{volume: volume, canary: canary}
	var done atomic.Bool
	var attack sync.WaitGroup
	attack.Go(func() {
		for !done.Load() || a.exchanged < exchanges {
			a.step()
		}
	})
	edits := []edit{func(*reconcile.Unit) {}, plain, inPlace, renamed, func(u *reconcile.Unit) { u.At.Sub = "sub" }}
	written, refused := 0, 0
	for n := 0; n < 600; n++ {
		u := unit(volume, "hostile", edits[n%len(edits)])
		u.Adopt = n%3 == 0
		u.Now = u.Now.AddDate(0, 0, n)
		if err := writeOne(local(unsynced), u); err != nil {
			refused++
		} else {
			written++
		}
		_ = read(u)
		if n%7 == 0 {
			_ = remove(local(unsynced), u)
		}
	}
	done.Store(true)
	attack.Wait()
	after := tree(t, canary)
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("outside of the volume (-before +after):\n%s", diff)
	}
	if written == 0 || refused == 0 {
		t.Errorf("%d units written, %d refused: nothing was raced", written, refused)
	}
	t.Logf("%d exchanges, %d units written, %d refused", a.exchanged, written, refused)
}

type attacker struct {
	volume, canary string
	exchanged      int
	n              int
}

// step makes one trap and exchanges it for something in the volume.
func (a *attacker) step() {
	a.n++
	trap := filepath.Join(a.volume, "trap")
	places := []string{"cert.pem", "key.pem", dataName, manifestName, "sub", "sub/key.pem", dataName + "/key.pem"}
	generations, _ := filepath.Glob(filepath.Join(a.volume, prefix+"*"))
	for _, g := range generations {
		name := filepath.Base(g)
		places = append(places, name, name+"/key.pem", name+"/"+manifestName)
	}
	target := filepath.Join(a.volume, places[a.n%len(places)])
	// In its container it cannot leave the volume; here it must not either, through a link of its own.
	if parent, err := os.Lstat(filepath.Dir(target)); err != nil || !parent.IsDir() {
		return
	}
	_ = os.RemoveAll(trap)
	switch a.n % 9 {
	case 0:
		_ = os.Symlink(a.canary, trap)
	case 1:
		_ = os.Symlink("../canary/key.pem", trap)
	case 2:
		_ = os.Link(filepath.Join(a.canary, "sub/key.pem"), trap)
	case 3:
		_ = unix.Mkfifo(trap, 0o600)
	case 4:
		_ = os.Symlink("/", trap)
	case 5:
		_ = os.MkdirAll(filepath.Join(trap, "key.pem"), 0o755)
	case 6:
		_ = os.Symlink(filepath.Join(a.canary, "sub"), trap)
	case 7:
		_ = os.Symlink("../../canary", trap)
	case 8:
		_ = os.RemoveAll(target)
		return
	}
	if unix.Renameat2(unix.AT_FDCWD, trap, unix.AT_FDCWD, target, unix.RENAME_EXCHANGE) == nil || os.Rename(trap, target) == nil {
		a.exchanged++
	}
}

// TestFullDisk runs out of space on a real file system of four megabytes.
func TestFullDisk(t *testing.T) {
	asRoot(t)
	small := t.TempDir()
	must(t, unix.Mount("tmpfs", small, "tmpfs", 0, "size=4m"))
	t.Cleanup(func() { must(t, unix.Unmount(small, unix.MNT_DETACH)) })
	for how, change := range map[string]edit{"atomic": func(*reconcile.Unit) {}, "plain": plain, "in place": inPlace} {
		t.Run(how, func(t *testing.T) {
			dir := filepath.Join(small, "place")
			old := unit(dir, "1", change)
			write(t, local(nil), old)
			ballast := filepath.Join(small, "ballast")
			must(t, os.WriteFile(ballast, make([]byte, 3<<20), 0o600))
			next := unit(dir, "2", change)
			next.Files[2].Data = make([]byte, 2<<20)
			elsewhere := unit(filepath.Join(t.TempDir(), "place"), "2", change)
			errs := local(nil).Write(context.Background(), []reconcile.Unit{next, elsewhere})
			if errs[0] == nil || !strings.Contains(errs[0].Error(), "no space left") {
				t.Errorf("got %v", errs[0])
			}
			must(t, errs[1])
			placed(t, elsewhere)
			placed(t, old)
			must(t, os.Remove(ballast))
			next.Files[2].Data = make([]byte, 1<<20)
			write(t, local(nil), next)
			placed(t, next)
			must(t, os.RemoveAll(dir))
		})
	}
}

// TestOwners gives files to others as root, and is told why it cannot otherwise.
func TestOwners(t *testing.T) {
	const asNobody = "CERTWRIGHT_TEST_AS_NOBODY"
	if dir := os.Getenv(asNobody); dir != "" {
		own := unit(filepath.Join(dir, "own"), "1")
		write(t, local(nil), own)
		placed(t, own)
		err := writeOne(local(nil), unit(filepath.Join(dir, "other"), "1", func(u *reconcile.Unit) { u.Files[1].UID = 999 }))
		if err == nil || !strings.Contains(err.Error(), "give cert.pem to 999:65534 (run as root or leave owner out)") {
			t.Errorf("got %v", err)
		}
		if left := leftovers(t, filepath.Join(dir, "other")); len(left) > 0 {
			t.Errorf("left over: %q", left)
		}
		return
	}
	asRoot(t)
	for _, change := range []edit{func(*reconcile.Unit) {}, plain, inPlace} {
		dir := t.TempDir()
		for _, uid := range []int{999, 0, 998} {
			u := unit(dir, fmt.Sprint(uid), change)
			u.Files[2].UID, u.Files[2].GID = uid, uid
			write(t, local(unsynced), u)
			placed(t, u)
		}
	}
	open := inMemory(t)
	must(t, os.Chmod(open, 0o777))
	binary := filepath.Join(open, "test")
	data, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	must(t, os.WriteFile(binary, data, 0o755))
	cmd := exec.Command(binary, "-test.run=^TestOwners$", "-test.v")
	cmd.Env = []string{asNobody + "=" + open, "TMPDIR=" + open}
	cmd.Dir = open
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestOwners") {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
}

// TestForgedVersion has a mark of a version that nobody comes to: it does not keep everybody else from the place.
func TestForgedVersion(t *testing.T) {
	for _, forged := range []string{"9223372036854775807", "1073741825", "-1"} {
		dir := inMemory(t)
		write(t, local(unsynced), unit(dir, "1"))
		path := filepath.Join(dir, dataName, manifestName)
		is, err := os.ReadFile(path)
		must(t, err)
		must(t, os.WriteFile(path, []byte(strings.Replace(string(is), `"files"`, `"version":`+forged+`,"files"`, 1)), 0o644))
		if m := read(unit(dir, "1")).Mark; m == nil || m.Version != 0 {
			t.Errorf("%s: the mark is %+v", forged, m)
		}
		write(t, local(unsynced), unit(dir, "2", func(u *reconcile.Unit) { u.Mark.Version = 2 }))
	}
}
