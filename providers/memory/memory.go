// Package memory is a whole world in memory, for tests: a store, places, engines with containers and servers in
// them, and the wire.
//
// A World implements reconcile.Store, Places, Engines, Daemons and Prober. Every change those make goes through
// World.Around under the kind of name the real providers use, so that a test can refuse it, lose its reply, or end
// the run before or after it. The changes that people and other programs make (Edit, Delete, Create, Start, …) do
// not.
//
// A server serves what it loaded, not what is on disk: it loads when it starts and when its Behaviour says so,
// from what its container mounts, as its container's user, and never a key that does not fit.
//
// The world watches itself: Check tells of every promise that was broken since it was made.
package memory

import (
	"sync"
	"time"

	"github.com/certwright/certwright/reconcile"
)

// World is a world with one engine, spec.LocalHost, and nothing in it. Its methods may be called at once.
type World struct {
	Around reconcile.Around
	// Now dates what the world makes by itself; it is set by New.
	Now func() time.Time

	mu         sync.Mutex // guards what follows; never held while Around decides
	state      *reconcile.State
	lent       *reconcile.State // the copy of it that Load gives; nil until it is asked for
	committing bool
	engines    map[string]*Engine
	containers []*container
	volumes    map[reconcile.Location]reconcile.Volume
	places     map[reconcile.Location]*place
	writing    map[reconcile.Location]bool
	strangers  []stranger
	broken     []string
	dockerd    *dockerd
	ids        int
}

var (
	_ reconcile.Store   = (*World)(nil)
	_ reconcile.Places  = (*World)(nil)
	_ reconcile.Engines = (*World)(nil)
	_ reconcile.Prober  = (*World)(nil)
	_ reconcile.Daemons = (*World)(nil)
)

// New makes a world. now dates containers.
func New(now func() time.Time) *World {
	return &World{
		Now:     now,
		engines: map[string]*Engine{"local": {}},
		volumes: map[reconcile.Location]reconcile.Volume{},
		places:  map[reconcile.Location]*place{},
		writing: map[reconcile.Location]bool{},
	}
}

// effect carries out one change that certwright makes.
func (w *World) effect(what string, do func() error) error {
	return w.Around.Do(what, func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		return do()
	})
}
