package reconcile

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/certwright/certwright/spec"
)

// longLife is the longest life that clients which bound it accept of a private CA's certificate (825 days: support.apple.com/103769).
const longLife = 825 * 24 * time.Hour

// identity looks at what an identity is to be, or at what something else issued for it.
func (l *linter) identity(id *spec.Identity) {
	subject := "identity/" + id.Name
	if id.From != nil {
		l.issued(subject, l.w.From[id.Name], id)
		return
	}
	if id.Usage(spec.Server) && id.Lifetime > longLife {
		l.find(subject, "30d is plenty where servers reload", "its certificate lives %s: some clients refuse more than 825d, and who gets its key has it as long", spec.FormatDuration(id.Lifetime))
	}
}

const commonNameAlone = "it has a common name alone, at which clients no longer look (RFC 9525 section 2)"

func (l *linter) issued(subject string, from FromState, id *spec.Identity) {
	leaf, err := x509.ParseCertificate(from.Issued.Certificate)
	if from.Err != "" || err != nil {
		return // which is what blocks it
	}
	const mend = "have what issues it issue a better one"
	for _, why := range weak(append([][]byte{from.Issued.Certificate}, from.Issued.Chain...)) {
		l.find(subject, mend, "%s", why)
	}
	if unnamed(leaf) && l.servesSomewhere(id) {
		l.find(subject, mend, "%s", commonNameAlone)
	}
	if life := leaf.NotAfter.Sub(leaf.NotBefore); l.w.Now.After(leaf.NotAfter.Add(-life / 6)) {
		l.find(subject, "look at what issues it", "it ends on %s, and nothing has renewed it yet", stamp(leaf.NotAfter))
	}
}

func (l *linter) servesSomewhere(id *spec.Identity) bool {
	return slices.ContainsFunc(l.s.Bindings, func(b spec.Binding) bool { return b.Identity != nil && b.Identity.Name == id.Name && b.Probe != nil })
}

func unnamed(leaf *x509.Certificate) bool {
	return len(leaf.DNSNames)+len(leaf.IPAddresses)+len(leaf.URIs)+len(leaf.EmailAddresses) == 0
}

// presented looks at what the consumers of a binding show on the wire, wherever they have it from.
func (l *linter) presented(b *spec.Binding) {
	for _, c := range l.consumers(b) {
		served := l.w.Served[TargetKey(b.Name, c)]
		if len(served.Chain) == 0 {
			continue
		}
		const mend = "`certwright why` says what keeps the wanted one from being served"
		for _, why := range weak(served.Chain) {
			l.find("binding/"+b.Name, mend, "what %s serves: %s", c.Name, why)
		}
		if leaf, err := x509.ParseCertificate(served.Chain[0]); err == nil && unnamed(leaf) {
			l.find("binding/"+b.Name, mend, "what %s serves: %s", c.Name, commonNameAlone)
		}
	}
}

// weak says what of a chain can be forged, or nothing. A root's own signature protects nothing.
func weak(chain [][]byte) (why []string) {
	for _, der := range chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			continue
		}
		who := c.Subject.CommonName
		switch c.SignatureAlgorithm {
		case x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1:
			if !slices.Equal(c.RawSubject, c.RawIssuer) {
				why = append(why, fmt.Sprintf("the certificate of %q is signed with %s, which can be forged and is refused", who, c.SignatureAlgorithm))
			}
		}
		switch k := c.PublicKey.(type) {
		case *rsa.PublicKey:
			if k.N.BitLen() < 2048 {
				why = append(why, fmt.Sprintf("the key of %q has %d bits; RSA wants 2048 or more", who, k.N.BitLen()))
			}
		case *ecdsa.PublicKey:
			if k.Curve.Params().BitSize < 256 {
				why = append(why, fmt.Sprintf("the key of %q is on the curve %s; TLS wants P-256 or more", who, k.Curve.Params().Name))
			}
		}
	}
	return why
}
