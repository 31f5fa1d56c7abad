package reconcile

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/certwright/certwright/spec"
)

// ca plans the first generation of a CA. A CA that is there is never made again.
func (d *differ) ca(c *spec.CA) {
	subject := "ca/" + c.Name
	stored := d.w.State.CAs[c.Name]
	ok := len(stored.Generations) > 0
	if c.Local == nil {
		d.outsideCA(c, stored, ok)
		return
	}
	if c.Local.Certificate != "" {
		d.broughtCA(c, stored, ok)
		return
	}
	parent, after := d.parent(c)
	if c.Local.Parent != nil {
		if d.refuseWith(subject, "ca/"+c.Local.Parent.Name, "its parent "+c.Local.Parent.Name+": ") {
			return
		}
	}
	if !ok {
		if d.refuseWith(subject, "clock", "the clock: ") {
			return
		}
		if parent != nil && !d.w.Now.Before(parent.NotAfter) {
			d.refuse(Blocked, subject, "its parent "+c.Local.Parent.Name+" has expired", "")
			return
		}
		d.caSteps[c.Name] = d.step(CreateCA{CA: c.Name}, "not there", after)
		return
	}
	active := stored.Active()
	if !d.w.Now.Before(active.NotAfter) {
		d.refuse(Blocked, subject, "expired "+stamp(active.NotAfter),
			"give it another name, so that a new one is made and trusted beside it")
		return
	}
	if len(active.Key.PKCS8()) == 0 {
		d.refuse(Blocked, subject, "it was brought along, and its key is not in the store",
			"name its certificate and key again, or give the new CA another name")
		return
	}
	if asked := profileOfCA(c, parent); asked != active.Wanted {
		d.refuse(Blocked, subject, "the spec asks for another "+asked.difference(active.Wanted)+" than it was made with",
			"undo the edit, or give the new CA another name; a CA in use is never replaced by an edit")
		// It still signs: what was made stays good.
		delete(d.held, subject)
	}
}

// broughtCA takes a CA that was made elsewhere into the store, where its key is never kept.
func (d *differ) broughtCA(c *spec.CA, stored CA, ok bool) {
	subject := "ca/" + c.Name
	b := d.w.Brought[c.Name]
	switch {
	case b.Err != "" && ok && !d.w.Now.Before(stored.Active().NotAfter):
		d.refuse(Blocked, subject, b.Err, renewCA(c))
	case b.Err != "":
		d.refuse(Blocked, subject, b.Err, "bring its files back: "+c.Local.Certificate+" and "+c.Local.KeyFile)
	case !d.w.Now.Before(b.Generation.NotAfter):
		d.refuse(Blocked, subject, "expired "+stamp(b.Generation.NotAfter), renewCA(c))
	case !ok:
		d.caSteps[c.Name] = d.step(CreateCA{CA: c.Name, Brought: true}, "brought along, not taken in yet")
	case stored.Active().KeyID != b.Generation.KeyID:
		d.refuse(Blocked, subject, "the files hold another key than the one taken in",
			"bring the old files back, or give the other CA another name")
	case !samePath(stored.Active().path(), b.Generation.path()):
		d.caSteps[c.Name] = d.step(CreateCA{CA: c.Name, Brought: true}, "its certificate was renewed")
	}
}

// outsideCA takes the roots of a CA outside into the store. Those that a file names follow the file.
func (d *differ) outsideCA(c *spec.CA, stored CA, ok bool) {
	roots, named := d.w.Outside[c.Name]
	switch {
	case roots.Err != "":
		d.refuse(Blocked, "ca/"+c.Name, roots.Err, "")
	case slices.ContainsFunc(stored.Generations, func(g Generation) bool { return len(g.Key.PKCS8()) > 0 }):
		d.refuse(Blocked, "ca/"+c.Name, "it was one of certwright's own, and its key would be lost",
			"undo the edit, or give the CA outside another name")
	case c.Public(): // of its roots those are taken in that are used, when they are
	case !ok:
		d.caSteps[c.Name] = d.step(CreateCA{CA: c.Name, Brought: true}, "its root is not taken in yet")
	case named && !samePath(stored.roots(), roots.Roots):
		d.caSteps[c.Name] = d.step(CreateCA{CA: c.Name, Brought: true}, "its roots changed")
	case c.Fingerprint() != "" && !slices.EqualFunc(stored.roots(), []string{c.Fingerprint()}, hasFingerprint):
		d.caSteps[c.Name] = d.step(CreateCA{CA: c.Name, Brought: true}, "another root is pinned")
	}
}

func hasFingerprint(der []byte, fingerprint string) bool {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]) == fingerprint
}

// rootOf is the generation of a root of a CA outside, or nil where it is none, or none any more by the file of its roots.
func (d *differ) rootOf(ca string, root []byte) *Generation {
	is := func(other []byte) bool { return slices.Equal(other, root) }
	if roots, named := d.w.Outside[ca]; named && !slices.ContainsFunc(roots.Roots, is) {
		return nil
	}
	stored := d.w.State.CAs[ca]
	if i := slices.IndexFunc(stored.Generations, func(g Generation) bool { return is(g.Root()) }); i >= 0 {
		return &stored.Generations[i]
	}
	return nil
}

// renewCA is what helps where a CA that was brought along has ended.
func renewCA(c *spec.CA) string {
	return "put a renewed certificate of the same key into " + c.Local.Certificate + " (docs/tls-yaml.md, CAs)"
}

// parent is the generation that signs for a CA, and the step that makes it.
func (d *differ) parent(c *spec.CA) (*Generation, int) {
	if c.Local.Parent == nil {
		return nil, 0
	}
	return d.w.State.CAs[c.Local.Parent.Name].Active(), d.caSteps[c.Local.Parent.Name]
}

// identity plans the issue of an identity that is stale.
func (d *differ) identity(id *spec.Identity) {
	subject := "identity/" + id.Name
	if id.From != nil {
		if f := d.w.From[id.Name]; f.Err != "" {
			d.refuse(Blocked, subject, f.Err, "")
		}
		return
	}
	if pair, has := d.w.Pairs[id.Name]; has {
		d.pair(id, pair)
		return
	}
	var stored *Issued
	if i, ok := d.w.State.Identities[id.Name]; ok {
		stored = &i
	}
	signer, outside := d.w.State.CAs[id.CA.Name].Active(), d.cas[id.CA.Name].Local == nil
	if outside && stored != nil {
		signer = d.rootOf(id.CA.Name, stored.Root)
	}
	in := checked{id: id, stored: stored, signer: signer, outside: outside, wish: d.w.State.Wishes[subject], now: d.w.Now, advice: d.w.Advice[id.Name]}
	reason := stale(in)
	if reason == "" {
		d.due(in.renewAt())
		return
	}
	if (stored == nil || askedFor(in) == "") && d.refuseWith(subject, "clock", "the clock: ") {
		return
	}
	if d.refuseWith(subject, "ca/"+id.CA.Name, "CA "+id.CA.Name+": ") {
		return
	}
	if signer != nil && !d.w.Now.Before(signer.NotAfter) {
		d.refuse(Blocked, subject, "CA "+id.CA.Name+" has expired", "")
		return
	}
	issue := Issue{Identity: id.Name, Reuse: id.ReuseKey && stored != nil && stored.Wanted.Key == id.Key && !in.wish.NewKey, Unbidden: unbidden(in)}
	if issue.Unbidden && d.issuesSpent(id, stored, reason) {
		return
	}
	d.idSteps[id.Name] = d.step(issue, reason, d.caSteps[id.CA.Name])
}

// pair takes what an identity was brought along with into the store; from then on it is kept as if it had been issued here.
func (d *differ) pair(id *spec.Identity, pair FromState) {
	subject := "identity/" + id.Name
	switch {
	case d.refuseWith(subject, "ca/"+id.CA.Name, "CA "+id.CA.Name+": "):
	case pair.Err != "":
		d.refuse(Blocked, subject, pair.Err, "mend that, or take `brought` out of the spec, so that another one is issued")
	default:
		d.idSteps[id.Name] = d.step(TakeIn{Identity: id.Name}, "brought along, not taken in yet", d.caSteps[id.CA.Name])
	}
}

// issuesSpent reports whether an identity has used up its issues of this hour that nobody wanted, and plans the next look.
func (d *differ) issuesSpent(id *spec.Identity, stored *Issued, reason string) bool {
	subject, limit := "identity/"+id.Name, issuesPerHour
	for i, b := range d.s.Bindings {
		if b.Identity != nil && b.Identity.Name == id.Name {
			limit = d.s.Bindings[i].Limits.IssuesPerHour
			break
		}
	}
	hour := since(stored.Unbidden, d.w.Now.Add(-time.Hour))
	now := "`certwright rotate " + subject + "` does at once"
	switch {
	case len(hour) < limit:
		return false
	case limit == 0:
		d.refuse(Failed, subject, reason+", and issuesPerHour is 0", now)
		return true
	}
	again := hour[len(hour)-limit].Add(time.Hour)
	d.refuseUntil(again, Failed, subject, fmt.Sprintf("%s again: it was issued %d times within an hour, and nobody wanted it", reason, len(hour)),
		"look at CA "+id.CA.Name+", which changes what it is or gives what is of no use; certwright issues again after "+stamp(again)+", "+now)
	return true
}

// profileOfCA is what the spec asks of a CA.
func profileOfCA(c *spec.CA, parent *Generation) CAProfile {
	p := CAProfile{Subject: c.Local.Subject, Key: c.Local.Key, Lifetime: c.Local.Lifetime, Constraints: c.Local.Constraints.String()}
	if parent != nil {
		p.Parent = parent.KeyID
	}
	return p
}

// difference names the first part in which p is not q.
func (p CAProfile) difference(q CAProfile) string {
	switch {
	case p.Subject != q.Subject:
		return "subject"
	case p.Key != q.Key:
		return "key"
	case p.Lifetime != q.Lifetime:
		return "lifetime"
	case p.Constraints != q.Constraints:
		return "set of name constraints"
	}
	return "parent"
}
