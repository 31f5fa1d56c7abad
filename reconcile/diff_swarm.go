package reconcile

import (
	"cmp"
	"fmt"

	"github.com/certwright/certwright/spec"
)

// swarm plans what the spec wants of the Swarm's own CA.
func (d *differ) swarm() {
	want, host := d.s.Swarm, spec.LocalHost
	if want == nil {
		return
	}
	ca := d.w.Swarms[host].CA
	switch err := cmp.Or(d.w.Swarms[host].Err, ca.Err); {
	case err != "":
		d.refuse(Waiting, ofSwarm(host), "waits for the Swarm: "+err, "")
		return
	case ca.stuck():
		d.refuse(Waiting, ofSwarm(host), "the rotation of its root is under way: "+ca.progress(), bringBack)
		return
	case ca.Rotating: // perhaps somebody else's
		d.step(AwaitRotation{Host: host}, ca.progress())
		return
	}
	if l := want.NodeCertLifetime; l != 0 && l != ca.Lifetime {
		d.step(SetNodeLifetime{Host: host, Lifetime: l}, "they live "+spec.FormatDuration(ca.Lifetime))
	}
	if want.Rotation != nil {
		d.rotation(host, ca, *want.Rotation)
	}
}

const bringBack = "bring them back, or remove them with `docker node rm --force NODE`, managers after `docker node demote NODE`"

// rotation plans a rotation of the Swarm's root when the counter was raised.
func (d *differ) rotation(host string, ca SwarmCA, want int) {
	was, known := ca.rotation(d.s.Project)
	reason, away := fmt.Sprintf("rotation was raised from %d to %d", was, want), absent(ca.Nodes)
	switch {
	case !known:
		d.step(RecordRotation{Host: host, Rotation: want}, "seen for the first time, so nothing is rotated")
	case want == was:
	case want < was:
		d.refuse(Blocked, ofSwarm(host), fmt.Sprintf("rotation is %d, but the Swarm has had %d", want, was),
			fmt.Sprintf("set `rotation: %d`, or %d to rotate once more", was, was+1))
	case ca.Foreign != "":
		d.refuse(Blocked, ofSwarm(host), reason+", but "+ca.Foreign, "rotate it with `docker swarm ca --rotate`, and take `rotation` out")
	case len(away) > 0 && !d.scope.ForceRotation:
		d.refuse(Blocked, ofSwarm(host), reason+", but not every node is ready: "+nodeNames(away),
			bringBack+"; `--force-rotation` rotates nevertheless, and ends when they are back or removed")
	default:
		if len(away) > 0 {
			reason += "; it will wait for " + nodeNames(away)
		}
		d.step(RotateSwarm{Host: host, Rotation: want, Nodes: len(ca.Nodes)}, reason)
	}
}
