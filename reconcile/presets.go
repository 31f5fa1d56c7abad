package reconcile

import "github.com/certwright/certwright/spec"

// presetOf is the preset of a container by its image and command, if there is one.
func presetOf(c Container) (spec.Preset, bool) {
	p, known, ok := spec.PresetOfImage(c.Image)
	if !ok || !p.Starts(known, c.Command) {
		return spec.Preset{}, false
	}
	return p, true
}

// ladder is the binding's reload, cheapest rung first. Where the spec has none it is the preset of the container's image; an
// image nobody knows is sent nothing, and nothing is restarted that the spec does not say to restart. A preset that comes to
// a restart, or to nothing, is one.
func ladder(b *spec.Binding, c Container) []spec.Reload {
	if b.ReloadGiven {
		rungs := make([]spec.Reload, len(b.Reload))
		for i, r := range b.Reload {
			rungs[i] = plainly(r)
		}
		return rungs
	}
	if p, ok := presetOf(c); ok && !p.Act.Restart {
		return []spec.Reload{plainly(spec.Reload{Preset: p.Name})}
	}
	return []spec.Reload{{None: true}}
}

func plainly(r spec.Reload) spec.Reload {
	if p, ok := spec.PresetNamed(r.Preset); ok && (p.Act.Restart || p.Act.None) {
		return spec.Reload{Restart: p.Act.Restart, None: p.Act.None, Pos: r.Pos}
	}
	return r
}

// known are the presets of a binding: those its ladder names, or that of the container's image.
func known(b *spec.Binding, c Container) []spec.Preset {
	var all []spec.Preset
	for _, r := range b.Reload {
		if p, ok := spec.PresetNamed(r.Preset); ok && b.ReloadGiven {
			all = append(all, p)
		}
	}
	if p, ok := presetOf(c); ok && !b.ReloadGiven {
		all = append(all, p)
	}
	return all
}

// readerOf names the user in the container who must be able to read the binding's files: the preset's, else ""
// for the one the container runs as.
func readerOf(b *spec.Binding, c Container) string {
	for _, p := range known(b, c) {
		if p.User != "" {
			return p.User
		}
	}
	return ""
}

// protocolOf is the protocol of the binding's probe: as the spec has it, else that of the container's preset. "" is
// TLS at once.
func protocolOf(b *spec.Binding, c Container) string {
	if b.Probe.Protocol != "" {
		return b.Probe.Protocol
	}
	for _, p := range known(b, c) {
		if p.Protocol != "" {
			return p.Protocol
		}
	}
	return ""
}
