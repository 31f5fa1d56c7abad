package reconcile

import (
	"fmt"
	"path/filepath"

	"github.com/certwright/certwright/spec"
)

// physical is the location whoever may name it: a directory of the engine's machine and one of this machine
// are the same when the engine is the local one.
func (l Location) physical() Location {
	if l.Dir != "" {
		l.Dir = filepath.Join(l.Dir, filepath.FromSlash(l.Sub))
		l.Sub = ""
		if l.Host == spec.LocalHost {
			l.Machine = false
		}
	}
	return l
}

// cloned is what helps where two engines are held for one.
const cloned = "if they are two machines made from one image, give each a host name of its own, or have dockerd make itself a new ID: " +
	"stop it, delete engine-id in its data root (/etc/docker/key.json before Docker 23), and start it"

// physical is the location whoever may name it, and by whichever host: two that are one engine have its volumes in common, and the
// directories of its machine; so have all engines of this machine.
func (v *view) physical(l Location) Location {
	if ofThisMachine(l) {
		return l.physical()
	}
	if l.Dir != "" && v.here(l.Host) {
		l.Host = spec.LocalHost
		return l.physical()
	}
	elsewhere := v.w.Engines[l.Host].Elsewhere
	l.Machine = l.Machine || l.OfDaemon()
	l.Host = v.first(l.Host)
	l = l.physical()
	l.Machine = l.Machine || l.Dir != "" && elsewhere
	return l
}

// here reports whether the machine of a host's engine is known to be this one, by any of the engine's names: over ssh and TCP that
// cannot be seen.
func (v *view) here(host string) bool {
	self := v.w.Engines[host].Self
	for _, e := range v.w.Engines {
		if self != "" && e.Self == self && !e.Elsewhere {
			return true
		}
	}
	return false
}

// ofThisMachine reports whether a location is where it is whatever engine its host is.
func ofThisMachine(l Location) bool {
	return l.Volume == "" && l.Container == "" && !l.Machine && (l.Host == spec.LocalHost || !l.OfDaemon())
}

// doubted says that a place may be the one that a binding has now by another host, and what to do: that an engine has two names is not
// found out as long as it does not say by both which it is. It is "" where they are known to be two places.
func (d *differ) doubted(l Location) (why, hint string) {
	for _, host := range d.hosts() {
		for _, machine := range []bool{false, true} {
			now := l
			now.Host, now.Machine = host, machine
			binding, wanted := d.wanted[d.physical(now)]
			if host == l.Host || !wanted {
				continue
			}
			here, silent := host == spec.LocalHost && d.bindings[binding].Place.Directory != "", ""
			switch {
			case d.w.Engines[l.Host].Self == "" && !ofThisMachine(l):
				silent = l.Host
			case d.w.Engines[host].Self == "" && !here:
				silent = host
			default:
				continue
			}
			why = fmt.Sprintf("binding %s has it now if hosts %s and %s are one engine, and ", binding, l.Host, host)
			if err := d.w.Engines[silent].Err; err != "" {
				return why + "that is not known: " + err, ""
			}
			return why + "engine " + silent + " refuses `GET /info`, which would tell",
				"allow certwright `GET /info` of engine " + silent + ": a socket proxy has to let it pass"
		}
	}
	return "", ""
}

// first is the first of the names that the engine of a host has.
func (v *view) first(host string) string {
	self := v.w.Engines[host].Self
	if self == "" {
		return host
	}
	for _, name := range v.hosts() {
		if v.w.Engines[name].Self == self {
			return name
		}
	}
	return host
}

// hosts are the names of all hosts.
func (v *view) hosts() []string {
	names := []string{spec.LocalHost}
	for _, h := range v.s.Hosts {
		names = append(names, h.Name)
	}
	return names
}
