// Package command runs commands of the user's: without a shell, with a time limit and an environment of their own, and with
// little kept of what they say.
package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"time"

	"github.com/certwright/certwright/spec"
)

const (
	maxOutput = 256 << 10 // bytes that are kept of its output
	maxReason = 500       // … and of what it says on its standard error
)

// Command is a command with all it is given.
type Command struct {
	Argv    []string
	Env     []string // all of its environment
	Stdin   []byte
	Timeout time.Duration // zero for none but that of the context
}

// Run runs the command, and returns the first 256 KiB of its output. An exit code other than zero is an error that wraps
// exec.ExitError and ends with the last line of its standard error. When its time is over, or ctx ends, it is killed with all
// it started.
func (c Command) Run(ctx context.Context) ([]byte, error) {
	if c.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.Timeout)
		defer cancel()
	}
	cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	cmd.Env = append([]string{}, c.Env...) // nil would be our own
	cmd.Stdin = bytes.NewReader(c.Stdin)
	out, said := First(maxOutput), Last(2*maxReason)
	cmd.Stdout, cmd.Stderr = out, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // for whoever left the group and holds the pipes
	err := cmd.Run()
	switch {
	case err == nil || errors.Is(err, exec.ErrWaitDelay): // it did well, and left something running
		return out.Bytes(), nil
	case c.Timeout > 0 && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, fmt.Errorf("%s did not end within %s", c.Argv[0], spec.FormatDuration(c.Timeout))
	}
	if last := said.Line(); last != "" {
		err = fmt.Errorf("%w: %q", err, last[:min(len(last), maxReason)])
	}
	return nil, fmt.Errorf("%s: %w", c.Argv[0], err)
}
