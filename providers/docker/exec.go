package docker

import (
	"context"
	"fmt"
	"time"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"

	"github.com/certwright/certwright/providers/command"
	"github.com/certwright/certwright/providers/reload"
	"github.com/certwright/certwright/spec"
)

const (
	// outputMax is how much of what a process said goes into an error.
	outputMax = 300
)

// exec runs a command in the container, as argv and never through a shell. An exit code other than zero is an
// error with the beginning of what the command said.
func (e *Engine) exec(ctx context.Context, id string, how spec.Reload) error {
	ctx, cancel := context.WithTimeout(ctx, reload.Timeout(how))
	defer cancel()
	said := command.First(outputMax)
	return e.run(ctx, reload.Timeout(how), id, how.ExecUser, how.Exec, said, said)
}

// command is exec for what is asked for its standard output, of which it returns as much as most.
func (e *Engine) command(ctx context.Context, limit time.Duration, id, user string, argv []string, most int) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	out, said := command.First(most), command.First(outputMax)
	err := e.run(ctx, limit, id, user, argv, out, said)
	return string(out.Bytes()), err
}

// run runs a command until ctx ends, which is so long after it began.
func (e *Engine) run(ctx context.Context, limit time.Duration, id, user string, argv []string, out, said *command.Words) error {
	var created container.ExecCreateResponse
	err := e.o.Around.Do("POST /containers/{id}/exec", func() (err error) {
		created, err = e.cli.ContainerExecCreate(ctx, id, container.ExecOptions{
			User: user, Cmd: argv, AttachStdout: true, AttachStderr: true,
		})
		return err
	})
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("not done in %s: the engine did not begin it: %w", limit, ctx.Err())
	case err != nil:
		return err
	}
	err = e.o.Around.Do("POST /exec/{id}/start", func() error {
		stream, err := hijack(ctx, func() (types.HijackedResponse, error) {
			return e.cli.ContainerExecAttach(ctx, created.ID, container.ExecAttachOptions{})
		})
		if err != nil {
			return e.refused.streamRefused("POST /exec/{id}/start", err)
		}
		defer stream.Close()
		stop := context.AfterFunc(ctx, func() { _ = stream.Conn.SetDeadline(time.Unix(1, 0)) })
		defer stop()
		out.ReadAll(&demux{r: stream.Reader, stderr: said})
		return ctx.Err()
	})
	for err == nil {
		var state container.ExecInspect
		if state, err = e.cli.ContainerExecInspect(ctx, created.ID); err != nil {
			break
		}
		if !state.Running {
			return exitError(state.ExitCode, said)
		}
		select { // it closed its output and goes on
		case <-ctx.Done():
			err = ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("not done in %s, and it goes on in the container: %w", limit, ctx.Err())
	}
	return err
}

func exitError(code int, said *command.Words) error {
	if code == 0 {
		return nil
	}
	if said.String() == "" {
		return fmt.Errorf("exit code %d", code)
	}
	return fmt.Errorf("exit code %d: %s", code, said)
}
