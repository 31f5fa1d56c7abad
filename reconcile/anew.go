package reconcile

import (
	"context"
	"path"
	"sync"
	"time"
)

// madeAnew is why a container does not see a place that it mounts.
const madeAnew = "the directory was made anew since the container started"

// started asks when containers started that may be older than the directory they mount.
func (o *observer) started(ctx context.Context) {
	ask, since := map[string]Container{}, map[string]time.Time{}
	for i := range o.s.Bindings {
		b := &o.s.Bindings[i]
		at, _, _ := o.locate(b)
		for _, l := range at {
			for _, c := range l.containers {
				born := o.w.Places[l.at].Born
				// An engine gives whole seconds. One that makes the directory does so as it starts the container.
				if c.Running() && mountsItself(c, l.at) && c.Created.Before(born.Truncate(time.Second)) {
					ask[c.ID] = c
					if since[c.ID].Before(born) {
						since[c.ID] = born
					}
				}
			}
		}
	}
	var questions []question
	var mu sync.Mutex
	for id, c := range Sorted(ask) {
		questions = append(questions, only(c.Host, "the start of a container", func(ctx context.Context) error {
			at, err := o.p.Engines.Started(ctx, c.Host, id, since[id])
			mu.Lock()
			defer mu.Unlock()
			if err == nil && !at.IsZero() { // whoever cannot be asked is not held to be older
				o.w.Started[id] = at
			}
			return err
		}))
	}
	o.ask(ctx, hostWorkers, questions)
}

// mountsItself reports whether the container mounts the directory of a place: not a file in it, nor one above it, through
// which another directory of its name can be seen.
func mountsItself(c Container, at Location) bool {
	dir := at.physical().Dir
	for _, m := range c.Mounts {
		if m.Type == "bind" && dir != "" && path.Clean(m.Source) == dir {
			return true
		}
	}
	return false
}

// outlived reports whether a running container has what it mounts for itself alone: its directory was deleted, and is not
// there, or is another one by now. A mount holds on to what it led to when the container started.
func (v *view) outlived(c Container, at Location) bool {
	p, looked := v.w.Places[at]
	if !looked || p.Err != "" || !c.Running() || !mountsItself(c, at) {
		return false
	}
	started, known := v.w.Started[c.ID]
	return !p.Exists || known && started.Before(p.Born)
}

// anew says why a container that outlived what it mounts does not see its files, and what helps: a restart, once there are any.
func (v *view) anew(c Container, at Location) (why, hint string) {
	if !v.w.Places[at].Exists {
		return "the directory that it was started with is gone", "run `certwright apply`, and then restart " + c.Name
	}
	return madeAnew, "restart " + c.Name
}

// wantsRestart refuses a binding of which a container needs a restart that its ladder has not.
func (d *differ) wantsRestart(in loading) {
	why, hint := d.anew(in.c, in.l.at)
	d.refuse(Stale, "binding/"+in.b.Name, in.c.Name+" does not see its files: "+why, hint)
}
