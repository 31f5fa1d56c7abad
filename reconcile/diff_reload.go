package reconcile

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/spec"
)

// loading is the question what one container has to do to have loaded what is placed.
type loading struct {
	b      *spec.Binding
	l      located
	c      Container
	unit   Fingerprint
	wrote  time.Time // when the place was last written
	m      material
	placed int // the step of this plan that writes the place, or 0
}

// load plans the next rung of the ladder for one container, if it needs one. prev is the binding's reload before
// it: replicas take their turn, and one that fails stops the wave.
func (d *differ) load(in loading, prev int) int {
	reason, fault := d.unloaded(in)
	if fault != nil {
		d.refuse(fault.State, "binding/"+in.b.Name, fault.Reason, fault.Hint)
		return prev
	}
	outlived := d.outlived(in.c, in.l.at)
	if reason == "" {
		if outlived {
			d.wantsRestart(in)
		}
		return prev
	}
	rungs := ladder(in.b, in.c)
	load := d.w.State.Loads[TargetKey(in.b.Name, in.c)]
	rung := 0
	// The longer its files are there, the longer it can wait: twice as long each time.
	wait := min(max(load.At.Sub(in.wrote), firstRetry), lastRetry)
	if in.placed == 0 && load.of(in) && !load.Proved && d.lately(load, wait) {
		rung = load.Rung + 1
	}
	if outlived { // and so nothing else is of use
		for rung < len(rungs) && !rungs[rung].Restart {
			rung++
		}
	}
	if rung >= len(rungs) && outlived {
		d.wantsRestart(in)
		return prev
	}
	if rung >= len(rungs) {
		d.refuseUntil(d.again(load, wait), Stale, "binding/"+in.b.Name, d.cause(in, load), remedy(in.l, in.c, rungs))
		return prev
	}
	how := rungs[rung]
	if how.None && !d.visible(in) {
		return prev
	}
	if how.Restart && !mounts(in.c, in.l.at) && !in.l.files {
		d.refuse(Stale, "binding/"+in.b.Name, fmt.Sprintf("%s does not mount %s, and a restart would not change that", in.c.Name, in.l.at), mountHint)
		return prev
	}
	if !how.None && d.halted(in) || how.Restart && d.restartsSpent(in.b) {
		return prev
	}
	target := Target{Host: in.c.Host, Kind: kindContainer, Name: in.c.Name, ID: in.c.ID}
	return d.step(Reload{Binding: in.b.Name, Target: target, Rung: rung, How: how}, reason, in.placed, prev)
}

// halted reports whether another replica did not survive its reload: what broke one may break all, so the others
// keep serving what they have until that one is well again, or is tried again first.
func (d *differ) halted(in loading) bool {
	if d.broken(in, in.c) {
		return false
	}
	for _, c := range d.consumers(in.b) {
		retried := slices.ContainsFunc(d.plan.Steps, func(s Step) bool {
			r, is := s.Action.(Reload)
			return is && r.Binding == in.b.Name && r.Target.ID == c.ID
		})
		if !retried && d.broken(in, c) {
			return true
		}
	}
	return false
}

// broken reports whether the last thing done to a container was a restart that did not bring the wanted certificate, or
// any rung with the files of now after which it is silent.
func (d *differ) broken(in loading, c Container) bool {
	load := d.w.State.Loads[TargetKey(in.b.Name, c)]
	rungs := ladder(in.b, c)
	if load.Target != c.ID || load.Error == "" || load.Rung >= len(rungs) {
		return false
	}
	served := d.w.Served[TargetKey(in.b.Name, c)]
	if load.Unit == in.unit && (!c.Running() || served.Err != "") {
		return true
	}
	return rungs[load.Rung].Restart && (in.m.issued == nil || served.Serial != in.m.issued.Serial)
}

// of reports whether the record is about this container and what is placed now.
func (l Load) of(in loading) bool { return l.Target == in.c.ID && l.Unit == in.unit }

// spoiled reports whether the container was made to load files that did not do, runs on, and has other files by now: then it
// is no process that is still starting, and what silenced it may be over.
func (l Load) spoiled(in loading) bool {
	return l.Target == in.c.ID && l.Error != "" && in.c.Running() && (in.placed != 0 || l.Unit != in.unit)
}

// visible reports whether the wire can show what the container has loaded.
func (d *differ) visible(in loading) bool {
	served, probed := d.w.Served[TargetKey(in.b.Name, in.c)]
	return probed && in.m.issued != nil && !served.Unreachable
}

// unloaded says why the container has to load what is placed, "" if it has, or what is wrong that loading
// cannot mend. It is derived from what is seen, so that a lost signal is sent again.
func (d *differ) unloaded(in loading) (string, *Refusal) {
	load := d.w.State.Loads[TargetKey(in.b.Name, in.c)]
	if !d.visible(in) {
		return d.unloadedUnseen(in, load), nil
	}
	served := d.w.Served[TargetKey(in.b.Name, in.c)]
	switch {
	case served.Err != "" && in.c.Health == "starting":
		return "", &Refusal{State: Waiting, Reason: in.c.Name + " is starting"}
	case served.Err != "" && load.spoiled(in):
		return "its last files did it no good", nil
	case served.Err != "" && in.placed != 0:
		// Nobody listens: a signal could end a process that is still starting. The next pass looks again.
		return "", nil
	case served.Err != "" && d.crashing(in.b, in.l.at, in.c):
		return "", nil // absent says so
	case served.Err != "":
		return "", d.silentIn(in, served)
	case in.placed != 0:
		return "follows its files", nil
	case served.Serial != in.m.issued.Serial:
		return "not reloaded", nil
	case load.Target == in.c.ID && load.Unit != in.unit && (!in.m.issued.IssuedAt.After(load.At) || in.wrote.After(in.m.issued.IssuedAt)):
		// A certificate newer than the last load would prove another load since, as of a container started again; but not
		// of files that were written later than it.
		return "not reloaded since its files changed", nil
	case load.of(in) && !load.Proved && load.Served == in.m.issued.Serial:
		// It served this certificate before the rung, too: nothing shows that it has the rest of its files.
		return "not reloaded since its files changed", nil
	}
	return "", d.fault(in.b, in.c, served)
}

// silent says that a server shows nothing on the wire, and where to look.
func silent(b *spec.Binding, c Container, s Served) *Refusal {
	r := &Refusal{
		State: Failed, Reason: fmt.Sprintf("%s does not answer on port %d: %s", c.Name, b.Probe.Port, s.Err),
		Hint: "look at its logs, and whether the probe has the port and protocol of the server",
	}
	if strings.Contains(s.Err, "no answer") { // it takes connections, and hangs
		r.Hint += "; or restart it"
	}
	return r
}

// silentIn is silent for a container that may not even see its files.
func (d *differ) silentIn(in loading, s Served) *Refusal {
	r := silent(in.b, in.c, s)
	if d.outlived(in.c, in.l.at) {
		why, hint := d.anew(in.c, in.l.at)
		r.Reason, r.Hint = why+": "+r.Reason, hint
	}
	if !mounts(in.c, in.l.at) {
		r.Reason = fmt.Sprintf("%s does not mount %s, and does not answer on port %d: %s", in.c.Name, in.l.at, in.b.Probe.Port, s.Err)
		r.Hint = mountHint
	}
	return r
}

// unloadedUnseen is unloaded where nothing shows: what was recorded must do.
func (d *differ) unloadedUnseen(in loading, load Load) string {
	served, probed := d.w.Served[TargetKey(in.b.Name, in.c)]
	switch {
	case in.placed != 0 && in.b.Identity != nil && probed && served.Err != "" && !served.Unreachable:
		// As in unloaded, before the first certificate: what waits for its files ends and is started again by the
		// engine, but no more once it was sent a signal.
		return ""
	case in.placed != 0:
		return "follows its files"
	case load.of(in) && load.Proved:
		return ""
	case in.b.Probe != nil && !d.w.Courier:
		return "" // the wire would tell, and was not fully looked at
	case load.Target != in.c.ID && in.c.Created.After(in.wrote):
		return "" // it was made after its files were: it has them since it started
	}
	return "not reloaded since its files changed"
}

// fault says what is wrong with a server that serves the wanted certificate, or nil.
func (v *view) fault(b *spec.Binding, c Container, s Served) *Refusal {
	no := func(reason, hint string) *Refusal {
		return &Refusal{State: Failed, Reason: c.Name + " " + reason, Hint: hint}
	}
	switch {
	case s.Untrusted != "" && b.Identity != nil && v.early(b.Identity.Name):
		return no("serves the wanted certificate, but a client would refuse it: "+s.Untrusted, setClock(b.Identity.Name))
	case s.Untrusted != "":
		return no("serves the wanted certificate, but a client would refuse it: "+s.Untrusted,
			"compare the identity's names, the probe's serverName, the chain that the server sends and the binding's trust")
	case b.Probe.ClientAuth == spec.ClientAuthRequired && s.Without == LetIn:
		return no("lets clients in without a certificate", "make the server require one, or drop clientAuth from the probe")
	case b.Probe.ClientAuth != spec.ClientAuthNone && s.Foreign == LetIn:
		return no("lets in clients with a certificate of a foreign CA", "make the server verify client certificates against the binding's ca file")
	case s.Accepted == Refused && v.clientEnded(b):
		return &Refusal{
			State: Failed, Reason: "the probe's client certificate (identity " + b.Probe.Identity.Name + ") has ended", Hint: "run `certwright apply`",
		}
	case s.Accepted == Refused && b.Probe.User != "":
		return no("refuses the client certificate it should accept",
			"`certwright verify` shows its answer: make it verify client certificates against the binding's ca file, and let the user "+b.Probe.User+" of the probe in with them")
	case s.Accepted == Refused:
		return no("refuses the client certificate it should accept", "make the server verify client certificates against the binding's ca file")
	}
	return nil
}

// early reports whether the certificate of an identity is not valid yet, by the clock of this machine.
func (v *view) early(identity string) bool {
	i, ok := v.issued(identity, v.w.State)
	return ok && v.w.Now.Before(i.NotBefore)
}

// clientEnded reports whether the identity that a binding's probe knocks as has a certificate that ended.
func (v *view) clientEnded(b *spec.Binding) bool {
	if b.Probe.Identity == nil {
		return false
	}
	i, ok := v.issued(b.Probe.Identity.Name, v.w.State)
	return ok && !v.w.Now.Before(i.NotAfter)
}

// cause names the layer at which a ladder that is used up did not help.
func (d *differ) cause(in loading, load Load) string {
	served := d.w.Served[TargetKey(in.b.Name, in.c)].Serial
	if !d.visible(in) || served == in.m.issued.Serial {
		return fmt.Sprintf("%s could not be reloaded: %s", in.c.Name, load.Error)
	}
	what := fmt.Sprintf("%s serves %s, not %s", in.c.Name, served, in.m.issued.Serial)
	switch {
	case in.l.files:
		return "stale file mount: " + what
	case !mounts(in.c, in.l.at):
		return fmt.Sprintf("%s does not mount %s: %s", in.c.Name, in.l.at, what)
	case load.Error != "":
		return "not reloaded: " + what + " (" + load.Error + ")"
	}
	return "not reloaded: " + what
}

const mountHint = "mount it: `certwright compose` prints how"

// remedy is what may help where a ladder did not.
func remedy(l located, c Container, rungs []spec.Reload) string {
	switch {
	case l.files:
		return "mount the directory instead of single files; a restart of the container shows it the new ones"
	case !mounts(c, l.at):
		return mountHint
	case len(rungs) > 0 && rungs[len(rungs)-1].None:
		word := "restart"
		if p, ok := presetOf(c); ok {
			word = p.Name
		}
		return "nothing tells it of its files: let `reload: " + word + "` do so"
	case len(rungs) > 0 && !rungs[len(rungs)-1].Restart:
		return "look at its logs (`docker logs " + c.Name + "`): it may have refused the files or its configuration, or `reload` may not fit it; " +
			"if it is well and takes them up by nothing else, `reload: [" + rungs[0].Word() + ", restart]`"
	}
	return "look at the server's logs and configuration: it may have refused the new files, or name others"
}

// mounts reports whether the container sees the place.
func mounts(c Container, at Location) bool {
	if at.Container != "" {
		return at.Container == c.ID
	}
	return mountedAt(c, at) != ""
}

// mountedAt is where in the container the place, or what it is in, is mounted; "" if it is not.
func mountedAt(c Container, at Location) string {
	for _, m := range c.Mounts {
		if at.Volume != "" && m.Name == at.Volume {
			return m.Destination
		}
		if p := at.physical().Dir; p != "" && m.Type == "bind" && (within(p, m.Source) || within(m.Source, p)) {
			return m.Destination
		}
	}
	return ""
}

// restartsSpent reports whether the binding has used up its restarts of this hour, and plans the next look.
func (d *differ) restartsSpent(b *spec.Binding) bool {
	n, first := 0, time.Time{}
	for key, l := range d.w.State.Loads {
		if l.Binding != b.Name || d.serves(b, key) {
			continue
		}
		for _, t := range l.Restarts {
			if d.w.Now.Sub(t) < time.Hour {
				n++
				if first.IsZero() || t.Before(first) {
					first = t
				}
			}
		}
	}
	switch {
	case n < b.Limits.RestartsPerHour:
		return false
	case n == 0:
		d.refuse(Stale, "binding/"+b.Name, "it has to be restarted, and restartsPerHour is 0", "restart it, or raise the limit")
		return true
	}
	again := first.Add(time.Hour)
	d.refuseUntil(again, Stale, "binding/"+b.Name, fmt.Sprintf("%d restarts within an hour did not bring the wanted certificate", n),
		"look at the server's logs; certwright restarts it again after "+stamp(again))
	return true
}

// serves reports whether the wire shows that a target has what it should, whatever the records say of it.
func (d *differ) serves(b *spec.Binding, key string) bool {
	if b.Identity == nil {
		return false
	}
	i, ok := d.issued(b.Identity.Name, d.w.State)
	return ok && d.w.Served[key].Serial == i.Serial
}
