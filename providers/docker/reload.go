package docker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/certwright/certwright/providers/command"
	"github.com/certwright/certwright/providers/reload"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

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
		return e.server(env).HTTP(ctx, how, env)
	}
	p, ok := spec.PresetNamed(how.Preset)
	switch {
	case !ok:
		return fmt.Errorf("no way to reload with preset %q", how.Preset)
	case p.Ask != "":
		return e.server(env).Ask(ctx, p, how, env)
	}
	return e.rung(ctx, t, p.Act, env)
}

// server is the one in a container, to be asked over its own port.
func (e *Engine) server(env reconcile.ReloadEnv) reload.Server {
	return reload.Server{
		Dial:   func(ctx context.Context, port int) (net.Conn, error) { return e.Dial(ctx, env.Container, port, true) },
		Secret: e.o.Secret, Now: e.o.Now, Around: e.o.Around,
	}
}

// lastLines are as many of a container's log as are looked through for a cause: a server says why it ends, and then that
// it ends.
const lastLines = 20

var cause = regexp.MustCompile(`(?i)fatal|error|emerg`)

// lastWords is the last line of a container's log that tells a cause, or else the last, as the end of a sentence, or "".
func (e *Engine) lastWords(ctx context.Context, id string) string {
	ctx, cancel := limited(ctx, answerTimeout)
	defer cancel()
	c, err := e.cli.ContainerInspect(ctx, id)
	if err != nil || c.Config == nil {
		return ""
	}
	logs, err := e.cli.ContainerLogs(ctx, id, container.LogsOptions{ShowStdout: true, ShowStderr: true, Tail: strconv.Itoa(lastLines)})
	if err != nil {
		return "" // the log driver cannot be read
	}
	defer logs.Close()
	said := command.First(lastLines * outputMax)
	if c.Config.Tty {
		said.ReadAll(logs)
	} else {
		said.ReadAll(&demux{r: logs, stderr: said})
	}
	return telling(said.Bytes())
}

// telling is the end of the sentence for the lines of a log.
func telling(log []byte) string {
	last := ""
	for line := range bytes.Lines(log) {
		words := command.First(outputMax)
		_, _ = words.Write(line)
		if text := words.String(); text != "" && (cause.MatchString(text) || !cause.MatchString(last)) {
			last = text
		}
	}
	if last == "" {
		return ""
	}
	return "; it last said: " + last
}

// restart restarts a container with its own stop signal and stop timeout, and returns when it runs again and is
// healthy; without a health check, when it has run for a moment.
func (e *Engine) restart(ctx context.Context, id string) error {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = limited(ctx, time.Minute)
		defer cancel()
	}
	err := e.o.Around.Do("POST /containers/{id}/restart", func() error {
		return e.cli.ContainerRestart(ctx, id, container.StopOptions{})
	})
	if err != nil {
		return err
	}
	e.mute.forget(id)
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
		return false, fmt.Errorf("the container exited%s after the restart", withCode(int64(s.ExitCode)))
	case s.Health == nil || s.Health.Status == container.NoHealthcheck || s.Health.Status == "":
		return watched >= e.settle, nil
	case s.Health.Status == container.Unhealthy:
		return false, errors.New("the container is unhealthy after the restart")
	}
	return s.Health.Status == container.Healthy, nil
}
