package probe_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/providers/probe/zoo"
	"github.com/certwright/certwright/reconcile"
)

// TestCertificates has a server for every fault a certificate or a chain can have, and a few that have none. The
// probe is for "web" and trusts "Root".
func TestCertificates(t *testing.T) {
	c := newCage(t)
	type change = func(*x509.Certificate)
	leaf := func(f change) tls.Certificate { return c.sub.Leaf(t, "web", f).TLS() }
	under := func(f change) tls.Certificate { return c.root.CA(t, "Odd", f).Leaf(t, "web").TLS() }
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	stranger := zoo.Root(t, "Stranger")
	twin := zoo.Root(t, "Root", func(x *x509.Certificate) { x.SubjectKeyId = []byte{1, 2, 3, 4} })
	deep := c.sub.CA(t, "Deep").Leaf(t, "web").TLS()
	narrow := c.root.CA(t, "Narrow", func(x *x509.Certificate) { x.MaxPathLen, x.MaxPathLenZero = 0, true })
	selfSigned := zoo.Root(t, "web", func(x *x509.Certificate) { x.DNSNames = []string{"web"} })

	for name, row := range map[string]struct {
		cert   tls.Certificate
		server string // the name asked for; web if empty
		want   string
	}{
		"clean":                 {c.web.TLS(), "", ""},
		"clean from the root":   {c.root.Leaf(t, "web").TLS(), "", ""},
		"an address":            {c.web.TLS(), "127.0.0.1", ""},
		"a wildcard":            {leaf(func(x *x509.Certificate) { x.DNSNames = []string{"*.example.com"} }), "a.example.com", ""},
		"any usage":             {leaf(func(x *x509.Certificate) { x.ExtKeyUsage = nil }), "", ""},
		"root presented too":    {with(c.web.TLS(), c.root.Raw), "", ""},
		"another root too":      {with(c.web.TLS(), stranger.Raw), "", ""},
		"wrong order":           {reordered(deep), "", ""},
		"serial of small value": {leaf(func(x *x509.Certificate) { x.SerialNumber = big.NewInt(10) }), "", ""},

		"expired":       {leaf(func(x *x509.Certificate) { x.NotAfter = now.Add(-time.Hour) }), "", "expired on 2026-01-15T11:00:00Z"},
		"not yet valid": {leaf(func(x *x509.Certificate) { x.NotBefore = now.Add(time.Hour) }), "", "not valid before 2026-01-15T13:00:00Z"},

		"wrong name":      {c.web.TLS(), "db", "wrong name: serves web, 127.0.0.1, not db"},
		"wrong address":   {c.web.TLS(), "127.0.0.2", "wrong name: serves web, 127.0.0.1, not 127.0.0.2"},
		"wildcard's root": {leaf(func(x *x509.Certificate) { x.DNSNames = []string{"*.example.com"}; x.IPAddresses = nil }), "example.com", "wrong name: serves *.example.com, not example.com"},
		"only a common name": {
			leaf(func(x *x509.Certificate) { x.DNSNames, x.IPAddresses = nil, nil }), "",
			"wrong name: the certificate has no DNS name or address, and web is wanted; the common name does not count",
		},
		"many names": {
			leaf(func(x *x509.Certificate) { x.DNSNames = many(30); x.IPAddresses = nil }), "",
			"wrong name: serves n00, n01, n02, n03, n04, n05, n06, n07, n08, n09 and 20 more, not web",
		},
		"name with control characters": {
			leaf(func(x *x509.Certificate) { x.DNSNames = []string{"a\x1b[31m\nb"}; x.IPAddresses = nil }), "",
			"wrong name: serves a [31m b, not web",
		},
		"expired and wrong name": {
			leaf(func(x *x509.Certificate) { x.NotAfter = now.Add(-time.Hour); x.IPAddresses = nil }), "db",
			"expired on 2026-01-15T11:00:00Z; wrong name: serves web, not db",
		},

		"clients only": {
			leaf(func(x *x509.Certificate) { x.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), "",
			"wrong usage: the certificate is not for servers (its extended key usage lacks serverAuth)",
		},
		"clients only from the CA": {
			under(func(x *x509.Certificate) { x.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), "",
			"wrong usage: a CA of the chain is not for issuing to servers (its extended key usage lacks serverAuth)",
		},

		"missing intermediate": {
			without(c.web.TLS()), "",
			`unknown authority or missing intermediate: "web" is issued by "Sub" (key id SUB), which is neither trusted nor presented`,
		},
		"missing one of two": {
			tls.Certificate{Certificate: [][]byte{deep.Certificate[0], deep.Certificate[2]}, PrivateKey: deep.PrivateKey},
			"",
			`missing intermediate: "web" is issued by "Deep" (key id DEEP), which the server does not present`,
		},
		"missing, and a stray leaf": {
			with(without(c.web.TLS()), c.good.Raw), "",
			`unknown authority or missing intermediate: "web" is issued by "Sub" (key id SUB), which is neither trusted nor presented`,
		},
		"an expired twin of the intermediate": {
			tls.Certificate{Certificate: [][]byte{c.web.Raw, expiredSub(t, c).Raw, c.sub.Raw}, PrivateKey: c.web.Signer},
			"db",
			"wrong name: serves web, 127.0.0.1, not db",
		},
		"unknown root, presented": {
			with(stranger.Leaf(t, "web").TLS(), stranger.Raw), "",
			`unknown authority: the chain ends in "Stranger" (key id STRANGER), which is not trusted`,
		},
		"unknown root": {
			stranger.Leaf(t, "web").TLS(), "",
			`unknown authority or missing intermediate: "web" is issued by "Stranger" (key id STRANGER), which is neither trusted nor presented`,
		},
		"another key of the same name": {
			twin.Leaf(t, "web").TLS(), "",
			`unknown authority: "web" is issued by "Root" (key id 01020304); the trusted CA of that name has the key id ROOT`,
		},
		"self-signed": {
			selfSigned.TLS(), "",
			`unknown authority: the certificate is self-signed (key id WEB) and not trusted`,
		},
		"no name of an issuer": {
			zoo.Root(t, "", func(x *x509.Certificate) { x.Subject = pkix.Name{Organization: []string{"Org\n"}} }).Leaf(t, "web").TLS(), "",
			`unknown authority or missing intermediate: "web" is issued by "O=Org\n" (key id EMPTY), which is neither trusted nor presented`,
		},

		"expired intermediate": {
			under(func(x *x509.Certificate) { x.NotAfter = now.Add(-time.Hour) }), "",
			`the CA "Odd" expired on 2026-01-15T11:00:00Z`,
		},
		"intermediate not yet valid": {
			under(func(x *x509.Certificate) { x.NotBefore = now.Add(time.Hour) }), "",
			`the CA "Odd" not valid before 2026-01-15T13:00:00Z`,
		},
		"intermediate that is no CA": {
			under(func(x *x509.Certificate) { x.IsCA = false }), "",
			`wrong issuer: "Odd" signed "web" and is no CA`,
		},
		"intermediate that may not sign": {
			under(func(x *x509.Certificate) { x.KeyUsage = x509.KeyUsageDigitalSignature }), "",
			`wrong issuer: "Odd" signed "web" and is no CA`,
		},
		"path too long": {
			narrow.CA(t, "Below").Leaf(t, "web").TLS(), "",
			"path too long: a CA of the chain allows fewer CAs below it",
		},
		"excluded name": {
			under(func(x *x509.Certificate) { x.ExcludedDNSDomains, x.PermittedDNSDomainsCritical = []string{"web"}, true }), "",
			`name constraints: DNS name "web" is excluded by constraint "web"`,
		},
		"name not permitted": {
			under(func(x *x509.Certificate) {
				x.PermittedDNSDomains, x.PermittedDNSDomainsCritical = []string{"example.com"}, true
			}), "",
			`name constraints: DNS name "web" is not permitted by any constraint`,
		},
		"unknown critical extension": {
			leaf(func(x *x509.Certificate) {
				x.ExtraExtensions = []pkix.Extension{{Id: []int{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}}}
			}), "",
			"unhandled critical extension",
		},

		"weak key": {
			c.sub.LeafOf(t, weak, "web").TLS(), "",
			`weak key: "web" has an RSA key of 1024 bits, below 2048`,
		},
		"weak signature": {
			leaf(func(x *x509.Certificate) { x.SignatureAlgorithm = x509.ECDSAWithSHA1 }), "",
			`weak signature: "web" is signed with ECDSA-SHA1`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := c.request(t, server(t, serving(row.cert), nil))
			if row.server != "" {
				r.ServerName = row.server
			}
			x, err := x509.ParseCertificate(row.cert.Certificate[0])
			if err != nil {
				t.Fatal(err)
			}
			want := strings.NewReplacer(ids("Sub", "Deep", "Stranger", "Root", "web", "")...).Replace(row.want)
			expect(t, r, seen{Serial: zoo.Cert{Certificate: x}.Serial(), Version: "TLS 1.3", Untrusted: want})
		})
	}
}

// TestTrust changes what is trusted and what is asked, not the server.
func TestTrust(t *testing.T) {
	c := newCage(t)
	old := zoo.Root(t, "Old", func(x *x509.Certificate) { x.NotAfter = now.Add(-time.Hour) })
	expired := old.Leaf(t, "web")
	fine := server(t, serving(c.web.TLS()), nil)
	for name, row := range map[string]struct {
		dial   func(context.Context) (net.Conn, error)
		change func(*reconcile.ProbeRequest)
		serial string
		want   string
	}{
		"no name":          {fine, func(r *reconcile.ProbeRequest) { r.ServerName = "" }, c.web.Serial(), ""},
		"no protocol":      {fine, func(r *reconcile.ProbeRequest) { r.Protocol = "" }, c.web.Serial(), ""},
		"more roots":       {fine, func(r *reconcile.ProbeRequest) { r.Roots = append(r.Roots, old.Raw) }, c.web.Serial(), ""},
		"the leaf itself":  {fine, func(r *reconcile.ProbeRequest) { r.Roots = [][]byte{c.web.Raw} }, c.web.Serial(), ""},
		"the intermediate": {fine, func(r *reconcile.ProbeRequest) { r.Roots = [][]byte{c.sub.Raw} }, c.web.Serial(), ""},
		"later": {
			fine, func(r *reconcile.ProbeRequest) { r.Now = zoo.End.Add(time.Hour) }, c.web.Serial(),
			`expired on 2125-01-01T00:00:00Z; the CA "Sub" expired on 2125-01-01T00:00:00Z; the CA "Root" expired on 2125-01-01T00:00:00Z`,
		},
		"nothing trusted": {
			fine, func(r *reconcile.ProbeRequest) { r.Roots = nil }, c.web.Serial(),
			`unknown authority or missing intermediate: "Sub" is issued by "Root" (key id ROOT), which is neither trusted nor presented`,
		},
		"expired root": {
			server(t, serving(expired.TLS()), nil), func(r *reconcile.ProbeRequest) { r.Roots = [][]byte{old.Raw} }, expired.Serial(),
			`the CA "Old" expired on 2026-01-15T11:00:00Z`,
		},
		"unreadable root": {
			fine, func(r *reconcile.ProbeRequest) { r.Roots = [][]byte{[]byte("root")} }, c.web.Serial(),
			"a trusted CA certificate cannot be read",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := c.request(t, row.dial)
			row.change(&r)
			want := strings.NewReplacer(ids("Root")...).Replace(row.want)
			expect(t, r, seen{Serial: row.serial, Version: "TLS 1.3", Untrusted: want})
		})
	}
}

// expiredSub is the intermediate with the same key and another, expired certificate.
func expiredSub(t *testing.T, c cage) zoo.Cert {
	return c.root.LeafOf(t, c.sub.Signer, "Sub", func(x *x509.Certificate) {
		x.NotAfter, x.IsCA, x.BasicConstraintsValid, x.KeyUsage = now.Add(-time.Hour), true, true, x509.KeyUsageCertSign
		x.SubjectKeyId = c.sub.SubjectKeyId
	})
}

// with adds a certificate to what is presented.
func with(c tls.Certificate, der []byte) tls.Certificate {
	c.Certificate = append(c.Certificate[:len(c.Certificate):len(c.Certificate)], der)
	return c
}

// without leaves nothing but the leaf.
func without(c tls.Certificate) tls.Certificate {
	c.Certificate = c.Certificate[:1]
	return c
}

// reordered turns the intermediates round.
func reordered(c tls.Certificate) tls.Certificate {
	c.Certificate = [][]byte{c.Certificate[0], c.Certificate[2], c.Certificate[1]}
	return c
}

func many(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("n%02d", i)
	}
	return names
}

// ids are pairs for a replacer: SUB becomes the key id of the CA "Sub".
func ids(names ...string) []string {
	var pairs []string
	for _, n := range names {
		word := strings.ToUpper(n)
		if n == "" {
			word = "EMPTY"
		}
		pairs = append(pairs, "key id "+word, "key id "+zoo.KeyID(n))
	}
	return pairs
}
