package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// systemd is told how watch stands, if systemd started it as a service of Type=notify (sd_notify(3)); else nobody is.
//
// That watch is alive is said by its loop, and by no ticker beside it: while it waits, once a minute at least; while it
// makes a pass, when that begins, after each probe, and when a step begins, tells something or ends. Whatever lies between two of
// these has a bound, and patience is more than the longest. So a pass may take hours as long as it gets on, and one that
// hangs ends in a restart.
type systemd struct {
	least    time.Duration // of patience
	patience time.Duration
	hungUp   atomic.Bool // SIGHUP came, and no pass has begun since
}

// leastPatience is half as much again as an update of a service, or a rotation of a Swarm's root, may take.
const leastPatience = 15 * time.Minute

// expect sets the patience with passes over a spec: half as much again as the longest that one thing in it may take. A
// probe is up to four handshakes.
func (d *systemd) expect(s *spec.Spec) {
	longest := d.least * 2 / 3
	for _, b := range s.Bindings {
		if b.Probe != nil {
			longest = max(longest, 4*b.Probe.Timeout)
		}
		for _, rung := range b.Reload {
			longest = max(longest, rung.Timeout)
		}
	}
	d.patience = longest * 3 / 2
}

// pass tells of each pass: that watch is ready after the first one, and in a line how it stands after every one.
func (d *systemd) pass(pass func(ctx context.Context, why string) (time.Time, bool), standing func() string) func(context.Context, string) (time.Time, bool) {
	return func(ctx context.Context, why string) (time.Time, bool) {
		if d.hungUp.Swap(false) {
			d.tell(daemon.SdNotifyReloading, daemon.SdNotifyMonotonicUsec())
		}
		d.busy()
		next, ok := pass(ctx, why)
		if ctx.Err() == nil {
			line, _, _ := strings.Cut(standing(), "\n")
			d.tell(daemon.SdNotifyReady, "STATUS="+line)
		}
		return next, ok
	}
}

// busy says that a pass gets on. Until it does so again, systemd waits as long as patience, whether for the start of the
// service or for its watchdog.
func (d *systemd) busy() { d.tell(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", d.patience.Microseconds())) }

// idle says that watch waits, and turns round.
func (d *systemd) idle() { d.tell(daemon.SdNotifyWatchdog) }

func (d *systemd) stopping() { d.tell(daemon.SdNotifyStopping) }

// standing says in a line how watch stands.
func (w *watching) standing() string {
	if bad := w.said["spec"]; bad != "" {
		return "the last good spec is in force: " + bad
	}
	return w.stands
}

// inALine counts bindings by their state.
func inALine(status reconcile.Status) string {
	by := map[string]int{}
	for _, b := range status.Bindings {
		by[string(b.State)]++
	}
	var parts []string
	for state, n := range reconcile.Sorted(by) {
		parts = append(parts, fmt.Sprint(n, " ", state))
	}
	return fmt.Sprintf("%s: %s", count(len(status.Bindings), "binding", "bindings"), cmp.Or(strings.Join(parts, ", "), "nothing to do"))
}

// tell sends a message. What cannot be sent is lost: watch goes on all the same, and systemd does what it does without.
func (*systemd) tell(lines ...string) { _, _ = daemon.SdNotify(false, strings.Join(lines, "\n")) }

// heard lets it be known when a probe is over.
type heard struct {
	reconcile.Prober
	over func()
}

// Probe implements reconcile.Prober.
func (h heard) Probe(ctx context.Context, r reconcile.ProbeRequest) reconcile.Served {
	defer h.over()
	return h.Prober.Probe(ctx, r)
}
