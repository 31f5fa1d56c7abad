package probe

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/providers/probe/wire"
)

// minRSA is the size below which OpenSSL's default security level in common distributions refuses a key, in bits.
const minRSA = 2048

// untrusted says why a client that trusts roots refuses a chain for a name (a DNS name or an address; "" for any
// name) at a time, or "". The verdict is that of crypto/x509, and RSA keys below 2048 bits; the words are our own
// and give every fault that is found, as Go stops at the first.
func untrusted(chain []*x509.Certificate, roots [][]byte, name string, now time.Time) string {
	opts := x509.VerifyOptions{
		DNSName: name, CurrentTime: now, Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	var trusted []*x509.Certificate
	for _, der := range roots {
		root, err := x509.ParseCertificate(der)
		if err != nil {
			return "a trusted CA certificate cannot be read"
		}
		opts.Roots.AddCert(root)
		trusted = append(trusted, root)
	}
	for _, c := range chain[1:] {
		opts.Intermediates.AddCert(c)
	}
	verified, err := chain[0].Verify(opts)
	if err == nil {
		weak := make([]string, len(verified))
		for i, v := range verified {
			weak[i] = weakKeys(v)
		}
		if slices.Contains(weak, "") {
			return ""
		}
		return weak[0]
	}

	path, end := climb(chain, trusted, now)
	faults := []string{lifetime(path[0], "", now), wrongName(chain[0], name), wrongUsage(chain[0]), end}
	for i, c := range path[1:] {
		faults = append(faults, lifetime(c, "the CA "+title(c)+" ", now), wrongIssuer(path[i], c))
	}
	faults = append(faults, weakKeys(path))
	if said := join(faults); said != "" {
		return said
	}
	return verifyWords(err)
}

// climb follows a chain from its leaf to a trusted root, by the signatures. It returns the certificates it met, and
// where it ended if that is not a trusted root.
func climb(chain, trusted []*x509.Certificate, now time.Time) (path []*x509.Certificate, end string) {
	here := chain[0]
	path = []*x509.Certificate{here}
	for {
		if slices.ContainsFunc(trusted, here.Equal) {
			return path, ""
		}
		issuer := issuerOf(here, path, append(slices.Clone(trusted), chain...), now)
		if issuer == nil {
			return path, deadEnd(here, chain, path, trusted)
		}
		here = issuer
		path = append(path, here)
	}
}

// issuerOf picks who signed c: one that is valid now before one that is not.
func issuerOf(c *x509.Certificate, path, among []*x509.Certificate, now time.Time) *x509.Certificate {
	var found *x509.Certificate
	for _, ca := range among {
		if slices.ContainsFunc(path, ca.Equal) || !signed(ca, c) {
			continue
		}
		if lifetime(ca, "", now) == "" {
			return ca
		}
		if found == nil {
			found = ca
		}
	}
	return found
}

// signed reports whether ca's key signed c, whatever ca may do.
func signed(ca, c *x509.Certificate) bool {
	return string(ca.RawSubject) == string(c.RawIssuer) &&
		ca.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
}

// deadEnd says why the path ends at here: nobody who signed it is trusted or presented. When presented CAs are left
// over, one is missing between; when none are, it may be missing or unknown, and the wire does not tell which.
func deadEnd(here *x509.Certificate, chain, path, trusted []*x509.Certificate) string {
	if signed(here, here) {
		if len(path) == 1 {
			return fmt.Sprintf("unknown authority: the certificate is self-signed (key id %s) and not trusted", keyID(here.SubjectKeyId))
		}
		return fmt.Sprintf("unknown authority: the chain ends in %s (key id %s), which is not trusted", title(here), keyID(here.SubjectKeyId))
	}
	issuer := fmt.Sprintf("%s (key id %s)", quoted(here.Issuer.CommonName, here.Issuer.String()), keyID(here.AuthorityKeyId))
	for _, t := range trusted {
		if string(t.RawSubject) == string(here.RawIssuer) {
			return fmt.Sprintf("unknown authority: %s is issued by %s; the trusted CA of that name has the key id %s",
				title(here), issuer, keyID(t.SubjectKeyId))
		}
	}
	for _, c := range chain {
		if c.IsCA && !slices.ContainsFunc(path, c.Equal) {
			return fmt.Sprintf("missing intermediate: %s is issued by %s, which the server does not present", title(here), issuer)
		}
	}
	return fmt.Sprintf("unknown authority or missing intermediate: %s is issued by %s, which is neither trusted nor presented",
		title(here), issuer)
}

func lifetime(c *x509.Certificate, who string, now time.Time) string {
	switch {
	case now.After(c.NotAfter):
		return fmt.Sprintf("%sexpired on %s", who, c.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(c.NotBefore):
		return fmt.Sprintf("%snot valid before %s", who, c.NotBefore.UTC().Format(time.RFC3339))
	}
	return ""
}

// maxNames bounds how many names of a certificate are listed.
const maxNames = 10

func wrongName(leaf *x509.Certificate, name string) string {
	if name == "" || leaf.VerifyHostname(name) == nil {
		return ""
	}
	names := slices.Clone(leaf.DNSNames)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return fmt.Sprintf("wrong name: the certificate has no DNS name or address, and %s is wanted; the common name does not count", name)
	}
	more := ""
	if n := len(names) - maxNames; n > 0 {
		names, more = names[:maxNames], fmt.Sprintf(" and %d more", n)
	}
	return fmt.Sprintf("wrong name: serves %s%s, not %s", strings.Join(names, ", "), more, name)
}

func wrongUsage(leaf *x509.Certificate) string {
	uses := leaf.ExtKeyUsage
	if len(uses)+len(leaf.UnknownExtKeyUsage) == 0 ||
		slices.Contains(uses, x509.ExtKeyUsageServerAuth) || slices.Contains(uses, x509.ExtKeyUsageAny) {
		return ""
	}
	return "wrong usage: the certificate is not for servers (its extended key usage lacks serverAuth)"
}

// wrongIssuer says why ca may not have signed c, or did it in a way nobody accepts any more.
func wrongIssuer(c, ca *x509.Certificate) string {
	var weak x509.InsecureAlgorithmError
	switch err := c.CheckSignatureFrom(ca); {
	case errors.As(err, &weak):
		return fmt.Sprintf("weak signature: %s is signed with %s", title(c), c.SignatureAlgorithm)
	case err != nil:
		return fmt.Sprintf("wrong issuer: %s signed %s and is no CA", title(ca), title(c))
	}
	return ""
}

func weakKeys(path []*x509.Certificate) string {
	for _, c := range path {
		if key, ok := c.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() < minRSA {
			return fmt.Sprintf("weak key: %s has an RSA key of %d bits, below %d", title(c), key.N.BitLen(), minRSA)
		}
	}
	return ""
}

// verifyWords puts the faults that only crypto/x509 finds into words.
func verifyWords(err error) string {
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) {
		switch invalid.Reason {
		case x509.CANotAuthorizedForThisName, x509.UnconstrainedName, x509.NameConstraintsWithoutSANs, x509.TooManyConstraints:
			return "name constraints: " + wire.Printable(invalid.Detail)
		case x509.TooManyIntermediates:
			return "path too long: a CA of the chain allows fewer CAs below it"
		case x509.IncompatibleUsage, x509.CANotAuthorizedForExtKeyUsage:
			return "wrong usage: a CA of the chain is not for issuing to servers (its extended key usage lacks serverAuth)"
		}
	}
	return wire.Printable(strings.TrimPrefix(err.Error(), "x509: "))
}

// title names a certificate: its common name, or else its whole subject.
func title(c *x509.Certificate) string { return quoted(c.Subject.CommonName, c.Subject.String()) }

func quoted(commonName, whole string) string {
	if commonName == "" {
		commonName = whole
	}
	return fmt.Sprintf("%q", commonName)
}

func keyID(id []byte) string {
	if len(id) == 0 {
		return "none"
	}
	return hex.EncodeToString(id)
}
