package reconcile

import (
	"context"
	"errors"

	"github.com/certwright/certwright/spec"
)

// list asks every engine a binding needs for its containers and volumes. One that does not answer makes its bindings
// wait, unless the user named it.
func (w *World) list(ctx context.Context, p Providers, s *spec.Spec, look Look) error {
	for i := range s.Bindings {
		b := &s.Bindings[i]
		if !look.has(b) {
			continue
		}
		if err := w.ask(ctx, p, b.Host.Name, b.Consumer != nil || b.Place.Directory == "", b.Place.Swarm()); err != nil {
			return err
		}
	}
	return w.ask(ctx, p, spec.LocalHost, s.Swarm != nil, s.Swarm != nil || s.Store.Swarm)
}

// ask lists an engine and its Swarm, each once.
func (w *World) ask(ctx context.Context, p Providers, host string, engine, swarm bool) error {
	if _, done := w.Engines[host]; !done && engine {
		e := p.Engines.List(ctx, host)
		if e.Named && e.Err != "" {
			return errors.New(e.Err)
		}
		w.Engines[host] = e
	}
	if _, done := w.Swarms[host]; !done && swarm {
		s := p.Swarms.Swarm(ctx, host)
		if w.Engines[host].Named && s.Err != "" {
			return errors.New(s.Err)
		}
		w.Swarms[host] = s
	}
	return nil
}

// listLeft asks the engines of places that left the spec. A directory needs no engine to be written, but to be
// cleared: who mounts it is known there.
func (w *World) listLeft(ctx context.Context, p Providers, s *spec.Spec) {
	wanted := make(map[Location]bool, len(s.Bindings))
	for _, b := range s.Bindings {
		wanted[Location{Host: b.Host.Name, Dir: b.Place.Directory}] = true
	}
	for at := range w.State.Places {
		if _, done := w.Engines[at.Host]; !done && !wanted[at] {
			w.Engines[at.Host] = p.Engines.List(ctx, at.Host)
		}
	}
	for at := range w.State.Places {
		if _, done := w.Swarms[at.Host]; !done && at.secrets() {
			w.Swarms[at.Host] = p.Swarms.Swarm(ctx, at.Host)
		}
	}
}
