package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDenied has another user run the program: what it may not read or make is named, with what to do.
func TestDenied(t *testing.T) {
	t.Parallel()
	s := scene{command: command{t: t, dir: t.TempDir(), vars: map[string]string{"DOCKER_HOST": "unix:///nonexistent.sock"}}}
	s.spec("directory: certs")
	program, err := os.ReadFile(staticBinary(t))
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(t.TempDir(), "certwright")
	err = os.WriteFile(bin, program, 0o755)
	for _, dir := range []string{filepath.Dir(filepath.Dir(bin)), filepath.Dir(bin), filepath.Dir(s.dir), s.dir} {
		err = errors.Join(err, os.Chmod(dir, 0o755)) // the user gets there
	}
	if err != nil {
		t.Fatal(err)
	}
	nobody := func(verb string) string {
		t.Helper()
		c := exec.CommandContext(t.Context(), bin, "-f", "tls.yaml", verb)
		c.Dir, c.Env = s.dir, []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent"}
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := c.CombinedOutput()
		note(string(out))
		if err == nil {
			t.Fatalf("it is done:\n%s", out)
		}
		return strings.ReplaceAll(string(out), s.dir, "$DIR")
	}
	const hint = "certwright: hint: run certwright as the user whose store it is (who has it with mode 0700: `chmod 0700 DIRECTORY`), or name a directory of your own under `store`\n"
	if got := nobody("apply"); !strings.Contains(got, "certwright: store: mkdir ") || !strings.HasSuffix(got, ": permission denied\n"+hint) {
		t.Errorf("without a store:\n%s", got)
	}
	s.want(exitDone, "apply")
	for _, verb := range []string{"plan", "apply", "status"} {
		if d := cmp.Diff("certwright: store: open .certwright: permission denied\n"+hint, nobody(verb)); d != "" {
			t.Errorf("%s: -want +got:\n%s", verb, d)
		}
	}
	// A store of the user's own, and a place that is not.
	if err := errors.Join(
		os.RemoveAll(filepath.Join(s.dir, ".certwright")), os.RemoveAll(filepath.Join(s.dir, "certs")),
		os.Mkdir(filepath.Join(s.dir, ".certwright"), 0o700), os.Chown(filepath.Join(s.dir, ".certwright"), 65534, 65534),
		os.Mkdir(filepath.Join(s.dir, "certs"), 0o700),
	); err != nil {
		t.Fatal(err)
	}
	const want = "  web  Blocked  open $DIR/certs: permission denied\n  hint: web: run certwright as a user that may read and write there\n"
	if got := nobody("apply"); !strings.Contains(got, want) {
		t.Errorf("of a place:\n%s", got)
	}
	if err := os.Chmod(filepath.Join(s.dir, "certs"), 0o755); err != nil {
		t.Fatal(err)
	}
	const tried = ": permission denied\n  hint: web: run certwright as a user that may read and write there; a running watch tries again after "
	if got := nobody("apply"); !strings.Contains(got, "  web  Failed  place web in $DIR/certs: ") || !strings.Contains(got, tried) {
		t.Errorf("of a place that can be read:\n%s", got)
	}
}
