package reconcile

import (
	"fmt"
	"strconv"
	"time"
)

// A rotation is followed for as long as it gets on within this time; one that takes longer is followed by the next apply.
// Nothing else is done meanwhile.
const rotationPatience = time.Minute

// swarm carries out one step about a Swarm's own CA.
func (r *run) swarm(s Step) error {
	switch a := s.Action.(type) {
	case RecordRotation:
		return r.updateSwarm(a.Host, SwarmUpdate{Labels: r.counted(a.Rotation)})
	case SetNodeLifetime:
		return r.updateSwarm(a.Host, SwarmUpdate{Lifetime: a.Lifetime})
	case RotateSwarm:
		u := SwarmUpdate{External: a.To}
		if a.To == nil {
			u = SwarmUpdate{Labels: r.counted(a.Rotation), Rotate: true}
		}
		return r.updateAndFollow(s, a.Host, u)
	case SetNodeCA:
		return r.updateAndFollow(s, a.Host, SwarmUpdate{External: &a.CA})
	}
	return r.follow(s, s.Action.(AwaitRotation).Host)
}

func (r *run) counted(rotation int) map[string]string {
	return map[string]string{rotationLabel(r.Spec.Project): strconv.Itoa(rotation)}
}

func (r *run) updateSwarm(host string, u SwarmUpdate) error {
	ca := r.w.Swarms[host].CA
	u.Forced, u.Rotating, u.Root = ca.Forced, ca.Rotating, ca.Root
	return r.Swarms.UpdateSwarm(r.ctx, host, u)
}

func (r *run) updateAndFollow(s Step, host string, u SwarmUpdate) error {
	if err := r.updateSwarm(host, u); err != nil {
		return err
	}
	return r.follow(s, host)
}

// follow says how far a rotation is until it is over. What waits for nodes that are down alone is not followed: Swarm
// goes on by itself when they are back.
func (r *run) follow(s Step, host string) error {
	moved := time.Now()
	for said := ""; ; {
		ca := r.Swarms.SwarmCA(r.ctx, host)
		now := ca.Err // managers may have to agree on a leader first
		if now == "" {
			now = ca.progress()
		}
		if now != said && r.ctx.Err() == nil {
			said, moved = now, time.Now()
			r.tell(Event{Step: s, Said: said})
		}
		if ca.Err == "" && (ca.stuck() || !ca.Rotating && len(ca.behind()) == len(absent(ca.behind()))) {
			return nil
		}
		if time.Since(moved) > rotationPatience {
			return fmt.Errorf("it did not get on for %s: %s; the next apply follows it", rotationPatience, said)
		}
		select {
		case <-r.ctx.Done():
			return r.cut()
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
