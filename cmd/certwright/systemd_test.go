package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/docker/dockertest"
	"github.com/certwright/certwright/spec"
)

// notified is what a service manager hears of a process.
type notified struct {
	t      testing.TB
	socket string

	mu  sync.Mutex
	all []string
}

func listenAsManager(t testing.TB) *notified {
	t.Helper()
	n := &notified{t: t, socket: filepath.Join(t.TempDir(), "notify")}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: n.socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		b := make([]byte, 4096)
		for {
			k, err := conn.Read(b)
			if err != nil {
				return
			}
			n.mu.Lock()
			n.all = append(n.all, string(b[:k]))
			n.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("it notified %q", n.messages(0))
		}
	})
	return n
}

func (n *notified) messages(from int) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.all[from:])
}

// hears waits for a message that matches, and returns how many there were up to it, and it.
func (n *notified) hears(from int, expression string) (next int, message string) {
	n.t.Helper()
	match := regexp.MustCompile("^(?:" + expression + ")$")
	dockertest.Poll(n.t, time.Minute, "a message "+expression, func() error {
		for i, m := range n.messages(from) {
			if match.MatchString(m) {
				next, message = from+i+1, m
				return nil
			}
		}
		return errors.New("there is none")
	})
	return next, message
}

// kinds are messages by their first word, one for each run of equal ones.
func (n *notified) kinds(messages []string) (kinds []string) {
	for _, m := range messages {
		word, _, _ := strings.Cut(m, "=")
		kinds = append(kinds, word)
	}
	return slices.Compact(kinds)
}

// TestWatchNotifies has all that a service manager is told: of the first pass, of the waiting, of a SIGHUP, of a spec that
// cannot be used, and of the end.
func TestWatchNotifies(t *testing.T) {
	t.Parallel()
	n := listenAsManager(t)
	w := newWatch(t, watchYAML, "--interval", "1h")
	w.cmd.Env = append(w.cmd.Env, "NOTIFY_SOCKET="+n.socket)
	w.start()
	ready, _ := n.hears(0, "READY=1\nSTATUS=1 binding: 1 Unverified")
	if _, err := os.Stat(filepath.Join(w.dir, "web/key.pem")); err != nil {
		t.Errorf("it is ready, and its first pass is not over: %v", err)
	}
	first := n.messages(0)[:ready]
	if d := cmp.Diff([]string{"EXTEND_TIMEOUT_USEC", "READY"}, n.kinds(first)); d != "" {
		t.Errorf("of the first pass -want +got\n%s", d)
	}
	if len(first) < 8 { // when it begins, and when each of three steps does and ends
		t.Errorf("of a pass with three steps it tells %d times that it gets on", len(first)-1)
	}
	if want := fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", (15 * time.Minute).Microseconds()); first[0] != want {
		t.Errorf("it begins with %s, not %s", first[0], want)
	}
	waiting, _ := n.hears(ready, "WATCHDOG=1")

	w.signal(syscall.SIGHUP)
	again, _ := n.hears(waiting, "READY=1\nSTATUS=1 binding: 1 Unverified")
	if d := cmp.Diff([]string{"RELOADING", "EXTEND_TIMEOUT_USEC", "READY"}, n.kinds(n.messages(waiting)[:again-waiting])); d != "" {
		t.Errorf("on SIGHUP -want +got\n%s", d)
	}
	if told := n.messages(waiting)[0]; !regexp.MustCompile(`^RELOADING=1\nMONOTONIC_USEC=\d+\n?$`).MatchString(told) {
		t.Errorf("on SIGHUP it tells %q", told)
	}

	w.spec("version: 1\nproject: shop\nwhat: is this\n")
	bad, _ := n.hears(again, "READY=1\nSTATUS=the last good spec is in force: tls.yaml:3:1: unknown key [^\n]*")
	if slices.Contains(n.kinds(n.messages(again)), "RELOADING") {
		t.Error("it is reloading without a SIGHUP")
	}
	w.spec(watchYAML)
	n.hears(bad, "READY=1\nSTATUS=1 binding: 1 Unverified")

	w.end()
	end, _ := n.hears(bad, "STOPPING=1")
	for _, kind := range n.kinds(n.messages(end)) {
		if kind != "WATCHDOG" { // its loop had just turned round
			t.Errorf("after STOPPING=1 it tells %s", kind)
		}
	}
}

// TestWatchHangs has a pass that never ends: nothing is heard of it any more, whatever the manager's watchdog is set to. The
// first SIGTERM waits for the end of a step, and the second does not.
func TestWatchHangs(t *testing.T) {
	t.Parallel()
	n := listenAsManager(t)
	w := newWatch(t, watchYAML, "--interval", "1s")
	w.cmd.Env = append(w.cmd.Env, "NOTIFY_SOCKET="+n.socket, "WATCHDOG_USEC=1000000")
	w.start()
	from, _ := n.hears(0, "WATCHDOG=1")
	from, _ = n.hears(from, "WATCHDOG=1")
	// To open it takes until somebody opens its other end.
	if err := syscall.Mkfifo(filepath.Join(w.dir, "next"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(w.dir, "next"), filepath.Join(w.dir, "tls.yaml")); err != nil {
		t.Fatal(err)
	}
	heard, since := len(n.messages(0)), time.Now()
	dockertest.Poll(t, time.Minute, "four seconds without a message", func() error {
		if now := len(n.messages(0)); now > heard {
			heard, since = now, time.Now()
		}
		last := n.kinds(n.messages(from))
		if len(last) == 0 || last[len(last)-1] != "EXTEND_TIMEOUT_USEC" || time.Since(since) < 4*time.Second {
			return fmt.Errorf("it tells %q", last)
		}
		return nil
	})
	w.signal(syscall.SIGTERM)
	n.hears(heard, "STOPPING=1")
	w.signal(syscall.SIGTERM)
	select {
	case err := <-w.ended:
		if w.cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
			t.Errorf("on the second SIGTERM: %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("it does not end on a second SIGTERM")
	}
}

// TestPatience is more than each thing in a pass may take.
func TestPatience(t *testing.T) {
	for name, row := range map[string]struct {
		binding spec.Binding
		want    time.Duration
	}{
		"a service":     {spec.Binding{}, 15 * time.Minute},
		"a short rung":  {spec.Binding{Reload: []spec.Reload{{Timeout: time.Minute}}}, 15 * time.Minute},
		"a long rung":   {spec.Binding{Reload: []spec.Reload{{}, {Timeout: time.Hour}}}, 90 * time.Minute},
		"a long probe":  {spec.Binding{Probe: &spec.Probe{Timeout: 5 * time.Minute}}, 30 * time.Minute},
		"a usual probe": {spec.Binding{Probe: &spec.Probe{Timeout: 5 * time.Second}}, 15 * time.Minute},
	} {
		d := systemd{least: leastPatience}
		d.expect(&spec.Spec{Bindings: []spec.Binding{{}, row.binding}})
		if d.patience != row.want {
			t.Errorf("%s: %s, want %s", name, d.patience, row.want)
		}
	}
}
