package reconcile

import (
	"context"
	"errors"
	"time"

	"github.com/certwright/certwright/spec"
)

var errNoCA = errors.New("it is not there yet: `certwright apply` makes or takes it in")

// Certify has a CA of the spec sign a CSR that somebody else made, so that its key never travels. id is what the CSR asks
// for, with usages and lifetime. It returns the chain, the leaf first, without the root. Nothing is recorded of it but what
// a CA outside wants kept, so the store has to be open for writing.
func (a Applier) Certify(ctx context.Context, ca spec.CA, id spec.Identity, csr []byte) ([][]byte, error) {
	st, err := a.Store.Load(ctx)
	if err != nil {
		return nil, err
	}
	now := a.Clock()
	if ca.Local == nil {
		return a.certifyOutside(ctx, ca, id, csr, st)
	}
	g := st.CAs[ca.Name].Active()
	if g == nil {
		return nil, errNoCA
	}
	signer := *g
	if ca.Local.Certificate != "" {
		if signer, err = a.Authority.Bring(ca); err != nil {
			return nil, err
		}
	}
	if err := a.Authority.Check(signer, now); err != nil {
		return nil, err
	}
	return a.Authority.Certify(id, csr, signer, now)
}

func (a Applier) certifyOutside(ctx context.Context, ca spec.CA, id spec.Identity, csr []byte, st State) ([][]byte, error) {
	outside, err := a.outside(ca)
	if err != nil {
		return nil, err
	}
	st = st.Clone()
	roots := st.CAs[ca.Name].roots()
	if ca.Public() {
		if roots, err = a.Roots(spec.PublicRoots); err != nil {
			return nil, err
		}
	}
	if len(roots) == 0 {
		return nil, errNoCA // and what it answers could not be checked
	}
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	chain, err := outside.Sign(ctx, ca, SigningRequest{
		Identity: id, CSR: csr, Roots: roots, Now: a.Clock(), Kept: func() []byte { return st.CAs[ca.Name].Kept.PKCS8() },
		Resume: func(PrivateKey) ([]byte, error) { return csr, nil }, // whose key is not here
		Accepts: func(chain [][]byte, at time.Time) bool {
			_, err := a.Authority.Accept(id, csr, chain, roots, at)
			return err == nil
		},
		Keep: func(kept []byte) error {
			stored := st.CAs[ca.Name]
			stored.Kept = NewPrivateKey(kept)
			st.CAs[ca.Name] = stored
			return a.Store.Commit(ctx, st)
		},
	})
	if err != nil {
		return nil, err
	}
	issued, err := a.Authority.Accept(id, csr, chain, roots, a.Clock())
	if err != nil {
		return nil, err
	}
	return append([][]byte{issued.Certificate}, issued.Chain...), nil
}
