package docker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// signals are those that may be sent: the ones that some server takes as the request to read its files again.
var signals = []string{"HUP", "USR1", "USR2"}

// Reload carries out one rung on one container. What a signal or a request really did shows only on the wire;
// an error means that it was not taken, or that the container died of it.
func (e *Engine) Reload(ctx context.Context, t reconcile.Target, how spec.Reload, env reconcile.ReloadEnv) error {
	if e.err != nil {
		return e.err
	}
	return e.rung(ctx, t, how, env)
}

func (e *Engine) rung(ctx context.Context, t reconcile.Target, how spec.Reload, env reconcile.ReloadEnv) error {
	switch {
	case how.None:
		return nil
	case how.Restart:
		return e.restart(ctx, t.ID)
	case how.Signal != "":
		return e.signal(ctx, t.ID, how.Signal)
	case len(how.Exec) > 0:
		return e.exec(ctx, t.ID, how)
	case how.HTTP != nil:
		return e.request(ctx, how, env)
	}
	switch how.Preset {
	case "nginx", "haproxy", "postgres":
		return e.signal(ctx, t.ID, "HUP")
	case "redis":
		return e.redis(ctx, how, env)
	}
	return fmt.Errorf("no way to reload with preset %q", how.Preset)
}

// signal sends a signal to the container's first process, and is an error if the container exits on it: some
// entry points end on any signal they do not know, and a restart policy would hide it.
func (e *Engine) signal(ctx context.Context, id, signal string) error {
	if !slices.Contains(signals, signal) {
		return fmt.Errorf("signal %q is not one of %v", signal, signals)
	}
	watch, stop := context.WithCancel(ctx)
	defer stop()
	// The wait begins before the signal, so that an exit is never missed. Its request has been answered, or has
	// failed, when it returns.
	late := time.AfterFunc(answerTimeout, stop)
	exited, failed := e.cli.ContainerWait(watch, id, container.WaitConditionNextExit)
	if !late.Stop() {
		return context.DeadlineExceeded
	}
	select {
	case err := <-failed:
		return err
	default:
	}
	err := e.o.Around.Do("POST /containers/{id}/kill", func() error {
		ctx, cancel := context.WithTimeout(ctx, answerTimeout)
		defer cancel()
		return e.cli.ContainerKill(ctx, id, signal)
	})
	if err != nil {
		return err
	}
	select {
	case r := <-exited:
		return fmt.Errorf("the container exited on it with code %d%s", r.StatusCode, e.lastWords(ctx, id))
	case err := <-failed:
		return fmt.Errorf("whether it survived is unknown: %w", err)
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(e.settle):
		return nil
	}
}

// lastWords is the last line of a container's log as the end of a sentence, or "".
func (e *Engine) lastWords(ctx context.Context, id string) string {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	c, err := e.cli.ContainerInspect(ctx, id)
	if err != nil || c.Config == nil {
		return ""
	}
	logs, err := e.cli.ContainerLogs(ctx, id, container.LogsOptions{ShowStdout: true, ShowStderr: true, Tail: "1"})
	if err != nil {
		return "" // the log driver cannot be read
	}
	defer logs.Close()
	said := &head{max: outputMax}
	if c.Config.Tty {
		said.readAll(logs)
	} else {
		said.readAll(&demux{r: logs, stderr: said})
	}
	if said.String() == "" {
		return ""
	}
	return fmt.Sprintf("; it last said: %s", said)
}

// restart restarts a container with its own stop signal and stop timeout, and returns when it runs again and is
// healthy; without a health check, when it has run for a moment.
func (e *Engine) restart(ctx context.Context, id string) error {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Minute)
		defer cancel()
	}
	err := e.o.Around.Do("POST /containers/{id}/restart", func() error {
		return e.cli.ContainerRestart(ctx, id, container.StopOptions{})
	})
	if err != nil {
		return err
	}
	var up time.Time
	for {
		c, err := e.cli.ContainerInspect(ctx, id)
		if ctx.Err() != nil {
			return fmt.Errorf("it is not healthy yet: %w", ctx.Err())
		}
		if err != nil {
			return err
		}
		if c.ContainerJSONBase == nil || c.State == nil {
			return errors.New("the engine says nothing about its state")
		}
		if up.IsZero() {
			up = time.Now()
		}
		done, err := e.recovered(c, time.Since(up))
		if err != nil {
			return fmt.Errorf("%w%s", err, e.lastWords(ctx, id))
		}
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// recovered judges a container that was just restarted and has been looked at for a time. The engine counts
// restarts by the container's restart policy from zero again after one that was asked for.
func (e *Engine) recovered(c container.InspectResponse, watched time.Duration) (bool, error) {
	s := c.State
	switch {
	case s.Restarting || c.RestartCount > 0 || !s.Running:
		return false, fmt.Errorf("the container exited with code %d after the restart", s.ExitCode)
	case s.Health == nil || s.Health.Status == container.NoHealthcheck || s.Health.Status == "":
		return watched >= e.settle, nil
	case s.Health.Status == container.Unhealthy:
		return false, errors.New("the container is unhealthy after the restart")
	}
	return s.Health.Status == container.Healthy, nil
}
