package reconcile

import (
	"errors"
	"fmt"
	"time"

	"github.com/certwright/certwright/spec"
)

// createCA makes a CA's first generation durable, and proves from what was read back that it can sign.
func (r *run) createCA(a CreateCA) error {
	ca := r.cas[a.CA]
	if ca.Local == nil {
		return r.takeIn(*ca)
	}
	var g Generation
	if b, ok := r.w.Brought[a.CA]; ok {
		g = b.Generation
		g.Key = PrivateKey{}
	} else {
		var parent *Generation
		if ca.Local.Parent != nil {
			p, ok := r.signer(ca.Local.Parent.Name, r.st)
			if !ok {
				return fmt.Errorf("CA %s cannot sign", ca.Local.Parent.Name)
			}
			parent = &p
		}
		var err error
		if g, err = r.Authority.Create(*ca, parent, 1, r.w.Now); err != nil {
			return err
		}
		g.Wanted = profileOfCA(ca, parent)
	}
	g.State = GenerationActive
	r.st.CAs[a.CA] = CA{Generations: []Generation{g}}
	if err := r.commit(); err != nil {
		return err
	}
	back, err := r.Store.ReadBack(r.ctx)
	if err != nil {
		r.broken = err
		return fmt.Errorf("read the new CA back: %w", err)
	}
	r.st = back.Clone()
	signer, ok := r.signer(a.CA, r.st)
	if !ok {
		return errors.New("the new CA is not there when read back")
	}
	return r.Authority.Check(signer, r.w.Now)
}

// issue makes certificates on every processor and commits them together.
func (r *run) issue(steps []Step) {
	start := r.Clock()
	signers := r.signers(steps)
	errs := make([]error, len(steps))
	done := make([]Issued, len(steps))
	begun := make([]bool, len(steps))
	for i, s := range steps {
		begun[i] = r.begin(s)
	}
	_ = inParallel(len(steps), func(i int) error {
		if begun[i] {
			done[i], errs[i] = guarded(r.Providers, func() (Issued, error) { return r.sign(steps[i], signers) })
		}
		return nil
	})
	changed := false
	for i, s := range steps {
		if begun[i] && errs[i] == nil {
			changed = true
			r.st.Identities[s.Action.(Issue).Identity] = done[i]
			delete(r.st.Wishes, s.Action.Subject())
		}
	}
	var failed error
	if changed {
		failed = r.commit()
	}
	for i, s := range steps {
		if begun[i] {
			r.end(s, errors.Join(errs[i], failed), start)
		}
	}
}

// signing is the generation that signs for a CA, or why there is none.
type signing struct {
	by  Generation
	err error
}

// signers are the CAs the steps need, each proved to be able to sign: an earlier run may have ended between making
// one and proving it.
func (r *run) signers(steps []Step) map[string]signing {
	out := map[string]signing{}
	for _, s := range steps {
		name := r.ids[s.Action.(Issue).Identity].CA.Name
		if _, done := out[name]; done || r.cas[name].Local == nil {
			continue
		}
		g, ok := r.signer(name, r.st)
		if !ok {
			out[name] = signing{err: fmt.Errorf("CA %s cannot sign", name)}
			continue
		}
		out[name] = signing{by: g, err: r.guard(func() error { return r.Authority.Check(g, r.w.Now) })}
	}
	return out
}

func (r *run) sign(s Step, signers map[string]signing) (Issued, error) {
	a := s.Action.(Issue)
	id := r.ids[a.Identity]
	var keep PrivateKey
	if a.Reuse {
		keep = r.w.State.Identities[a.Identity].Key
	}
	i, err := r.signed(*id, signers[id.CA.Name], keep)
	i.Wanted, i.Reason = profileOf(id), s.Reason
	i.Unbidden = since(r.w.State.Identities[a.Identity].Unbidden, r.w.Now.Add(-time.Hour))
	if a.Unbidden {
		i.Unbidden = append(i.Unbidden, r.w.Now)
	}
	return i, err
}

// signed has the identity's CA sign, be it here or outside.
func (r *run) signed(id spec.Identity, signer signing, keep PrivateKey) (Issued, error) {
	switch ca := r.cas[id.CA.Name]; {
	case ca.Local == nil:
		return r.ask(*ca, id, keep)
	case signer.err != nil:
		return Issued{}, signer.err
	}
	return r.Authority.Issue(id, signer.by, keep, r.w.Now)
}
