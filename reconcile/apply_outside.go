package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/certwright/certwright/spec"
)

// A CA outside has this long to answer, also where it first has names proved to it.
const askLimit = 10 * time.Minute

// takeIn makes the roots of a CA outside durable: from then on it is known by them.
func (r *run) takeIn(ca spec.CA) error {
	roots := r.w.Outside[ca.Name].Roots
	if ca.Roots() == "" {
		outside, err := r.outside(ca)
		if err != nil {
			return err
		}
		roots, err = timed(r, askLimit, func(ctx context.Context) ([][]byte, error) { return outside.Roots(ctx, ca) })
		if err != nil {
			return err
		}
	}
	if len(roots) == 0 {
		return fmt.Errorf("CA %s has no root", ca.Name)
	}
	next := CA{Kept: r.st.CAs[ca.Name].Kept}
	for i, root := range roots {
		g, err := r.Authority.TakeIn(root, i+1, r.w.Now)
		if err != nil {
			return err
		}
		g.State = GenerationActive
		if i > 0 { // trusted beside the first
			g.State = GenerationNext
		}
		next.Generations = append(next.Generations, g)
	}
	r.st.CAs[ca.Name] = next
	return r.commit()
}

// outside is who asks CAs of that kind.
func (p Providers) outside(ca spec.CA) (Outside, error) {
	o := p.Outside[ca.Kind()]
	if o == nil {
		return nil, fmt.Errorf("CA %s is of the kind %s, which is not in this version", ca.Name, ca.Kind())
	}
	return o, nil
}

// ask has a CA outside sign, and believes its answer when it is what was asked for.
func (r *run) ask(ca spec.CA, id spec.Identity, keep PrivateKey) (Issued, error) {
	outside, err := r.outside(ca)
	if err != nil {
		return Issued{}, err
	}
	csr, key, err := r.Authority.Request(id, keep)
	if err != nil {
		return Issued{}, err
	}
	roots := r.w.rootsOf(ca, r.stored(ca.Name))
	q := SigningRequest{
		Identity: id, CSR: csr, Key: key, Roots: roots, Now: r.w.Now,
		Kept: func() []byte { return r.stored(ca.Name).Kept.PKCS8() }, Keep: func(kept []byte) error { return r.keep(ca.Name, kept) },
		Resume: func(kept PrivateKey) ([]byte, error) {
			if had := r.w.State.Identities[id.Name].Key; len(keep.PKCS8()) == 0 && slices.Equal(had.PKCS8(), kept.PKCS8()) {
				return nil, ErrOtherKey
			}
			again, _, err := r.Authority.Request(id, kept)
			if err == nil {
				csr, key = again, kept
			}
			return again, err
		},
		Accepts: func(chain [][]byte, at time.Time) bool {
			_, err := r.Authority.Accept(id, csr, chain, roots, at)
			return err == nil
		},
	}
	if i, ok := r.w.State.Identities[id.Name]; ok && stillAsked(&id, &i, roots) && r.w.Now.Before(i.NotAfter) {
		q.Current = &i
	}
	err = r.whyAway(ca.Name)
	var chain [][]byte
	if err == nil {
		chain, err = timed(r, askLimit, func(ctx context.Context) ([][]byte, error) { return outside.Sign(ctx, ca, q) })
	}
	if err != nil {
		r.leave(ca.Name, err)
		return Issued{}, fmt.Errorf("CA %s: %w", ca.Name, err)
	}
	// A pass that had to wait for a CA is older than what it was given.
	issued, err := r.Authority.Accept(id, csr, chain, roots, r.Clock())
	if err != nil {
		return Issued{}, fmt.Errorf("CA %s answered with what was not asked for, and it was thrown away: %w", ca.Name, err)
	}
	issued.Key = key
	if ca.Public() {
		err = r.takeInUsed(ca.Name, issued.Root)
	}
	return issued, err
}

// rootsOf are those that what a CA outside answers has to lead to one of.
func (w *World) rootsOf(ca spec.CA, stored CA) [][]byte {
	if ca.Public() {
		return w.Outside[ca.Name].Roots
	}
	return stored.roots()
}

// takeInUsed adds the root that something a public CA issued leads to, to be committed with that. All the roots it might
// lead to are taken in by nobody: there are a hundred and more, and most are other CAs'.
func (r *run) takeInUsed(ca string, root []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.st.CAs[ca]
	if slices.ContainsFunc(now.roots(), func(known []byte) bool { return slices.Equal(known, root) }) {
		return nil
	}
	g, err := r.Authority.TakeIn(root, len(now.Generations)+1, r.w.Now)
	if err != nil {
		return err
	}
	g.State = GenerationActive
	if len(now.Generations) > 0 {
		g.State = GenerationNext
	}
	now.Generations = append(slices.Clip(now.Generations), g)
	r.st.CAs[ca] = now
	return nil
}

// whyAway says why a CA is not asked again in this pass: each identity would wait for it as long as the first, and all that
// comes after in the pass with them.
func (r *run) whyAway(ca string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.away[ca]
}

// leave remembers a CA that gave no answer, or said when to come back with whatever it may be.
func (r *run) leave(ca string, err error) {
	var away Away
	var later RetryAfter
	if errors.As(err, &away) || errors.As(err, &later) && !later.One {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.away[ca] = err
	}
}

// stillAsked reports whether a certificate is of the CA as it is pinned, and of what the spec asks for now.
func stillAsked(id *spec.Identity, i *Issued, roots [][]byte) bool {
	in := checked{id: id, stored: i}
	changed := namesChanged(in) + usagesChanged(in) + subjectChanged(in) + keyChanged(in) + lifetimeChanged(in)
	return i.CA == id.CA.Name && changed == "" && slices.ContainsFunc(roots, func(root []byte) bool { return slices.Equal(root, i.Root) })
}

// stored is a CA, of which others may keep something at the same time.
func (r *run) stored(ca string) CA {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.st.CAs[ca]
}

// keep makes what a CA outside needs to be asked again durable, before it is used.
func (r *run) keep(ca string, kept []byte) error {
	r.mu.Lock()
	now := r.st.CAs[ca]
	now.Kept = NewPrivateKey(slices.Clone(kept))
	r.st.CAs[ca] = now
	r.mu.Unlock()
	return r.commit()
}
