package reconcile

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"
)

// What a provider does not end by itself ends after this: a rung after what the spec gives it and this, and the writing of
// places, which may have to bring a courier to another machine first. Everything else a provider does has a time limit of
// its own.
const (
	rungLimit  = time.Minute
	placeLimit = 10 * time.Minute
)

// guard calls do and turns its panic into an error: where a provider breaks, its step fails, and nothing else does. What
// it was about may be in the panic and is told to nobody, where it was to the debug log alone.
func (p Providers) guard(do func() error) (err error) {
	defer func() {
		broke := recover()
		if broke == nil {
			return
		}
		err = fmt.Errorf("certwright is broken here: panic with a %T; `--verbose` shows where", broke)
		if known, is := broke.(runtime.Error); is {
			err = fmt.Errorf("certwright is broken here: %w; `--verbose` shows where", known)
		}
		if p.Log != nil {
			p.Log.Debug("panic", "error", err, "stack", string(debug.Stack()))
		}
	}()
	return do()
}

// guarded is guard for what gives a value.
func guarded[T any](p Providers, do func() (T, error)) (out T, err error) {
	err = p.guard(func() (err error) {
		out, err = do()
		return err
	})
	return out, err
}

// timed is guarded with a time limit.
func timed[T any](r *run, limit time.Duration, do func(ctx context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(r.ctx, limit)
	defer cancel()
	return guarded(r.Providers, func() (T, error) { return do(ctx) })
}
