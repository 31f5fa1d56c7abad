package reconcile

import (
	"strings"

	"github.com/certwright/certwright/spec"
)

// fatal is the signal that ended a container when it was made to load its files the last time, and the rung it was of; "" if none
// did.
func (v *view) fatal(b *spec.Binding, c Container) (signal string, rung spec.Reload) {
	load, rungs := v.w.State.Loads[TargetKey(b.Name, c)], ladder(b, c)
	if load.Target != c.ID || load.Error == "" || load.Rung >= len(rungs) {
		return "", rung
	}
	rung = rungs[load.Rung]
	signal = rung.Signal
	if p, ok := spec.PresetNamed(rung.Preset); ok {
		signal = p.Act.Signal
	}
	if !strings.Contains(load.Error, ErrExited.Error()) && (c.Running() || endedBy[v.w.Endings[c.ID].Code] != signal) {
		return "", rung
	}
	return signal, rung
}

// insteadOf is what to give a container that a rung ends, as `reload` has it.
func insteadOf(rung spec.Reload, c Container) string {
	if p, ok := presetOf(c); ok && p.Name != rung.Preset && p.Act.Signal != rung.Signal {
		return "`reload: " + p.Name + "`"
	}
	return "`reload: restart`, or what has it read its files"
}
