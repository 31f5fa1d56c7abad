package docker

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"

	"github.com/certwright/certwright/reconcile"
)

var (
	exited = regexp.MustCompile(`^(?:Exited|Restarting) \((\d+)\)`)
	// An engine holds what runs for ten seconds for up: it then counts from one again when that ends.
	anew = regexp.MustCompile(`^Up (Less than a|\d) second`)
)

// exitCode reads the code out of a status such as "Exited (137) 3 minutes ago" or "Restarting (1) 3 seconds ago", the only place where the list has it.
func exitCode(status string) int {
	m := exited.FindStringSubmatch(status)
	if m == nil {
		return 0
	}
	code, err := strconv.Atoi(m[1])
	if err != nil {
		return 0
	}
	return code
}

// Ending is how a container that exited did. Whether a person stopped it, an engine knows and does not say: that shows by its
// restart policy, and by the engine's last events, as long as it has them.
func (e *Engine) Ending(ctx context.Context, id string) (reconcile.Ending, error) {
	ctx, cancel := limited(ctx, answerTimeout)
	defer cancel()
	c, err := e.cli.ContainerInspect(ctx, id)
	if err != nil {
		return reconcile.Ending{}, fmt.Errorf("end of container %s: %w", id, err)
	}
	if c.ContainerJSONBase == nil || c.State == nil || c.HostConfig == nil || c.Config == nil {
		return reconcile.Ending{}, fmt.Errorf("the engine says nothing about the state of container %s", id)
	}
	at, err := time.Parse(time.RFC3339Nano, c.State.FinishedAt)
	if err != nil {
		return reconcile.Ending{}, fmt.Errorf("end of container %s: %w", id, err)
	}
	if at.IsZero() { // it was never started
		return reconcile.Ending{Code: c.State.ExitCode, Error: c.State.Error}, nil
	}
	if c.State.Restarting || c.State.Running {
		again := reconcile.Ending{Code: c.State.ExitCode, At: at, Again: c.State.Restarting || c.RestartCount > 0, StopSignal: c.Config.StopSignal}
		if c.State.Restarting {
			if again.Began, err = time.Parse(time.RFC3339Nano, c.State.StartedAt); err != nil {
				return reconcile.Ending{}, fmt.Errorf("start of container %s: %w", id, err)
			}
		}
		return again, nil
	}
	policy := c.HostConfig.RestartPolicy.Name
	ending := reconcile.Ending{Code: c.State.ExitCode, At: at, OOM: c.State.OOMKilled, Error: c.State.Error, StopSignal: c.Config.StopSignal}
	stopped, reloaded := e.sent(ctx, c, at.Add(afterwards))
	kept := policy == container.RestartPolicyAlways || policy == container.RestartPolicyUnlessStopped
	ending.Stopped = stopped || kept && !reloaded // after any signal an engine may not start it again whatever its policy: see disarms
	return ending, nil
}

// afterwards is how long after its effect an engine may say that it sent a signal.
const afterwards = time.Second

// sent reports whether the engine remembers that it stopped a container since its start, and whether it sent it a signal to reload. One
// that does not tell, as where a proxy refuses it, remembers nothing.
func (e *Engine) sent(ctx context.Context, c container.InspectResponse, until time.Time) (stop, reload bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	own := strings.TrimPrefix(strings.ToUpper(c.Config.StopSignal), "SIG")
	messages, failed := e.cli.Events(ctx, events.ListOptions{
		Since: c.State.StartedAt, Until: until.Format(time.RFC3339Nano),
		Filters: filters.NewArgs(filters.Arg("container", c.ID), filters.Arg("event", string(events.ActionKill)), filters.Arg("event", string(events.ActionStop))),
	})
	for {
		select {
		case m := <-messages:
			stop = stop || m.Action == events.ActionStop
			n, err := strconv.Atoi(m.Actor.Attributes["signal"])
			if err != nil {
				continue
			}
			stop = stop || stops[syscall.Signal(n)]
			for name, number := range signals {
				reload = reload || int(number) == n && own != name && own != strconv.Itoa(n)
			}
		case <-failed: // at the end, too
			return stop, reload
		}
	}
}

// stops are the signals that containers are stopped with. One that its image names besides shows by its code.
var stops = map[syscall.Signal]bool{syscall.SIGTERM: true, syscall.SIGKILL: true, syscall.SIGINT: true, syscall.SIGQUIT: true}
