package reconcile

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/certwright/certwright/spec"
)

// One that Swarm did not finish is tried once more within the hour, and not in the same run.
const pushesPerHour = 2

// refs are the secrets a binding wants its service to mount; their ids are not known here.
func (v *view) refs(b *spec.Binding, m material) []SecretRef {
	files, user := v.files(b, located{list: b.Files}, m), Owner{}
	if svc := v.services(b); b.Consumer != nil && len(svc) > 0 {
		user = numbered(svc[0].User)
	}
	out := make([]SecretRef, len(files))
	for i, f := range files {
		owner := f.owner
		if owner == anyOwner {
			owner = user
		}
		out[i] = SecretRef{
			SecretKind: SecretKind{Config: b.Place.Config(f.spec.Content)},
			Name:       secretName(v.s.Project, b.Name, f.spec.Name, v.version(b, f, m)),
			Target:     f.spec.Name, Mode: f.mode, UID: owner.UID, GID: owner.GID,
		}
	}
	return out
}

// numbered is a user as a service names it, "UID" or "UID:GID"; root where it is a name, which Swarm does not look up.
func numbered(user string) Owner {
	uid, gid, _ := strings.Cut(user, ":")
	u, err := strconv.Atoi(uid)
	if err != nil {
		return Owner{}
	}
	g, err := strconv.Atoi(gid)
	if err != nil {
		g = u
	}
	return Owner{UID: u, GID: g}
}

// refsPrint is the fingerprint of a whole unit of secrets, as unitPrint is of files.
func refsPrint(refs []SecretRef) Fingerprint {
	var parts []string
	for _, r := range refs {
		part := fmt.Sprintf("%s %s %o %d:%d", r.Target, r.Name, r.Mode, r.UID, r.GID)
		if r.Config {
			part += " config"
		}
		parts = append(parts, part)
	}
	return digest(parts...)
}

// secrets plans the secrets of a binding and the update of its service.
func (d *differ) secrets(b *spec.Binding, m material, pending []int) {
	subject := "binding/" + b.Name
	swarm := d.w.Swarms[b.Host.Name]
	if swarm.Err != "" {
		d.unresolved[b.Name] = true
		r := unanswered(b, "Swarm", swarm.Err)
		d.refuse(r.State, subject, r.Reason, "")
		return
	}
	services, at := d.services(b), ofSecrets(b)
	d.wanted[at] = b.Name
	refs := d.refs(b, m)
	for _, svc := range services {
		if r := d.theirs(b, svc, refs); r != nil && !d.adopts(subject) {
			d.unresolved[b.Name] = true
			d.refuse(r.State, r.Subject, r.Reason, r.Hint)
			return
		}
	}
	placed, reason := 0, ""
	if len(pending) > 0 { // what they will hold is not known yet, and so neither are their names
		d.unresolved[b.Name], refs = true, nil
		reason = "follows its certificate"
	} else {
		for _, r := range refs {
			d.secretNames[r.Word()+"/"+r.Name] = true
		}
		reason = d.unmade(b, refs)
		if _, known := d.w.State.Places[at]; !known {
			reason = "not placed"
		}
	}
	if reason != "" {
		if placed = d.step(Place{Binding: b.Name, At: at}, reason, pending...); placed == 0 {
			return
		}
	}
	switch {
	case len(services) > 0:
	case b.Consumer != nil:
		d.refuse(Waiting, subject, "waits for "+b.Consumer.String(), "there is no such service: deploy it, or correct the binding")
	default:
		d.refuse(Waiting, subject, "waits for a service that mounts its secrets", "`certwright compose` prints the names they have now")
	}
	for _, svc := range services {
		d.update(b, svc, d.given(b, svc, refs), m, placed)
	}
}

// given are what a service is to mount of a binding. One that is not named has its own mounts, and their files follow.
func (v *view) given(b *spec.Binding, svc Service, refs []SecretRef) []SecretRef {
	if b.Consumer != nil || refs == nil {
		return refs
	}
	var out []SecretRef
	for _, is := range svc.Secrets {
		i := slices.IndexFunc(v.w.Swarms[b.Host.Name].Secrets, func(s Secret) bool { return s.ID == is.ID && v.marked(b, s) })
		if i < 0 {
			continue
		}
		file := v.w.Swarms[b.Host.Name].Secrets[i].Labels[SecretFile]
		next := is
		if f := slices.IndexFunc(b.Files, func(f spec.File) bool { return f.Name == file }); f >= 0 {
			next.SecretKind, next.Name, next.ID = refs[f].SecretKind, refs[f].Name, ""
		}
		out = append(out, next)
	}
	return out
}

// unmade says which of the secrets is not there or not marked, or is "".
func (v *view) unmade(b *spec.Binding, refs []SecretRef) string {
	for _, r := range refs {
		switch s := v.w.Swarms[b.Host.Name].named(r.SecretKind, r.Name); {
		case s == nil:
			return "no " + r.Word() + " holds what " + r.Target + " should"
		case s.Forged:
			return "config holds something else: " + r.Target
		case !v.marked(b, *s):
			return r.Word() + " is not marked as ours: " + r.Target
		}
	}
	return ""
}

// theirs refuses a service that mounts a secret of somebody else where a file of the binding belongs, or is nil. One of a
// name that is wanted only has to be marked, if it holds what its name says.
func (v *view) theirs(b *spec.Binding, svc Service, refs []SecretRef) *Refusal {
	if b.Consumer == nil {
		return nil // its own mounts stay where they are
	}
	for _, r := range svc.Secrets {
		taken := slices.ContainsFunc(b.Files, func(f spec.File) bool { return f.Name == r.Target })
		wanted := slices.ContainsFunc(refs, func(w SecretRef) bool { return w.SecretKind == r.SecretKind && w.Name == r.Name })
		if taken && !wanted && v.there(b, r) && !v.madeFor(b, r) {
			return &Refusal{
				Subject: "binding/" + b.Name, State: Blocked,
				Reason: fmt.Sprintf("service %s mounts a %s %s as %s that was not made by certwright", svc.Name, r.Word(), r.Name, r.Target),
				Hint:   "give the file another name, take that " + r.Word() + " from the service, or run `certwright adopt " + b.Name + "`",
			}
		}
	}
	return nil
}

// there reports whether a secret that a service mounts is still there. A config that has none of our names is not listed.
func (v *view) there(b *spec.Binding, r SecretRef) bool {
	return r.Config && !strings.HasPrefix(r.Name, ConfigNames(v.s.Project)) ||
		slices.ContainsFunc(v.w.Swarms[b.Host.Name].Secrets, func(s Secret) bool { return s.ID == r.ID })
}

// madeFor reports whether a secret is one that certwright made for the binding.
func (v *view) madeFor(b *spec.Binding, r SecretRef) bool {
	return slices.ContainsFunc(v.w.Swarms[b.Host.Name].Secrets, func(s Secret) bool { return s.ID == r.ID && v.marked(b, s) })
}

// update plans the update of a service that does not mount what it should, or says what Swarm made of the last one.
func (d *differ) update(b *spec.Binding, svc Service, refs []SecretRef, m material, placed int) {
	subject := "binding/" + b.Name
	reason := d.unlike(b, svc, refs)
	if refs == nil || reason != "" && placed != 0 {
		reason = "follows its files"
	}
	switch {
	case svc.Updating() && reason == "":
		d.refuse(Waiting, subject, "waits for the update of service "+svc.Name+" that is under way", "")
		d.onTheWire(b, svc, m)
		return
	case svc.Updating():
		d.refuse(Stale, subject, "service "+svc.Name+" has other secrets, and an update of it is under way", "run `certwright apply --wait 2m`, which waits for it")
		return
	case reason == "" && svc.Update == "paused":
		d.refuse(Failed, subject, fmt.Sprintf("Swarm has paused the update of %s: %s", svc.Name, svc.Message),
			"look at `docker service ps --no-trunc "+svc.Name+"` and the logs of its tasks; `docker service rollback "+svc.Name+"` goes back, `docker service update --force "+svc.Name+"` tries again")
		return
	case reason == "":
		d.down(b, svc)
		d.onTheWire(b, svc, m)
		return
	}
	if placed == 0 && d.pushed(b, svc, refsPrint(refs)) {
		return
	}
	target := Target{Host: b.Host.Name, Kind: kindService, Name: svc.Name, ID: svc.ID}
	d.step(Reload{
		Binding: b.Name, Target: target, Rolling: svc.StartsFirst && svc.Replicas > 1,
	}, reason, placed)
}

// unlike says in what a service's secrets are not those of the binding, or is "".
func (v *view) unlike(b *spec.Binding, svc Service, refs []SecretRef) string {
	for _, want := range refs {
		i := slices.IndexFunc(svc.Secrets, func(r SecretRef) bool { return r.Target == want.Target })
		if i < 0 {
			return want.Target + " is not mounted"
		}
		switch is := svc.Secrets[i]; {
		case !v.there(b, is):
			return "its " + is.Word() + " is gone: " + want.Target
		case is.Name != want.Name && !v.madeFor(b, is):
			return "somebody else's " + is.Word() + ": " + want.Target
		case is.SecretKind != want.SecretKind:
			return "it is to be a " + want.Word() + ": " + want.Target
		case is.Name != want.Name:
			return "older " + is.Word() + " version: " + want.Target
		case is.Mode.Perm() != want.Mode.Perm():
			return "mode differs: " + want.Target
		case is.UID != want.UID || is.GID != want.GID:
			return "owner differs: " + want.Target
		}
	}
	for _, is := range svc.Secrets {
		i := slices.IndexFunc(refs, func(r SecretRef) bool { return r.Target == is.Target })
		switch {
		case !v.madeFor(b, is):
		case i < 0:
			return is.Target + " left the spec"
		case refs[i].SecretKind != is.SecretKind:
			return "mounted as a " + is.Word() + " too: " + is.Target
		}
	}
	return ""
}

// pushed reports whether the service was given the same secrets before, without success or against someone else's will,
// as often as may be, and says so.
func (d *differ) pushed(b *spec.Binding, svc Service, unit Fingerprint) bool {
	load := d.w.State.Loads[b.Name+"/"+svc.ID]
	if load.Unit != unit {
		return false
	}
	hour, lately := since(load.Restarts, d.w.Now.Add(-time.Hour)), since(load.Restarts, d.w.Now.Add(-contestedWindow))
	subject := "binding/" + b.Name
	switch age := d.w.Now.Sub(load.At); {
	case !load.Proved && load.Error == "" && age.Abs() < busy: // its clock may be ahead
		d.refuseUntil(load.At.Add(busy), Waiting, subject, "another certwright may be updating service "+svc.Name, "run `certwright apply` once more in a moment")
		return true
	case !load.Proved && (len(hour) >= pushesPerHour || d.lately(load, lastRetry)):
		hint, again := "look at `docker service ps --no-trunc "+svc.Name+"` and the logs of its tasks", time.Time{}
		if len(hour) >= pushesPerHour {
			again = hour[len(hour)-pushesPerHour].Add(time.Hour)
			hint += "; certwright tries again after " + stamp(again)
			if b.Identity != nil {
				hint += ", or now with `certwright rotate identity/" + b.Identity.Name + "`"
			}
		} else {
			again = d.again(load, lastRetry)
		}
		d.refuseUntil(again, Failed, subject, cmp.Or(load.Error, "the update of service "+svc.Name+" was cut short"), hint)
		return true
	case load.Proved && len(lately) > contestedReverts:
		again := lately[0].Add(contestedWindow)
		d.refuseUntil(again, Contested, subject, "someone else keeps giving service "+svc.Name+" other secrets",
			"deploy it with the names of now; certwright updates it again after "+stamp(again))
		return true
	}
	return false
}

// down says that tasks of a service do not run. Soon after an update they may be starting still; later it is what they
// made of it.
func (d *differ) down(b *spec.Binding, svc Service) {
	running, wanted := d.running(b.Host.Name, svc), d.replicas(b.Host.Name, svc)
	if running >= wanted && (running > 0 || svc.Replicas == 0) {
		return
	}
	state, load := Waiting, d.w.State.Loads[b.Name+"/"+svc.ID]
	if age := d.w.Now.Sub(load.At); age > startUp && age < time.Hour {
		state = Failed
	}
	of := ""
	if wanted > 0 {
		of = fmt.Sprintf(" of %d", wanted)
	}
	d.refuse(state, "binding/"+b.Name, fmt.Sprintf("%d%s tasks of service %s run", running, of, svc.Name), "look at `docker service ps "+svc.Name+"`")
}

// onTheWire says what is wrong with tasks that mount what they should. One that an update has not come to yet does not.
func (d *differ) onTheWire(b *spec.Binding, svc Service, m material) {
	for _, c := range d.consumers(b) {
		older := func(t Task) bool { return t.ID == c.Labels[swarmTask] && !slices.Equal(t.Secrets, svc.Secrets) }
		if !svc.Updating() || !slices.ContainsFunc(d.w.Swarms[b.Host.Name].Tasks, older) {
			d.shown(b, c, m)
		}
	}
}

// shown says what is wrong with a task that mounts what it should.
func (d *differ) shown(b *spec.Binding, c Container, m material) {
	served, probed := d.w.Served[TargetKey(b.Name, c)]
	if !probed || m.issued == nil || served.Unreachable {
		return
	}
	subject := "binding/" + b.Name
	switch {
	case served.Err != "" && c.Health == "starting":
		d.refuse(Waiting, subject, c.Name+" is starting", "")
	case served.Err != "":
		f := silent(b, c, served)
		d.refuse(f.State, subject, f.Reason, f.Hint)
	case served.Serial != m.issued.Serial:
		d.refuse(Stale, subject, fmt.Sprintf("%s serves %s, not %s", c.Name, served.Serial, m.issued.Serial),
			"let its configuration name the files in /run/secrets")
	default:
		if f := d.fault(b, c, served); f != nil {
			d.refuse(f.State, subject, f.Reason, f.Hint)
		}
	}
}

// emptied forgets a service that is no place of a binding any more, once no secret of it is left.
func (d *differ) emptied(l Location, binding string) {
	swarm, asked := d.w.Swarms[l.Host]
	b := d.bindings[binding]
	moved := b != nil && b.Place.Swarm()
	switch {
	case !asked || swarm.Err != "":
		d.refuse(Waiting, "binding/"+binding, "left the spec, but the Swarm does not answer: "+swarm.Err, d.unreached(l.Host))
	case moved, !slices.ContainsFunc(swarm.Secrets, func(s Secret) bool { return d.ours(s) && s.Labels[SecretBinding] == binding }):
		d.step(Remove{Binding: binding, At: l}, "none are left")
	}
}

// collect plans the removal of secrets that nothing needs: no spec of a service, no spec it can be rolled back to, and
// no task that may still run. Swarm itself looks at the first alone.
func (d *differ) collect() {
	for host, swarm := range Sorted(d.w.Swarms) {
		used := map[string]bool{}
		use := func(refs []SecretRef) {
			for _, r := range refs {
				used[r.ID] = true
			}
		}
		for _, s := range swarm.Services {
			use(s.Secrets)
			use(s.Previous)
		}
		for _, t := range swarm.Tasks {
			use(t.Secrets)
		}
		for _, s := range swarm.Secrets {
			binding := s.Labels[SecretBinding]
			if !d.ours(s) || used[s.ID] || d.secretNames[s.Word()+"/"+s.Name] || d.unresolved[binding] || d.held["binding/"+binding].Reason != "" {
				continue
			}
			reason := "an older version that nothing uses"
			if d.bindings[binding] == nil {
				reason = "left the spec, and nothing uses it"
			}
			d.step(RemoveSecret{SecretKind: s.SecretKind, Binding: binding, Host: host, Name: s.Name, ID: s.ID}, reason)
		}
	}
}
