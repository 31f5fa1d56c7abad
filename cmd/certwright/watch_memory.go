package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/certwright/certwright/reconcile"
)

// How much garbage there may be beside what is in use, in percent.
const (
	thrifty = 50
	hasty   = 150 // while somebody misses a file: none is collected before it is back
)

// thrift returns pass as one that leaves no garbage: it is collected when the pass is over and nobody waits. After one over
// everything, the next of which may be minutes away, the memory is given back to the system too.
func thrift(pass func(ctx context.Context, why string) (time.Time, bool)) func(context.Context, string) (time.Time, bool) {
	debug.SetGCPercent(thrifty)
	return func(ctx context.Context, why string) (time.Time, bool) {
		if why != reconcile.InPlaces {
			defer debug.FreeOSMemory()
			return pass(ctx, why)
		}
		debug.SetGCPercent(hasty)
		defer func() { go runtime.GC() }() // what changes meanwhile is heard at once
		defer debug.SetGCPercent(thrifty)
		return pass(ctx, why)
	}
}
