package store

import (
	"hash/maphash"

	"github.com/certwright/certwright/reconcile"
)

// proved is a file that was proved and taken apart, with the state it held: who looks every time something changes finds the
// same file nearly always, and to prove it once more would take longer than to look at a place.
type proved struct {
	stamp string // "" for none
	seed  maphash.Seed
	sum   uint64
	state reconcile.State
}

func prove(f found, state reconcile.State) proved {
	seed := maphash.MakeSeed()
	return proved{f.stamp, seed, maphash.Bytes(seed, f.rest), state}
}

// of gives the state of a file if it is that one, byte for byte. Nobody can make another one of the same sum on purpose, since
// the seed of it is known to this process alone.
func (o proved) of(f found) (reconcile.State, bool) {
	if o.stamp == "" || o.stamp != f.stamp || maphash.Bytes(o.seed, f.rest) != o.sum {
		return reconcile.State{}, false
	}
	return o.state, true
}
