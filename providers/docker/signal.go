package docker

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/certwright/certwright/reconcile"
)

// signals are those that may be sent: the ones that some server takes as the request to read its files again.
var signals = map[string]syscall.Signal{"HUP": syscall.SIGHUP, "USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2}

// signal sends a signal to the container's first process, and is an error if the container exits on it: some
// entry points end on any signal they do not know, and a restart policy would hide it.
func (e *Engine) signal(ctx context.Context, id, signal string) error {
	if _, ok := signals[signal]; !ok {
		return fmt.Errorf("signal %q is not one of HUP, USR1 and USR2", signal)
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
	if err := e.send(ctx, id, signal); err != nil {
		return err
	}
	select {
	case r := <-exited:
		return fmt.Errorf("%w%s%s", reconcile.ErrExited, withCode(r.StatusCode), e.lastWords(ctx, id))
	case err := <-failed:
		return fmt.Errorf("whether it survived is unknown: %w", err)
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(e.settle):
		return nil
	}
}

// withCode is the code of a container that exited, unless it is zero, as it also is where the container was started again before
// the engine was asked.
func withCode(code int64) string {
	if code == 0 {
		return ""
	}
	return fmt.Sprint(" with code ", code)
}

// send sends the signal through a courier among the processes of the container where the engine would take one of its own for
// the wish to stop it, and through the engine otherwise, also where no courier can be had: a server that goes on with the old
// certificate is worse.
func (e *Engine) send(ctx context.Context, id, signal string) error {
	if !e.o.LookOnly {
		asking, cancel := limited(ctx, answerTimeout)
		c, err := e.cli.ContainerInspect(asking, id)
		cancel()
		if err == nil && disarms(c, signal) && e.sendInside(ctx, id, signal) == nil {
			return nil
		}
	}
	return e.o.Around.Do("POST /containers/{id}/kill", func() error {
		ctx, cancel := limited(ctx, answerTimeout)
		defer cancel()
		return e.cli.ContainerKill(ctx, id, signal)
	})
}

// disarms reports whether the engine no longer keeps a container running once it was asked to send it the signal, and whether
// its first process is number one to a courier. A container that is to run unless stopped counts as stopped after any signal,
// and one that names no stop signal is not restarted again whatever its policy (moby 41302 and 11065, measured with 20.10.24);
// both last until it is started again.
func disarms(c container.InspectResponse, signal string) bool {
	if c.ContainerJSONBase == nil || c.HostConfig == nil || c.Config == nil || c.HostConfig.PidMode != "" {
		return false
	}
	switch c.HostConfig.RestartPolicy.Name {
	case container.RestartPolicyUnlessStopped:
		return true
	case container.RestartPolicyAlways, container.RestartPolicyOnFailure:
		stop := strings.TrimPrefix(strings.ToUpper(c.Config.StopSignal), "SIG")
		return stop == "" || stop == signal || stop == strconv.Itoa(int(signals[signal]))
	}
	return false
}

// sendInside has a courier send the signal.
func (e *Engine) sendInside(ctx context.Context, id, signal string) error {
	s, err := e.hire(ctx, job{args: []string{"signal", signal}, network: "none", processes: "container:" + id})
	if err != nil {
		return err
	}
	defer s.Close()
	_, err = s.outcome(ctx)
	return err
}

// ServeSignal is the courier's side of a signal: it sends it to the first process of the container that it shares the
// processes of, and says on stdout whether that was done. It is what `certwright courier signal NAME` runs.
func ServeSignal(signal string, stdout io.Writer) error {
	number, ok := signals[signal]
	if !ok {
		return fmt.Errorf("signal %q is not one of HUP, USR1 and USR2", signal)
	}
	var answer outcome
	if err := syscall.Kill(1, number); err != nil {
		answer.Error = err.Error()
	}
	return writeFrame(stdout, answer)
}
