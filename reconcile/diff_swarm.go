package reconcile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

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
	case want.External != nil && d.givesUp(host, ca, *want.External):
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
	switch {
	case want.Rotation != nil:
		d.rotation(host, ca, *want.Rotation)
	case want.External != nil:
		d.external(host, ca, *want.External)
	}
}

// givesUp plans to go back in the middle of a rotation where the spec names the root that the nodes still trust. Swarm
// takes that with its key or with a CA that has it, and it never reveals a key of its own.
func (d *differ) givesUp(host string, ca SwarmCA, want spec.ExternalCA) bool {
	to := NodeCA{want.URL, d.w.NodeCA.Root}
	issuer, err := to.issuer()
	if err != nil || !ca.Rotating || ca.Root != to.root() || ca.Issuer == issuer {
		return false
	}
	d.step(SetNodeCA{Host: host, CA: to, GivesUp: true}, "externalCA names the root the nodes trust, and they are being given another: "+ca.progress())
	return true
}

// external plans what it takes until an external CA signs.
func (d *differ) external(host string, ca SwarmCA, want spec.ExternalCA) {
	to := NodeCA{want.URL, d.w.NodeCA.Root}
	signers := ca.Signers()
	switch {
	case d.w.NodeCA.Err != "":
		d.refuse(Blocked, ofSwarm(host), "the root of externalCA: "+d.w.NodeCA.Err, "")
	case ca.Root != to.root() && len(signers) > 0:
		d.refuse(Blocked, ofSwarm(host), "externalCA has another root than "+signers[0]+", and Swarm does not go from one external CA to another",
			"take `externalCA` out, raise `rotation` so that Swarm makes a root of its own, and put it in after that")
	case ca.Root != to.root():
		d.rotate(RotateSwarm{Host: host, To: &to, Nodes: len(ca.Nodes)}, ca, "the nodes trust another root than that of externalCA")
	case len(signers) == 0:
		d.step(SetNodeCA{Host: host, CA: to}, "Swarm signs them itself")
	case !slices.Contains(signers, to.URL):
		d.step(SetNodeCA{Host: host, CA: to}, "instead of "+strings.Join(signers, ", "))
	}
}

const bringBack = "bring them back, or remove them with `docker node rm --force NODE`, managers after `docker node demote NODE`"

// rotation plans a rotation of the Swarm's root when the counter was raised.
func (d *differ) rotation(host string, ca SwarmCA, want int) {
	was, known := ca.rotation(d.s.Project)
	reason := fmt.Sprintf("rotation was raised from %d to %d", was, want)
	if signers := ca.Signers(); len(signers) > 0 {
		reason += "; " + signers[0] + " signs no more after that"
	}
	switch {
	case !known:
		d.step(RecordRotation{Host: host, Rotation: want}, "seen for the first time, so nothing is rotated")
	case want == was:
	case want < was:
		d.refuse(Blocked, ofSwarm(host), fmt.Sprintf("rotation is %d, but the Swarm has had %d", want, was),
			fmt.Sprintf("set `rotation: %d`, or %d to rotate once more", was, was+1))
	case ca.Foreign != "":
		d.refuse(Blocked, ofSwarm(host), reason+", but "+ca.Foreign, "rotate it with `docker swarm ca --rotate`, and take `rotation` out")
	default:
		d.rotate(RotateSwarm{Host: host, Rotation: want, Nodes: len(ca.Nodes)}, ca, reason)
	}
}

// rotate plans a rotation, unless a node is not there that would hold it up.
func (d *differ) rotate(a RotateSwarm, ca SwarmCA, reason string) {
	away := absent(ca.Nodes)
	if len(away) > 0 && !d.scope.ForceRotation {
		d.refuse(Blocked, ofSwarm(a.Host), reason+", but not every node is ready: "+nodeNames(away),
			bringBack+"; `--force-rotation` rotates nevertheless, and ends when they are back or removed")
		return
	}
	if len(away) > 0 {
		reason += "; it will wait for " + nodeNames(away)
	}
	d.step(a, reason)
}
