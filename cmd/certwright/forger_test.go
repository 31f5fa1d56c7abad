package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/providers/servertest"
)

// month is how long all lives that is signed here.
const month = 30 * 24 * time.Hour

// forger has the keys of a CA, and of another one of the same names.
type forger struct {
	t                      testing.TB
	root, middle, stranger servertest.Issuer
	placed                 []byte // PEM: what it answered with when all was well
}

func newForger(t testing.TB) *forger {
	t.Helper()
	root := servertest.NewIssuer(t, "Forger", nil)
	return forgerWith(t, root, servertest.NewIssuer(t, "Forger's", &root))
}

// forgerWith has the keys of a CA that is there.
func forgerWith(t testing.TB, root, middle servertest.Issuer) *forger {
	t.Helper()
	stranger := servertest.Issue(t, x509.Certificate{
		RawSubject: middle.Certificate.RawSubject, SubjectKeyId: middle.Certificate.SubjectKeyId,
		IsCA: true, KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().Add(month),
	}, nil)
	learnKey(stranger.Key)
	return &forger{t: t, root: root, middle: middle, stranger: stranger}
}

// askedFor is what a request asks for, for a server.
func askedFor(csr *x509.CertificateRequest) x509.Certificate {
	return x509.Certificate{
		RawSubject: csr.RawSubject, DNSNames: csr.DNSNames, IPAddresses: csr.IPAddresses, NotAfter: time.Now().Add(month),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
}

// answer is what the CA answers when all is well, but for what edit changes of the leaf.
func (f *forger) answer(csr *x509.CertificateRequest, edit func(*x509.Certificate)) []byte {
	leaf := askedFor(csr)
	edit(&leaf)
	return chainPEM(f.middle.Sign(f.t, leaf, csr.PublicKey), f.middle.Certificate)
}

// server is a TLS server of the CA on loopback.
func (f *forger) server(h http.Handler) (url string) {
	leaf := f.middle.Leaf(f.t, "front", time.Now().Add(time.Hour))
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // clients hang up, as they should
	s.TLS = &tls.Config{Certificates: []tls.Certificate{leaf.TLS(f.middle)}}
	s.StartTLS()
	f.t.Cleanup(s.Close)
	return s.URL
}

func chainPEM(certs ...*x509.Certificate) []byte {
	var out []byte
	for _, c := range certs {
		out = append(out, servertest.PEM("CERTIFICATE", c.Raw)...)
	}
	return out
}

// lie is what a CA must not answer.
type lie struct {
	name   string
	want   string // the cause that is said
	answer func(f *forger, csr *x509.CertificateRequest) []byte
}

// lies are answers with PEM, or something else in its place. A kind of CA has words of its own for those without a cause here.
var lies = []lie{
	{"empty", "", func(*forger, *x509.CertificateRequest) []byte { return nil }},
	{"garbage", "", func(*forger, *x509.CertificateRequest) []byte { return []byte("<html>it works!</html>\n") }},
	{"a key", "", func(f *forger, _ *x509.CertificateRequest) []byte { return f.stranger.KeyPEM(f.t) }},
	{"too large", "", func(f *forger, csr *x509.CertificateRequest) []byte {
		return append(bytes.Repeat([]byte(" "), 2<<20), f.answer(csr, func(*x509.Certificate) {})...)
	}},
	{"no certificate in the PEM", "", func(f *forger, csr *x509.CertificateRequest) []byte {
		return servertest.PEM("CERTIFICATE", []byte("none"))
	}},
	{"too many", "certificates", func(f *forger, csr *x509.CertificateRequest) []byte {
		out := f.answer(csr, func(*x509.Certificate) {})
		for range 10 {
			out = append(out, servertest.NewIssuer(f.t, "one more", nil).PEM()...)
		}
		return out
	}},
	{"another key", "of another key", func(f *forger, csr *x509.CertificateRequest) []byte {
		return chainPEM(f.middle.Sign(f.t, askedFor(csr), &f.stranger.Key.PublicKey), f.middle.Certificate)
	}},
	{"the one before", "of another key", func(f *forger, _ *x509.CertificateRequest) []byte { return f.placed }},
	{"another root", "does not lead to a root", func(f *forger, csr *x509.CertificateRequest) []byte {
		return chainPEM(f.stranger.Sign(f.t, askedFor(csr), csr.PublicKey), f.stranger.Certificate)
	}},
	{"another signature", "does not lead to a root", func(f *forger, csr *x509.CertificateRequest) []byte {
		return chainPEM(f.stranger.Sign(f.t, askedFor(csr), csr.PublicKey), f.middle.Certificate)
	}},
	{"no intermediate", "does not lead to a root", func(f *forger, csr *x509.CertificateRequest) []byte {
		return chainPEM(f.middle.Sign(f.t, askedFor(csr), csr.PublicKey))
	}},
	{"out of order", "one of a CA", func(f *forger, csr *x509.CertificateRequest) []byte {
		return chainPEM(f.middle.Certificate, f.middle.Sign(f.t, askedFor(csr), csr.PublicKey))
	}},
	{"an expired intermediate", "has expired or is not yet valid", func(f *forger, csr *x509.CertificateRequest) []byte {
		was := servertest.Issue(f.t, x509.Certificate{
			Subject: pkix.Name{CommonName: "it was"}, IsCA: true, KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().Add(-time.Second),
		}, &f.middle)
		return chainPEM(was.Sign(f.t, askedFor(csr), csr.PublicKey), was.Certificate, f.middle.Certificate)
	}},
	{"expired", "has expired or is not yet valid", forged(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) })},
	{"not yet valid", "has expired or is not yet valid", forged(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(2 * time.Hour) })},
	{"a name less", "has the names", forged(func(c *x509.Certificate) { c.DNSNames = c.DNSNames[1:] })},
	{"a name more", "evil.test", forged(func(c *x509.Certificate) { c.DNSNames = append(slices.Clone(c.DNSNames), "evil.test") })},
	{"a wildcard", "*.test", forged(func(c *x509.Certificate) { c.DNSNames = []string{"*.test"} })},
	{"for a client", "not for a server", forged(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })},
	{"one of a CA", "one of a CA", forged(func(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, c.KeyUsage|x509.KeyUsageCertSign })},
}

func forged(edit func(*x509.Certificate)) func(*forger, *x509.CertificateRequest) []byte {
	return func(f *forger, csr *x509.CertificateRequest) []byte { return f.answer(csr, edit) }
}

// inChain are the certificates of an answer one by one, each with what stands before it.
func inChain(answer []byte) []string {
	return slices.DeleteFunc(strings.SplitAfter(string(answer), "-----END CERTIFICATE-----\n"), func(s string) bool { return s == "" })
}
