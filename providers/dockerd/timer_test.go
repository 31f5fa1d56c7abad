package dockerd

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certwright/certwright/reconcile"
)

// TestStands has a way back that begins, or has come to its end, while a change is proved.
func TestStands(t *testing.T) {
	file := filepath.Join(t.TempDir(), "daemon.json")
	write(t, file, `{"mtu":1400}`)
	s := state{DaemonState: reconcile.DaemonState{File: file, Active: true}, invocation: "first"}
	was, now, err := Machine{}.prepare(s, wanted)
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, string(now.File))
	if err := stands(file); err != nil {
		t.Errorf("what was written is there: %v", err)
	}
	write(t, file, string(was.File))
	if err := stands(file); !errors.Is(err, errWentBack) {
		t.Errorf("what was there before is back: %v", err)
	}
	write(t, file, string(now.File))
	if err := (Machine{}).forget(file); err != nil {
		t.Fatal(err)
	}
	if err := stands(file); !errors.Is(err, errWentBack) {
		t.Errorf("somebody else has put back what was to be: %v", err)
	}
}

// TestScript runs the part of a way back that is about files, with a systemctl that does nothing: of what is replaced by a link,
// of what was not there, and with a blank in its name.
func TestScript(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a folder")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	tools := t.TempDir()
	write(t, filepath.Join(tools, "systemctl"), "#!/bin/sh\necho \"$*\" >> "+filepath.Join(tools, "said")+"\ncase $1 in show) echo InvocationID=first;; esac\n")
	if err := os.Chmod(filepath.Join(tools, "systemctl"), 0o755); err != nil {
		t.Fatal(err)
	}
	link, real := filepath.Join(dir, "daemon.json"), filepath.Join(dir, "real.json")
	write(t, real, `{"mtu":1400}`)
	if err := os.Symlink("real.json", link); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		what     string
		invoked  string
		cut      bool
		restarts int // of this and those before
	}{{"dockerd runs as before", "first", false, 0}, {"dockerd was restarted", "none", false, 1}, {"it was by a change before", "first", true, 2}} {
		s := state{DaemonState: reconcile.DaemonState{File: link, Active: true}, invocation: row.invoked}
		was, now, err := Machine{}.prepare(s, wanted)
		if err != nil {
			t.Fatal(err)
		}
		s.Unfinished = row.cut
		write(t, copyOf(real), string(was.File))
		write(t, link, string(now.File))
		text := strings.NewReplacer("systemctl", filepath.Join(tools, "systemctl"), unitFolders, tools).Replace(script(s, was))
		if out, err := call(t.Context(), showLimit, "/bin/sh", "-e", "-c", text); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if to, err := os.Readlink(link); err != nil || to != "real.json" || string(readAll(t, link)) != `{"mtu":1400}` {
			t.Errorf("%s: %v, a link to %s\n%s", row.what, err, to, readAll(t, link))
		}
		if _, err := kept(link); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: it is not at its end: %v", row.what, err)
		}
		if n := strings.Count(string(readAll(t, filepath.Join(tools, "said"))), "restart docker.service"); n != row.restarts {
			t.Errorf("%s: %d restarts", row.what, n)
		}
		if out, err := call(t.Context(), showLimit, "/bin/sh", "-e", "-c", text); err != nil {
			t.Errorf("%s: when there is nothing to do: %v\n%s", row.what, err, out)
		}
	}
	if text := script(state{DaemonState: reconcile.DaemonState{Active: true}}, before{File: []byte("{}")}); strings.ContainsAny(text, "$;%\\\"") {
		t.Errorf("systemd makes another of\n%s", text)
	}
	for name, bad := range map[string]bool{"/etc/docker/daemon.json": false, "/a b": false, "/a;b": true, "/$a": true, "/%i": true, "/a'": true, "/a\nb": true} {
		if err := plain(name); (err != nil) != bad {
			t.Errorf("%q: %v", name, err)
		}
	}
}
