package reconcile

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/spec"
)

// engineRetry is how long watch waits before it restarts dockerd again with what it did not take up: each try ends what runs
// on it twice.
const engineRetry = time.Hour

// engine plans the files of an engine, and its restart.
func (d *differ) engine(b *spec.Binding, w want, pending []int) {
	subject := "binding/" + b.Name
	for _, l := range w.at {
		if d.taken(b, l.at) {
			return
		}
	}
	s := d.w.Daemons[b.Host.Name]
	using := s.TLS == w.at[0].at.tls()
	if using && d.settle(b, w) {
		return
	}
	to := 0
	// The way back needs the files that it leads to as they are.
	if keep := !s.Unfinished || s.TLS == s.Before.TLS; using && keep && (len(pending) > 0 || d.w.State.Places[w.at[0].at].Wrote != w.units[0]) {
		to = 1
	}
	_, why, refused := s.wants(b.Place.Engine, w.at[to].at)
	switch {
	case refused != nil:
		d.unresolved[b.Name] = true
		d.refuse(Blocked, subject, refused.Reason, refused.Hint)
		return
	case !s.Active && !s.Unfinished:
		d.unresolved[b.Name] = true
		d.refuse(Waiting, subject, "waits for the engine: "+s.Unit+" does not run", "start it")
		return
	}
	if why = d.restartReason(b, w, to, why, pending); why != "" && !b.Place.Engine.AllowRestart {
		d.unresolved[b.Name] = true
		d.refuse(Blocked, subject, "dockerd has to be restarted, and allowRestart is not set: "+why,
			"set `allowRestart: true`: the plan then says what the restart ends")
		return
	}
	if why != "" || s.Unfinished { // the way back leads to the other
		d.keep(b, w.at)
	}
	placed := d.place(b, w, to, pending, 0)
	if why == "" || d.held[subject].Reason != "" {
		return
	}
	d.restartEngine(b, w, to, why, append(d.clients(b), placed))
}

// settle plans that the way back is given up, if a restart was cut off and all it was to bring is proved by now. What else is
// to be done waits for that: its way back leads to what is proved, and not to what was there before.
func (d *differ) settle(b *spec.Binding, w want) bool {
	s := d.w.Daemons[b.Host.Name]
	served, probed := d.w.Served[TargetKey(b.Name, d.daemon(b))]
	if !s.Unfinished || !s.Active || s.Unread || !probed || w.m.issued == nil || served.Err != "" ||
		served.Serial != w.m.issued.Serial || d.fault(b, d.daemon(b), served) != nil {
		return false
	}
	d.keep(b, w.at)
	d.step(Settle{Binding: b.Name, Host: b.Host.Name, Unit: s.Unit}, "a restart was cut off, and what it led to is proved")
	return true
}

// restartReason is why dockerd has to be restarted, "" if it has not.
func (d *differ) restartReason(b *spec.Binding, w want, to int, config string, pending []int) string {
	served, probed := d.w.Served[TargetKey(b.Name, d.daemon(b))]
	switch {
	case d.cutOff(b):
		return "a restart was cut off"
	case config != "" && to == 1 && len(pending) > 0:
		return "follows its certificate"
	case config != "":
		return config
	case d.w.Daemons[b.Host.Name].Unread:
		return "a restart was cut off"
	case !probed || w.m.issued == nil:
		return ""
	case served.Err != "":
		return "it does not answer as it is configured: " + served.Err
	case served.Serial != w.m.issued.Serial:
		return "not restarted since its files changed"
	}
	if fault := d.fault(b, d.daemon(b), served); fault != nil {
		return fault.Reason
	}
	return ""
}

func (d *differ) cutOff(b *spec.Binding) bool { return d.w.Daemons[b.Host.Name].cutOff() }

// restartEngine plans the restart, unless it was tried, or too often.
func (d *differ) restartEngine(b *spec.Binding, w want, to int, why string, after []int) {
	subject := "binding/" + b.Name
	c := d.daemon(b)
	load := d.w.State.Loads[TargetKey(b.Name, c)]
	wait, down := engineRetry, d.cutOff(b)
	if down {
		wait = firstRetry
	}
	if load.Error != "" && load.Unit == engineUnit(w.units[to], b.Place.Engine) && d.lately(load, wait) {
		d.refuseUntil(d.again(load, wait), Failed, subject, "dockerd did not take up its new configuration, and has the one of before: "+load.Error,
			"look at the log of "+c.Name+"; `certwright apply` tries again")
		return
	}
	if !down && d.restartsSpent(b) { // what is down since certwright restarted it is not left so
		return
	}
	if n := d.ended(b.Host.Name); n > 0 {
		why += fmt.Sprintf("; it ends %d running containers (live-restore is off)", n)
	}
	target := Target{Host: b.Host.Name, Kind: kindEngine, Name: c.Name, ID: engineID}
	d.step(Reload{Binding: b.Name, Target: target, How: spec.Reload{Restart: true}, At: w.at[to].at}, why, after...)
}

// ended is how many containers end with their engine.
func (d *differ) ended(host string) (n int) {
	if d.w.Daemons[host].Live {
		return 0
	}
	for _, c := range d.w.Engines[host].Containers {
		if c.Running() {
			n++
		}
	}
	return n
}

// clients are the steps that place what the engine's clients have: they trust what is new before it drops the old.
func (d *differ) clients(b *spec.Binding) []int {
	var steps []int
	for _, s := range d.plan.Steps {
		p, is := s.Action.(Place)
		if is && d.bindings[p.Binding].Place.Context != nil && d.leads(d.bindings[p.Binding].Place.Context, b) {
			steps = append(steps, s.ID)
		}
	}
	return steps
}

// leads reports whether a context is of the engine of a binding: by one of its names, or the loopback's, to one of its ports.
func (d *differ) leads(c *spec.Context, b *spec.Binding) bool {
	to, err := url.Parse(c.Endpoint)
	if err != nil {
		return false
	}
	port := slices.ContainsFunc(b.Place.Engine.Listen, func(l string) bool { return strings.HasSuffix(l, ":"+to.Port()) })
	id := d.ids[b.Identity.Name]
	named := slices.ContainsFunc(id.Names, func(n spec.Name) bool { return n.Value == strings.ToLower(to.Hostname()) })
	ip := net.ParseIP(to.Hostname())
	here := b.Host.Name == spec.LocalHost && (ip != nil && ip.IsLoopback() || to.Hostname() == "localhost")
	return port && (named || here)
}

// engineUnit is what dockerd is made to load: its files, and where it is to listen.
func engineUnit(files Fingerprint, e *spec.EngineTLS) Fingerprint {
	return digest(append([]string{string(files)}, e.Listen...)...)
}
