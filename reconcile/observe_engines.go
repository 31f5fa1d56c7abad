package reconcile

import (
	"context"

	"github.com/certwright/certwright/spec"
)

// list asks every engine a binding needs for its containers and volumes, and all hosts where one is of a Swarm. One that does
// not answer makes its bindings wait, unless the user named it.
func (w *World) list(ctx context.Context, p Providers, s *spec.Spec, look Look) error {
	asked := map[string]asking{}
	want := func(host string, engine, swarm bool) {
		if a := asked[host]; engine || swarm {
			asked[host] = asking{a.engine || engine, a.swarm || swarm, a.daemon}
		}
	}
	for i := range s.Bindings {
		b := &s.Bindings[i]
		if !look.has(b) {
			continue
		}
		if a := asked[b.Host.Name]; b.Place.Engine != nil {
			a.daemon = true
			asked[b.Host.Name] = a
		}
		want(b.Host.Name, b.Consumer != nil || needsEngine(b), b.Place.Swarm())
		for _, h := range s.Hosts {
			want(h.Name, b.Place.Swarm(), false) // a task may run there
		}
	}
	want(spec.LocalHost, s.Swarm != nil, s.Swarm != nil || s.Store.Swarm)
	return w.ask(ctx, p, look, asked)
}

// daemon finds out about a dockerd.
func (p Providers) daemon(ctx context.Context, host string) DaemonState {
	if p.Daemons == nil {
		return DaemonState{Err: "dockerd cannot be restarted from here", Hint: "run certwright on the machine of the engine"}
	}
	return p.Daemons.Daemon(ctx, host)
}

// listLeft asks the engines of places that left the spec. A directory needs no engine to be written, but to be
// cleared: who mounts it is known there.
func (w *World) listLeft(ctx context.Context, p Providers, s *spec.Spec, look Look) {
	wanted := make(map[Location]bool, len(s.Bindings))
	for i := range s.Bindings {
		b := &s.Bindings[i]
		wanted[ofDirectory(b)] = true
		if b.Place.Context != nil {
			for _, l := range ofContext(b) {
				wanted[l.at] = true
			}
		}
	}
	asked := map[string]asking{}
	for at := range w.State.Places {
		a := asked[at.Host]
		if _, done := w.Daemons[at.Host]; !done && at.OfDaemon() {
			a.daemon = true
		}
		if _, done := w.Engines[at.Host]; !done && !wanted[at] {
			a.engine = true
		}
		if _, done := w.Swarms[at.Host]; !done && at.secrets() {
			a.swarm = true
		}
		if a != (asking{}) {
			asked[at.Host] = a
		}
	}
	_ = w.ask(ctx, p, look, asked) // that one was named matters to nobody here
}
