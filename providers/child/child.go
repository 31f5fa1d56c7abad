// Package child is a command that certwright runs for its user: what a container is to an engine, and to certwright as the
// first process of an image, the process itself.
package child

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// The exit codes of a command that did not run, as docker run has them.
const (
	ExitFailed   = 126 // it is there, and cannot be run
	ExitNotFound = 127
)

// grace is how long a command has to end before a restart ends it, as a container has.
const grace = 10 * time.Second

// settle is how long it is watched for dying of a signal, or of a start.
const settle = 500 * time.Millisecond

// Child is one command. It has our standard input, output and error, and a process group of its own: what a terminal sends
// reaches it once.
type Child struct {
	Argv   []string
	Env    []string // all of its environment
	Secret func(spec.Source) ([]byte, error)
	Now    func() time.Time
	Around reconcile.Around

	mu      sync.Mutex
	process *os.Process // nil before it runs, and after it ended
	ended   chan struct{}
	begun   time.Time
	again   bool           // it is to be started once more when it ends
	over    syscall.Signal // that told it to end while it did not run; it is started no more
}

// Name is that of the command, without the path.
func (c *Child) Name() string { return filepath.Base(c.Argv[0]) }

// Run runs the command until it ends by itself, and returns its exit code: 128 and the number of the signal that ended it,
// ExitNotFound and ExitFailed with an error where it cannot be run. It is to be called once.
func (c *Child) Run() (int, error) {
	for {
		cmd, err := c.start()
		switch {
		case cmd == nil && err == nil:
			return 128 + int(c.over), nil
		case errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist):
			return ExitNotFound, err
		case err != nil:
			return ExitFailed, err
		}
		_ = cmd.Wait() // the state says more
		c.mu.Lock()
		c.process = nil
		close(c.ended)
		again := c.again
		c.again = false
		c.mu.Unlock()
		if !again {
			return code(cmd.ProcessState.Sys().(syscall.WaitStatus)), nil
		}
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it left behind holds its ports and files
	}
}

func code(w syscall.WaitStatus) int {
	if w.Signaled() {
		return 128 + int(w.Signal())
	}
	return w.ExitStatus()
}

// start starts the command, unless it has been told to end: then there is none.
func (c *Child) start() (*exec.Cmd, error) {
	cmd := exec.Command(c.Argv[0], c.Argv[1:]...)
	cmd.Env = append([]string{}, c.Env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	_, err := unix.IoctlGetInt(int(os.Stdin.Fd()), unix.TIOCGPGRP)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Foreground: err == nil} // of the terminal, where there is one
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over != 0 {
		return nil, nil
	}
	if err := c.Around.Do("start "+c.Name(), cmd.Start); err != nil {
		return nil, err
	}
	c.process, c.begun, c.ended = cmd.Process, c.Now(), make(chan struct{})
	return cmd, nil
}

// running is the process and since when it runs, nil where it does not; ended is closed when it has ended.
func (c *Child) running() (process *os.Process, since time.Time, ended <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.process, c.begun, c.ended
}

// Signal passes a signal on. After one that tells it to end the command is not started any more, nor again. Another one to a
// command that does not run is lost.
func (c *Child) Signal(s os.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if Ends(s) {
		c.again = false
	}
	switch {
	case c.process != nil:
		_ = c.process.Signal(s)
	case Ends(s) && c.over == 0:
		c.over = s.(syscall.Signal)
	}
}

// signal makes the command read its files again, and is an error if it ends of it.
func (c *Child) signal(ctx context.Context, name string) error {
	s := unix.SignalNum("SIG" + name)
	p, _, ended := c.running()
	switch {
	case s == 0:
		return fmt.Errorf("there is no signal %q", name)
	case p == nil:
		return fmt.Errorf("%s does not run", c.Name())
	}
	if err := c.Around.Do("signal "+c.Name(), func() error { return p.Signal(s) }); err != nil {
		return err
	}
	return c.survives(ctx, ended)
}

// survives is an error if the command ends within a moment.
func (c *Child) survives(ctx context.Context, ended <-chan struct{}) error {
	select {
	case <-ended:
		return fmt.Errorf("%s ended of it", c.Name())
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(settle):
		return nil
	}
}

// restart ends the command, by force where it takes too long, and has Run start it once more.
func (c *Child) restart(ctx context.Context) error {
	c.mu.Lock()
	p, before, ended := c.process, c.begun, c.ended
	c.again = p != nil
	c.mu.Unlock()
	if p == nil {
		return fmt.Errorf("%s does not run", c.Name())
	}
	err := c.Around.Do("restart "+c.Name(), func() error {
		if err := p.Signal(syscall.SIGTERM); err != nil {
			return err
		}
		select {
		case <-ended:
			return nil
		case <-time.After(grace):
			return syscall.Kill(-p.Pid, syscall.SIGKILL)
		}
	})
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.again = false
		return err
	}
	for {
		p, since, ended := c.running()
		if p != nil && !since.Equal(before) {
			return c.survives(ctx, ended)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Signals are those that are passed on: all but what is about ourselves.
func Signals() chan os.Signal {
	all := make(chan os.Signal, 64)
	signal.Notify(all)
	signal.Reset(unix.SIGCHLD, unix.SIGURG) // many of them leave no room for those that matter
	return all
}

// Passed reports whether a signal is for the command. SIGCHLD tells of our own children, SIGURG is the Go runtime's, and
// SIGPIPE is of our own output.
func Passed(s os.Signal) bool {
	return s != unix.SIGCHLD && s != unix.SIGURG && s != unix.SIGPIPE
}

// Ends reports whether a signal tells a command to end: those of engines and of terminals. Images of servers that end well of
// SIGQUIT alone, as that of nginx, have the engine send it.
func Ends(s os.Signal) bool { return s == unix.SIGTERM || s == unix.SIGINT || s == unix.SIGQUIT }
