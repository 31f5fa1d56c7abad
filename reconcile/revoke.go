package reconcile

import (
	"context"
	"fmt"

	"github.com/certwright/certwright/spec"
)

// revocations plans what people want revoked. It waits for nothing: who has lost a key wants nobody to take it any more,
// whatever else goes wrong.
func (d *differ) revocations() {
	for serial, r := range Sorted(d.w.State.Revocations) {
		a := Revoke{CA: r.Issued.CA, Serial: serial, Identity: r.Identity}
		switch {
		case over(r, d.w):
			d.step(a, "it has expired")
		case d.cas[a.CA] == nil:
			d.refuse(Failed, "ca/"+a.CA, a.String()+": CA "+a.CA+" is not in the spec any more", "revoke it there, and have it forgotten: `certwright revoke "+serial+" --abort`")
		default:
			d.step(a, "asked for at "+stamp(r.At))
		}
	}
}

// over reports whether a certificate has expired, so that revoking it would change nothing.
func over(r Revocation, w *World) bool {
	return !r.Issued.NotAfter.IsZero() && !w.Now.Before(r.Issued.NotAfter)
}

// revoke has the CA revoke a certificate, and forgets that it is to be.
func (r *run) revoke(a Revoke) error {
	wanted := r.st.Revocations[a.Serial]
	if !over(wanted, r.w) {
		if err := r.askToRevoke(*r.cas[a.CA], wanted); err != nil {
			return err
		}
	}
	delete(r.st.Revocations, a.Serial)
	return r.commit()
}

func (r *run) askToRevoke(ca spec.CA, wanted Revocation) error {
	revoker, err := r.Revoker(ca)
	if err != nil {
		return err
	}
	if err := r.whyAway(ca.Name); err != nil {
		return fmt.Errorf("CA %s: %w", ca.Name, err)
	}
	q := RevocationRequest{
		Serial: wanted.Issued.Serial, Roots: r.w.rootsOf(ca, r.stored(ca.Name)), Now: r.w.Now,
	}
	if len(wanted.Issued.Certificate) > 0 {
		q.Own = &wanted.Issued
	}
	_, err = timed(r, askLimit, func(ctx context.Context) (struct{}, error) { return struct{}{}, revoker.Revoke(ctx, ca, q) })
	if err != nil {
		r.leave(ca.Name, err)
		return fmt.Errorf("CA %s: %w", ca.Name, err)
	}
	return nil
}

// Revoker is who revokes what a CA issued, or an error that says that nobody does.
func (p Providers) Revoker(ca spec.CA) (Revoker, error) {
	if ca.Local != nil {
		return nil, fmt.Errorf("CA %s is of certwright's own, which publishes no list of what is revoked in this version", ca.Name)
	}
	outside, err := p.outside(ca)
	if err != nil {
		return nil, err
	}
	revoker, can := outside.(Revoker)
	if !can {
		return nil, fmt.Errorf("CA %s is of the kind %s, through which nothing can be revoked", ca.Name, ca.Kind())
	}
	return revoker, nil
}
