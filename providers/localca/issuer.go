package localca

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/certwright/certwright/reconcile"
)

// issuer is a generation ready to sign. Nothing in it changes.
type issuer struct {
	cert   *x509.Certificate
	chain  []*x509.Certificate // cert first, the root last
	signer crypto.Signer
	keyID  []byte
	// path is what its leaves carry beside themselves, all but the root; every one of them shares it.
	path [][]byte
	// notBefore and notAfter bound the time in which the whole chain is valid.
	notBefore, notAfter time.Time
}

// openIssuer parses a generation and proves all of it that does not depend on the time.
func openIssuer(g reconcile.Generation) (*issuer, error) {
	chain := make([]*x509.Certificate, 0, 1+len(g.Chain))
	for _, der := range append([][]byte{g.Certificate}, g.Chain...) {
		cert, err := parseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of the CA's chain: %w", len(chain)+1, err)
		}
		chain = append(chain, cert)
	}
	by := &issuer{cert: chain[0], chain: chain, keyID: keyIDOf(chain[0]), path: ders(chain[:len(chain)-1])}
	if len(g.Key.PKCS8()) == 0 {
		return nil, fmt.Errorf("%s has no key here, so it cannot sign", caName(by.cert))
	}
	var err error
	if by.signer, err = parsePKCS8(g.Key.PKCS8()); err != nil {
		return nil, fmt.Errorf("the key of %s: %w", caName(by.cert), err)
	}
	if !samePublic(by.signer.Public(), by.cert.PublicKey) {
		return nil, fmt.Errorf("the key of %s belongs to another certificate", caName(by.cert))
	}
	if id := hex.EncodeToString(by.keyID); g.KeyID != "" && g.KeyID != id {
		return nil, fmt.Errorf("the certificate of %s has the key id %s, not %s as recorded", caName(by.cert), id, g.KeyID)
	}
	if err := checkKey(by.cert.PublicKey); err != nil {
		return nil, fmt.Errorf("the key of %s: %w", caName(by.cert), err)
	}
	by.notBefore, by.notAfter = window(chain)
	return by, verifyCAs(chain, by.notBefore)
}

// verifyCAs proves that every certificate is a CA's, was signed by the next, and that the last one is a root.
func verifyCAs(chain []*x509.Certificate, at time.Time) error {
	for i, cert := range chain {
		if err := isCA(cert); err != nil {
			return err
		}
		if cert.MaxPathLen >= 0 && i > cert.MaxPathLen { // x509.Verify would say so of the leaf only
			return fmt.Errorf("%s may have %d CAs below it (pathlen), and has %d: take another one as the parent",
				caName(cert), cert.MaxPathLen, i)
		}
		if i == len(chain)-1 {
			if !isRoot(cert) {
				return fmt.Errorf("%s is no root: add the certificate of its issuer, %q", caName(cert), cert.Issuer)
			}
		} else if err := cert.CheckSignatureFrom(chain[i+1]); err != nil {
			return fmt.Errorf("%s was not signed by %s, the next certificate: put every issuer behind what it signed: %w",
				caName(cert), caName(chain[i+1]), err)
		}
	}
	if len(chain) == 1 {
		return nil // nothing to lead to; and x509.Verify leaves out most checks of a root
	}
	// This adds what no single link shows: names that one CA's constraints forbid another.
	return verify(chain, at)
}

// verify looks at a whole chain, its root last, as a client would.
func verify(chain []*x509.Certificate, at time.Time) error {
	last := len(chain) - 1
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots:         pool(chain[last]),
		Intermediates: pool(chain[1:last]...),
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
		CurrentTime:   at,
	})
	if err != nil {
		return fmt.Errorf("%q does not verify with %s: %w", chain[0].Subject, caName(chain[last]), err)
	}
	return nil
}

// isCA checks what makes a certificate a CA's (RFC 5280 sections 4.2.1.3 and 4.2.1.9).
func isCA(cert *x509.Certificate) error {
	if !cert.BasicConstraintsValid || !cert.IsCA {
		return fmt.Errorf("%q is not a CA: its certificate does not say CA:TRUE", cert.Subject)
	}
	if cert.KeyUsage != 0 && cert.KeyUsage&x509.KeyUsageCertSign == 0 {
		return fmt.Errorf("%s may not sign certificates: its key usage lacks keyCertSign", caName(cert))
	}
	if len(cert.UnhandledCriticalExtensions) > 0 {
		return fmt.Errorf("%s has a critical extension that cannot be honoured here: %s",
			caName(cert), cert.UnhandledCriticalExtensions[0])
	}
	return nil
}

// validAt refuses an issuer at a time when a certificate of its chain is not valid.
func (by *issuer) validAt(now time.Time) error {
	for _, cert := range by.chain {
		if now.After(cert.NotAfter) {
			return fmt.Errorf("%s expired on %s: bring a renewed one of the same key, or put another CA beside it (docs/tls-yaml.md)", caName(cert), date(cert.NotAfter))
		}
		if now.Before(cert.NotBefore) {
			return fmt.Errorf("%s is not valid before %s, and it is %s here: check the clock",
				caName(cert), date(cert.NotBefore), date(now))
		}
	}
	return nil
}

// minLife is the shortest life worth issuing because an issuer ends.
const minLife = time.Minute

// validity gives the dates of a certificate signed now. It is backdated for peers whose clocks are behind; that
// is no part of its life. It never begins before its issuers do, nor ends after them.
func (by *issuer) validity(life time.Duration, now time.Time) (notBefore, notAfter time.Time, err error) {
	if err := by.validAt(now); err != nil {
		return time.Time{}, time.Time{}, err
	}
	left := by.notAfter.Sub(now)
	if left < min(minLife, life) {
		return time.Time{}, time.Time{}, fmt.Errorf("%s ends on %s, too soon to sign by it: bring a renewed one of the same key, or put another CA beside it (docs/tls-yaml.md)",
			caName(by.cert), date(by.notAfter))
	}
	notBefore, notAfter, err = validity(min(life, left), now)
	if notBefore.Before(by.notBefore) {
		notBefore = by.notBefore
	}
	return notBefore, notAfter, err
}

// validity gives the dates of a certificate of that life, in whole seconds as X.509 has them.
func validity(life time.Duration, now time.Time) (notBefore, notAfter time.Time, err error) {
	if life < time.Second {
		return time.Time{}, time.Time{}, fmt.Errorf("a life of %s is too short for a certificate", life)
	}
	backdate := min(time.Hour, life/10)
	return now.UTC().Add(-backdate).Truncate(time.Second), now.UTC().Add(life).Truncate(time.Second), nil
}

// testSign signs something and verifies it with the certificate, not with the key.
func (by *issuer) testSign() error {
	message := []byte("certwright test signature")
	algorithm, hash := signatureOf(by.signer.Public())
	signature, err := crypto.SignMessage(by.signer, rand.Reader, message, hash)
	if err != nil {
		return fmt.Errorf("the key of %s does not sign: %w", caName(by.cert), err)
	}
	if err := by.cert.CheckSignature(algorithm, message, signature); err != nil {
		return fmt.Errorf("what the key of %s signs does not verify: %w", caName(by.cert), err)
	}
	return nil
}

// window is the time in which all of the certificates are valid.
func window(chain []*x509.Certificate) (notBefore, notAfter time.Time) {
	notBefore, notAfter = chain[0].NotBefore, chain[0].NotAfter
	for _, cert := range chain[1:] {
		if cert.NotBefore.After(notBefore) {
			notBefore = cert.NotBefore
		}
		if cert.NotAfter.Before(notAfter) {
			notAfter = cert.NotAfter
		}
	}
	return notBefore, notAfter
}

// isRoot tells a root from an intermediate. A root's own signature protects nothing, so one made with an
// algorithm that is no longer trusted does no harm.
func isRoot(cert *x509.Certificate) bool {
	if !bytes.Equal(cert.RawIssuer, cert.RawSubject) {
		return false
	}
	err := cert.CheckSignatureFrom(cert)
	var insecure x509.InsecureAlgorithmError
	return err == nil || errors.As(err, &insecure)
}

func pool(certs ...*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, cert := range certs {
		p.AddCert(cert)
	}
	return p
}

func ders(certs []*x509.Certificate) [][]byte {
	var out [][]byte
	for _, cert := range certs {
		out = append(out, cert.Raw)
	}
	return slices.Clip(out)
}

// caName is how errors name a CA: by what its certificate calls it.
func caName(cert *x509.Certificate) string {
	if cert.Subject.CommonName != "" {
		return fmt.Sprintf("CA %q", cert.Subject.CommonName)
	}
	return fmt.Sprintf("CA %q", cert.Subject)
}

func date(t time.Time) string { return t.UTC().Format(time.RFC3339) }
