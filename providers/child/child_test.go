package child

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// running is a script under Child that writes to $LOG what it does.
type running struct {
	*Child
	t     *testing.T
	log   string
	ended chan int
}

func run(t *testing.T, script string) *running {
	t.Helper()
	log := filepath.Join(t.TempDir(), "log")
	r := &running{&Child{Argv: []string{"/bin/sh", "-c", script}, Env: []string{"PATH=/usr/bin:/bin", "LOG=" + log}, Now: time.Now}, t, log, make(chan int, 1)}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		code, err := r.Run()
		if err != nil {
			t.Error(err)
		}
		r.ended <- code
	}()
	t.Cleanup(func() {
		for {
			r.Signal(syscall.SIGTERM) // it is not started again
			if p, _, _ := r.running(); p != nil {
				_ = syscall.Kill(-p.Pid, syscall.SIGKILL)
			}
			select {
			case <-gone:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
	return r
}

// says waits until the script has said a word so many times.
func (r *running) says(word string, times int) {
	r.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		data, _ := os.ReadFile(r.log)
		if strings.Count(string(data), word) >= times {
			return
		}
		if time.Now().After(end) {
			r.t.Fatalf("it does not say %s %d times:\n%s", word, times, data)
		}
	}
}

// ends waits until it has ended, with an exit code.
func (r *running) ends(want int) {
	r.t.Helper()
	select {
	case code := <-r.ended:
		if code != want {
			r.t.Errorf("it ended with %d, want %d", code, want)
		}
	case <-time.After(20 * time.Second):
		r.t.Error("it does not end")
	}
}

const (
	loop   = "; while :; do sleep 0.05; done"
	slowly = "echo started >>$LOG; trap 'echo ending >>$LOG; sleep 0.3; exit 5' TERM" + loop
)

// TestRestart starts a command again, without what it left behind, and without one that only could not be ended.
func TestRestart(t *testing.T) {
	t.Parallel()
	r := run(t, "echo started >>$LOG; (trap '' TERM; echo left >>$LOG"+loop+") & trap 'exit 5' TERM; trap 'exit 6' USR1"+loop)
	r.says("left", 1)
	first, _, _ := r.running()
	if err := r.restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.says("left", 2)
	second, _, _ := r.running()
	defer func() { _ = syscall.Kill(-second.Pid, syscall.SIGKILL) }()
	for end := time.Now().Add(20 * time.Second); syscall.Kill(-first.Pid, 0) == nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("what the first one left behind runs beside the second")
		}
	}
	r.Around = func(string, func() error) error { return syscall.EPERM } // as kill(2) of a command of another user
	if err := r.restart(t.Context()); err == nil {
		t.Error("it was restarted although it cannot be ended")
	}
	r.Signal(syscall.SIGUSR1)
	r.ends(6)
}

// TestToldToEnd tells a command to end at every moment at which it might be started all the same.
func TestToldToEnd(t *testing.T) {
	t.Parallel()
	t.Run("while it is restarted", func(t *testing.T) {
		t.Parallel()
		r := run(t, slowly)
		r.says("started", 1)
		go func() { _ = r.restart(t.Context()) }()
		r.says("ending", 1)
		r.Signal(syscall.SIGTERM)
		r.ends(5)
	})
	t.Run("before it is started", func(t *testing.T) {
		t.Parallel()
		c := &Child{Argv: []string{"/bin/sleep", "600"}, Now: time.Now}
		c.Signal(syscall.SIGUSR1)
		c.Signal(syscall.SIGQUIT)
		c.Signal(syscall.SIGTERM)
		if code, err := c.Run(); code != 128+int(syscall.SIGQUIT) || err != nil {
			t.Errorf("it ended with %d: %v", code, err)
		}
	})
}
