package reconcile

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// A rotation is followed this long; one that takes longer is followed by the next apply.
const rotationTimeout = 10 * time.Minute

// swarm carries out one step about a Swarm's own CA.
func (r *run) swarm(s Step) error {
	switch a := s.Action.(type) {
	case RecordRotation:
		return r.updateSwarm(a.Host, SwarmUpdate{Labels: r.counted(a.Rotation)})
	case SetNodeLifetime:
		return r.updateSwarm(a.Host, SwarmUpdate{Lifetime: a.Lifetime})
	case RotateSwarm:
		if err := r.updateSwarm(a.Host, SwarmUpdate{Labels: r.counted(a.Rotation), Rotate: true}); err != nil {
			return err
		}
		return r.follow(s, a.Host)
	}
	return r.follow(s, s.Action.(AwaitRotation).Host)
}

func (r *run) counted(rotation int) map[string]string {
	return map[string]string{rotationLabel(r.Spec.Project): strconv.Itoa(rotation)}
}

func (r *run) updateSwarm(host string, u SwarmUpdate) error {
	u.Forced = r.w.Swarms[host].CA.Forced
	return r.Swarms.UpdateSwarm(r.ctx, host, u)
}

// follow says how far a rotation is until it is over. What waits for nodes that are down alone is not followed: Swarm
// goes on by itself when they are back.
func (r *run) follow(s Step, host string) error {
	ctx, cancel := context.WithTimeout(r.ctx, rotationTimeout)
	defer cancel()
	for said := ""; ; {
		ca := r.Swarms.SwarmCA(ctx, host)
		now := ca.Err // managers may have to agree on a leader first
		if now == "" {
			now = ca.progress()
		}
		if now != said && ctx.Err() == nil {
			said = now
			r.tell(Event{Step: s, Said: said})
		}
		if ca.Err == "" && (ca.stuck() || !ca.Rotating && len(ca.behind()) == len(absent(ca.behind()))) {
			return nil
		}
		select {
		case <-ctx.Done():
			if err := r.cut(); err != nil {
				return err
			}
			return fmt.Errorf("it is not over after %s: %s; the next apply follows it", rotationTimeout, said)
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// tell reports how a step goes on.
func (r *run) tell(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report(e)
}
