package docker

import (
	"context"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"

	"github.com/certwright/certwright/reconcile"
)

// heard are the events after which something may have to be done. Signals to a container and commands run in it, also
// those of health checks, are not among them.
var heard = []string{"create", "start", "die", "destroy", "health_status", "update", "remove"}

// Events calls say with a word for each event of the engine after which something may have to be done, until ctx ends.
// Those of couriers are left out. It connects again when it was cut off, less and less often while nothing comes, and says
// so: what happened in between is not known. One that refuses to tell is asked again every five minutes, in silence.
func (e *Engine) Events(ctx context.Context, say func(what string)) {
	if e.err != nil {
		return
	}
	args := filters.NewArgs()
	for _, of := range []events.Type{events.ContainerEventType, events.ServiceEventType, events.NodeEventType, events.SecretEventType, events.ConfigEventType} {
		args.Add("type", string(of))
	}
	for _, h := range heard {
		args.Add("event", h)
	}
	const first, last = time.Second, 5 * time.Minute
	for wait := first; ctx.Err() == nil; wait = min(2*wait, last) {
		refused := false
		messages, failed := e.cli.Events(ctx, events.ListOptions{Filters: args})
		for connected := true; connected; {
			select {
			case m := <-messages:
				wait = first
				if m.Action == events.ActionStart {
					e.mute.forget(m.Actor.ID)
				}
				if what := e.word(m); what != "" {
					say(what)
				}
			case err := <-failed:
				connected = false
				if errdefs.IsPermissionDenied(err) {
					// Nothing has happened to the engine, and every pass looks at everything all the same.
					wait, refused = last, true
				} else {
					e.anew()
				}
			}
		}
		if e.back(ctx, wait) && !refused {
			say("engine is back")
		}
	}
}

// word is what is said of an event; "" for one of a courier, or of a config that is of no binding, like those of the store.
func (e *Engine) word(m events.Message) string {
	switch {
	case m.Actor.Attributes[labelCourier] != "", m.Type == events.ServiceEventType && strings.HasPrefix(m.Actor.Attributes["name"], courierName):
		return ""
	case m.Type == events.ConfigEventType && !strings.HasPrefix(m.Actor.Attributes["name"], reconcile.ConfigNames(e.o.Project)):
		return ""
	}
	return string(m.Type) + " " + string(m.Action)
}

// back asks the engine again and again, after a time and then less and less often, until it answers.
func (e *Engine) back(ctx context.Context, wait time.Duration) bool {
	const seldom = 10 * time.Second
	for ; ; wait = max(wait, min(2*wait, seldom)) {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(wait):
		}
		asking, cancel := limited(ctx, answerTimeout)
		_, err := e.cli.Ping(asking)
		cancel()
		if err == nil {
			return true
		}
	}
}
