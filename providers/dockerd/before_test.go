package dockerd

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/reconcile"
)

// TestWayBack has a change that was cut off, and another one after it: the way back leads to what was there before the first,
// since nobody has proved what that one wrote, whether dockerd runs or not.
func TestWayBack(t *testing.T) {
	const proved = `{"hosts":["fd://"]}`
	for name, active := range map[string]bool{"dockerd is down": false, "dockerd runs": true} {
		file := filepath.Join(t.TempDir(), "daemon.json")
		write(t, file, proved)
		s := state{DaemonState: reconcile.DaemonState{File: file, Active: true, Command: []string{"dockerd", "-H", "fd://"}}, invocation: "first"}
		_, now, err := Machine{}.prepare(s, wanted)
		if err != nil {
			t.Fatal(err)
		}
		s.Active, s.Command = active, []string{"dockerd"}
		if err := s.cutOff(); err != nil || !s.Unfinished || s.Unread {
			t.Errorf("%s: cut off before it wrote anything: %+v, %v", name, s, err)
		}
		write(t, file, string(now.File))
		if err := s.cutOff(); err != nil || !s.Unread {
			t.Errorf("%s: cut off before the restart: %+v, %v", name, s, err)
		}
		if strings.Join(s.Before.Hosts, " ") != "fd://" || strings.Join(s.Before.Command, " ") != "dockerd -H fd://" || s.Before.TLS.Verify {
			t.Errorf("%s: it had before %+v", name, s.Before)
		}
		s.invocation = "second"
		if err := s.cutOff(); err != nil || s.Unread {
			t.Errorf("%s: cut off after the restart: %+v, %v", name, s, err)
		}

		another := wanted
		another.Hosts = []string{"fd://", "tcp://10.9.9.9:2376"}
		was, now, err := Machine{}.prepare(s, another)
		if err != nil || string(was.File) != proved || !bytes.Contains(now.File, []byte("10.9.9.9")) {
			t.Errorf("%s: the way back leads to %s, %v", name, was.File, err)
		}
		if again, err := kept(file); err != nil || string(again.File) != proved || again.Invocation != "second" || len(again.Command) != 3 {
			t.Errorf("%s: what is kept is %+v, %v", name, again, err)
		}

		if err := (Machine{}).remove(backupOf(file)); err != nil {
			t.Fatal(err)
		}
		s.Unfinished = false
		if was, _, err := (Machine{}).prepare(s, another); err != nil || !bytes.Equal(was.File, readAll(t, file)) {
			t.Errorf("%s: once settled, the way back leads to %s, %v", name, was.File, err)
		}
	}
}

// TestBounds has files that are larger than any of dockerd's: none is read whole.
func TestBounds(t *testing.T) {
	dir := t.TempDir()
	large := filepath.Join(dir, "daemon.json")
	write(t, large, "{"+strings.Repeat(" ", maxFile)+"}")
	write(t, backupOf(large), "{"+strings.Repeat(" ", maxBackup)+"}")
	for what, read := range map[string]func() error{
		"the file":   func() error { _, err := read(large); return err },
		"the backup": func() error { _, err := kept(large); return err },
		"a unit":     func() error { _, _, err := commandOf([]string{large}); return err },
		"a pair":     func() error { return usable(reconcile.DaemonTLS{Cert: large, Key: large, CA: large}) },
	} {
		if err := read(); err == nil || !strings.Contains(err.Error(), "is larger than") {
			t.Errorf("%s: %v", what, err)
		}
	}
	write(t, backupOf(large), "{")
	if _, err := kept(large); err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), backupOf(large)) {
		t.Errorf("a backup that is none: %v", err)
	}
}

// TestShowLimit has a systemd that does not answer: an observation waits for it no longer than for a host.
func TestShowLimit(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "systemctl"), "#!/bin/sh\nexec sleep 600\n")
	if err := os.Chmod(filepath.Join(dir, "systemctl"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	start := time.Now()
	_, err := Machine{}.show(t.Context())
	if took := time.Since(start); err == nil || err.Error() != "systemctl did not end within 10s" || took > 30*time.Second {
		t.Errorf("after %s: %v", took, err)
	}
}

func write(t *testing.T, file, data string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

func readAll(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
