package contract

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// StoresContract tests an implementation of reconcile.Places with the trust stores of containers. at gives one that was never
// used, on each call another one.
func StoresContract(t *testing.T, p reconcile.Places, at func() reconcile.Location) {
	one, two := certificate(t), certificate(t)
	none := map[string]string{"ca.pem": ""}
	holding := func(pem string) map[string]string { return map[string]string{"ca.pem": pem} }
	for _, tt := range []struct {
		name string
		test func(p places)
	}{
		{"an unused store holds nothing", func(p places) {
			p.holds("", nil, none)
			p.remove(reconcile.Removal{At: p.at, Mark: ours, Files: []string{"ca.pem"}})
		}},
		{"what was written is read, and writing again succeeds", func(p places) {
			for range 2 {
				p.mustWrite(p.roots(ours, one+two))
				p.holds(spec.Plain, &ours, holding(one+two))
			}
			c := p.read("ca.pem")
			if f := c.Files["ca.pem"]; f.Mode.Perm() != 0o644 || f.UID != 0 || f.GID != 0 || !c.Exists {
				p.Errorf("mode %04o, owner %d:%d, exists %v", f.Mode, f.UID, f.GID, c.Exists)
			}
		}},
		{"a new unit replaces the old one", func(p places) {
			p.mustWrite(p.roots(ours, one))
			p.mustWrite(p.roots(ours, two))
			p.holds(spec.Plain, &ours, holding(two))
		}},
		{"another installation's roots are foreign, unless they are adopted", func(p places) {
			p.mustWrite(p.roots(theirs, one))
			if err := p.write(p.roots(ours, two)); !errors.Is(err, reconcile.ErrForeign) {
				p.Errorf("the error is %v, want ErrForeign", err)
			}
			p.remove(reconcile.Removal{At: p.at, Mark: ours, Files: []string{"ca.pem"}})
			p.holds(spec.Plain, &theirs, holding(one))
			u := p.roots(ours, two)
			u.Adopt = true
			p.mustWrite(u)
			p.holds(spec.Plain, &ours, holding(two))
		}},
		{"a unit that comes too late changes nothing", func(p places) {
			newer := ours
			newer.Version = 2
			p.mustWrite(p.roots(newer, one))
			if err := p.write(p.roots(ours, two)); !errors.Is(err, reconcile.ErrChanged) {
				p.Errorf("the error is %v, want ErrChanged", err)
			}
			p.holds(spec.Plain, &newer, holding(one))
		}},
		{"removing takes away what is ours, and again succeeds", func(p places) {
			p.mustWrite(p.roots(ours, one))
			for range 2 {
				p.remove(reconcile.Removal{At: p.at, Mark: ours, Files: []string{"ca.pem"}})
				p.holds("", nil, none)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.test(places{t, p, at()}) })
	}
}

// roots is a unit of a bundle.
func (p places) roots(by reconcile.Mark, bundle string) reconcile.Unit {
	u := p.unit(spec.Plain, map[string]string{"ca.pem": bundle})
	u.Mark = by
	u.Files[0].Mode, u.Files[0].UID, u.Files[0].GID = 0o644, 0, 0
	return u
}

// certificate is a CA certificate, as PEM.
func certificate(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62)) // NSS wants no two of one name to have the same
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: serial, NotBefore: time.Unix(1e9, 0), NotAfter: time.Unix(3e9, 0), IsCA: true, BasicConstraintsValid: true}
	c.Subject.CommonName = "contract"
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
