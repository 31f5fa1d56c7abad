package reconcile

import (
	"slices"
	"time"

	"github.com/certwright/certwright/spec"
)

// absent says what a binding waits for that has its files in place already.
func (d *differ) absent(b *spec.Binding, at []located) {
	if b.Consumer == nil {
		return
	}
	var all []Container
	for _, l := range at {
		all = append(all, l.containers...)
	}
	if e := d.w.Engines[b.Host.Name]; e.Err != "" {
		r := unanswered(b, "engine", e.Err)
		d.refuse(r.State, "binding/"+b.Name, r.Reason, "")
		return
	}
	if len(all) == 0 {
		d.refuse(Waiting, "binding/"+b.Name, "waits for "+b.Consumer.String(), "there is no such container: create and start it, or correct the binding")
		return
	}
	state, reason, hint := Waiting, "", "start the container"
	for _, c := range all {
		crashing := d.crashing(b, at[0].at, c)
		if c.Running() && !crashing {
			continue
		}
		load := d.w.State.Loads[TargetKey(b.Name, c)]
		how, told := d.w.Endings[c.ID]
		if load.Error != "" && d.w.Now.Sub(load.At) < time.Hour {
			// It was not stopped by a person: it is down since certwright touched it.
			state, reason = Failed, c.Name+" is not running ("+c.State+"): its last reload failed: "+load.Error
			if crashing {
				reason = c.Name + " ends again and again: its last reload failed: " + load.Error
			}
			hint = "`docker logs " + c.Name + "` has what it said last: mend that, and start it"
			if signal, rung := d.fatal(b, c); signal != "" {
				hint = signal + " ends it: let " + insteadOf(rung, c) + " be its way, and start it; `docker logs " + c.Name + "` has what it said last"
			}
			if len(all) > 1 {
				hint += "; no other replica is reloaded until it runs again"
			}
			break
		}
		if crashing {
			state, reason = Failed, c.Name+" ends again and again, although its files are there since "+stamp(d.w.State.Places[at[0].at].At)
			hint = "look at its logs"
			break
		}
		early := told && !how.Stopped && d.w.State.Places[at[0].at].waited(how)
		if told && how.fault() && !early {
			state, reason, hint = Failed, c.Name+" is not running ("+c.State+"): "+how.words(), how.remedy(c)
			break
		}
		switch c.State {
		case "paused":
			hint = "unpause the container"
		case "restarting": // the engine starts it by itself
			hint = "look at its logs"
		}
		if reason == "" {
			reason = c.Name + " is not running (" + c.State + ")"
			if told {
				reason += ": " + how.words()
			}
			if early {
				reason += ", before it had its files"
			}
			if i := slices.IndexFunc(at, func(l located) bool { return mounts(c, l.at) }); i < 0 {
				reason += ", and does not mount " + at[0].at.String()
				hint = "mount it (`certwright compose` prints how), and start the container"
			}
		}
	}
	if reason != "" {
		d.refuse(state, "binding/"+b.Name, reason, hint)
	}
}
