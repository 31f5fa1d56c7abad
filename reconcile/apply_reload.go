package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/certwright/certwright/spec"
)

// A rung has this long to show on the wire, is asked this often, and must show this many times in a row: a
// server that reloads gracefully may still answer once or twice from its old processes.
const (
	settle     = 10 * time.Second
	settlePoll = 100 * time.Millisecond
	settleRow  = 2
)

// As many bindings are reloaded at once; within a binding one target follows the other.
const reloadWorkers = 16

// reload carries out the rungs, binding beside binding. Several bindings may have a container in common: to that one
// thing is done at a time.
func (r *run) reload(steps []Step, places *placing) {
	if len(steps) == 0 {
		return
	}
	byBinding := map[string][]Step{}
	turns := map[string]chan struct{}{} // by container id
	for _, s := range steps {
		a := s.Action.(Reload)
		byBinding[a.Binding] = append(byBinding[a.Binding], s)
		turns[a.Target.ID] = make(chan struct{}, 1)
	}
	r.listSwarms(steps)
	knock := &knocker{clients: newClients(r.Providers, r.view)}
	limit := make(chan struct{}, reloadWorkers)
	var wg sync.WaitGroup
	for _, chain := range byBinding {
		wg.Go(func() {
			places.await(chain[0].Action.(Reload).Target.Host)
			limit <- struct{}{}
			defer func() { <-limit }()
			for _, s := range chain {
				turn := turns[s.Action.(Reload).Target.ID]
				turn <- struct{}{}
				if s.Action.(Reload).Target.Kind == kindService {
					r.update(s)
				} else {
					r.rung(s, knock)
				}
				<-turn
			}
		})
	}
	wg.Wait()
	if err := r.commit(); err != nil {
		r.mu.Lock()
		if last := steps[len(steps)-1]; r.failed[last.ID] == nil {
			r.fail(last, fmt.Errorf("record the reloads: %w", err))
		}
		r.mu.Unlock()
	}
}

// knocker gives several goroutines the clients of one wave.
type knocker struct {
	mu      sync.Mutex
	clients *clients
}

func (k *knocker) request(r *run, b *spec.Binding, c Container) ProbeRequest {
	k.mu.Lock()
	defer k.mu.Unlock()
	req := r.request(r.Providers, b, c, r.st, r.Couriers)
	k.clients.add(&req, b, r.st)
	// Only the serial counts while waiting: client checks are the next observation's.
	req.ClientAuth, req.Foreign = spec.ClientAuthNone, nil
	return req
}

// intend records that a rung is about to be tried. A restart is committed first: one that is cut short counts.
func (r *run) intend(a Reload) error {
	key := a.Binding + "/" + a.Target.ID
	next := Load{
		Binding: a.Binding, Target: a.Target.ID, Unit: r.unitOf(a), Rung: a.Rung, Served: r.w.Served[key].Serial, At: r.Clock(),
	}
	r.mu.Lock()
	next.Restarts = since(r.st.Loads[key].Restarts, next.At.Add(-time.Hour))
	if a.How.Restart {
		next.Restarts = append(next.Restarts, next.At)
	}
	r.st.Loads[key] = next
	r.mu.Unlock()
	if a.How.Restart {
		return r.commit()
	}
	return nil
}

// unitOf is the fingerprint of what the target has to load.
func (r *run) unitOf(a Reload) Fingerprint {
	b := r.bindings[a.Binding]
	at, _, _ := r.locate(b)
	m, _ := r.material(b, r.st)
	if b.Place.Engine != nil {
		return engineUnit(unitPrint(r.files(b, at[0], m)), b.Place.Engine)
	}
	for _, l := range at {
		if slices.ContainsFunc(l.containers, func(c Container) bool { return c.ID == a.Target.ID }) {
			return unitPrint(r.files(b, l, m))
		}
	}
	return ""
}

// rung tries one rung and waits for the proof.
func (r *run) rung(s Step, knock *knocker) {
	if !r.begin(s) {
		return
	}
	a := s.Action.(Reload)
	start := r.Clock()
	err := r.intend(a)
	if err == nil {
		err = r.guard(func() error { return r.try(a, knock) })
	}
	r.mu.Lock()
	key := a.Binding + "/" + a.Target.ID
	load := r.st.Loads[key]
	load.Proved, load.Error = err == nil, text(err)
	none := errors.Is(err, ErrUntouched)
	if cut := r.cut(); err != nil && cut != nil {
		err, load.Error = cut, "" // nobody knows what it would have led to
	}
	if (load.Proved || none) && a.How.Restart {
		load.Restarts = load.Restarts[:len(load.Restarts)-1]
	}
	r.st.Loads[key] = load
	r.mu.Unlock()
	r.end(s, err, start)
}

func (r *run) try(a Reload, knock *knocker) error {
	if a.Target.Kind == kindEngine {
		return r.tryEngine(a, knock)
	}
	b := r.bindings[a.Binding]
	i := slices.IndexFunc(r.w.Engines[a.Target.Host].Containers, func(c Container) bool { return c.ID == a.Target.ID })
	c := r.w.Engines[a.Target.Host].Containers[i]
	env := ReloadEnv{Container: c}
	var req ProbeRequest
	if b.Probe != nil {
		req = knock.request(r, b, c)
		env.Port, env.Client, env.Roots, env.ServerName = b.Probe.Port, req.Good, req.Roots, req.ServerName
	}
	if _, err := timed(r, a.How.Timeout+rungLimit, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, r.Engines.Reload(ctx, a.Target, a.How, env)
	}); err != nil {
		return err
	}
	if b.Probe == nil || b.Identity == nil || r.w.Served[TargetKey(b.Name, c)].Unreachable {
		return nil
	}
	if a.How.Restart {
		r.restarted(a)
		// A restart may bring another address.
		req = r.readdress(knock, b, c, req)
	}
	want, _ := r.issued(b.Identity.Name, r.st)
	return r.await(req, want.Serial, a.How)
}

// restarted records that a target is another process now: whatever it shows from here on, it has loaded all of its files.
func (r *run) restarted(a Reload) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := a.Binding + "/" + a.Target.ID
	load := r.st.Loads[key]
	load.Served = ""
	r.st.Loads[key] = load
}

// readdress looks a restarted container up again.
func (r *run) readdress(knock *knocker, b *spec.Binding, c Container, req ProbeRequest) ProbeRequest {
	for _, now := range r.Engines.List(r.ctx, c.Host).Containers {
		if now.ID == c.ID {
			return knock.request(r, b, now)
		}
	}
	return req
}

// await polls the wire until it shows the serial, or the rung has had its time.
func (r *run) await(req ProbeRequest, serial string, how spec.Reload) error {
	patience := r.Settle
	if patience == 0 {
		patience = settle
	}
	if how.Restart {
		patience *= 3
	}
	ctx, cancel := context.WithTimeout(r.ctx, patience)
	defer cancel()
	row, shown := 0, ""
	for {
		req.Now = r.Clock()
		last := probe(ctx, r.Providers, req)
		if last.Serial != "" {
			shown = last.Serial
		}
		if last.Serial == serial {
			row++
		} else {
			row = 0
		}
		if row == settleRow {
			return nil
		}
		select {
		case <-time.After(settlePoll):
		case <-ctx.Done():
			if shown == "" {
				return fmt.Errorf("no handshake after %s: %s", patience, last.Err)
			}
			return fmt.Errorf("still serves %s after %s", shown, patience)
		}
	}
}
