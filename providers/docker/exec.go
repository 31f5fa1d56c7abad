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
	var created container.ExecCreateResponse
	err := e.o.Around.Do("POST /containers/{id}/exec", func() (err error) {
		created, err = e.cli.ContainerExecCreate(ctx, id, container.ExecOptions{
			User: how.ExecUser, Cmd: how.Exec, AttachStdout: true, AttachStderr: true,
		})
		return err
	})
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("not done in %s: the engine did not begin it: %w", reload.Timeout(how), ctx.Err())
	case err != nil:
		return err
	}
	said := command.First(outputMax)
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
		said.ReadAll(&demux{r: stream.Reader, stderr: said})
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
		return fmt.Errorf("not done in %s, and it goes on in the container: %w", reload.Timeout(how), ctx.Err())
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
