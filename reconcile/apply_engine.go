package reconcile

import (
	"context"
	"errors"
	"time"

	"github.com/certwright/certwright/spec"
)

// engineLimit bounds the restart of an engine, its proof, and the way back.
const engineLimit = 10 * time.Minute

// tryEngine restarts an engine with another configuration, and has it proved before that is kept.
func (r *run) tryEngine(a Reload, knock *knocker) error {
	b := r.bindings[a.Binding]
	config, _, refused := r.w.Daemons[a.Target.Host].wants(b.Place.Engine, a.At)
	if refused != nil {
		return errors.New(refused.Reason)
	}
	want, _ := r.issued(b.Identity.Name, r.st)
	_, err := timed(r, engineLimit, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, r.Daemons.Reconfigure(ctx, a.Target.Host, config, func(ctx context.Context) error {
			return r.provedEngine(ctx, b, want.Serial, knock)
		})
	})
	return err
}

// settle gives up the way back of a restart that was cut off, and does not count that as one that failed.
func (r *run) settle(a Settle) error {
	if _, err := timed(r, engineLimit, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, r.Daemons.Settle(ctx, a.Host)
	}); err != nil {
		return err
	}
	r.mu.Lock()
	key := a.Binding + "/" + engineID
	if load, known := r.st.Loads[key]; known {
		if n := len(load.Restarts); n > 0 && !load.Proved && load.Error == "" {
			load.Restarts = load.Restarts[:n-1]
		}
		load.Proved, load.Error = true, ""
		r.st.Loads[key] = load
	}
	r.mu.Unlock()
	return r.commit()
}

// provedEngine waits until an engine serves a serial, and sees whom it lets in.
func (r *run) provedEngine(ctx context.Context, b *spec.Binding, serial string, knock *knocker) error {
	c := r.daemon(b)
	c.State = "running"
	if err := r.await(knock.request(r, b, c), serial, spec.Reload{Restart: true}); err != nil {
		return err
	}
	req := knock.whole(r, b, c)
	req.Now = r.Clock()
	if fault := r.fault(b, c, probe(ctx, r.Providers, req)); fault != nil {
		return errors.New(fault.Reason)
	}
	return nil
}

// whole is request with all that is asked of clients.
func (k *knocker) whole(r *run, b *spec.Binding, c Container) ProbeRequest {
	k.mu.Lock()
	defer k.mu.Unlock()
	req := r.request(r.Providers, b, c, r.st, r.Couriers)
	k.clients.add(&req, b, r.st)
	return req
}
