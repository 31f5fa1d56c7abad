package localca

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/servertest"
	"github.com/certwright/certwright/spec"
)

// estate is a directory that somebody left behind, with a CA in it.
type estate struct {
	t   *testing.T
	dir string
	ca  servertest.Issuer
}

func leave(t *testing.T) estate {
	t.Helper()
	e := estate{t, t.TempDir(), servertest.NewIssuer(t, "Root", nil)}
	e.pair("ca", e.ca)
	return e
}

func (e estate) write(name string, data ...[]byte) {
	e.t.Helper()
	var all []byte
	for _, d := range data {
		all = append(all, d...)
	}
	if err := os.MkdirAll(filepath.Dir(filepath.Join(e.dir, name)), 0o700); err != nil {
		e.t.Fatal(err)
	}
	write(e.t, e.dir, name, all)
}

func (e estate) pair(name string, i servertest.Issuer) {
	e.t.Helper()
	e.write(name+".pem", i.PEM())
	e.write(name+"-key.pem", i.KeyPEM(e.t))
}

// server is a template of a good one.
func server(name string) x509.Certificate {
	return x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotAfter: time.Now().Add(365 * day),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
}

func (e estate) leaf(name string, edit func(*x509.Certificate)) servertest.Issuer {
	e.t.Helper()
	template := server(name)
	if edit != nil {
		edit(&template)
	}
	i := servertest.Issue(e.t, template, &e.ca)
	e.pair(name, i)
	return i
}

// survey is what is found, in words.
func (e estate) survey(passphrases ...string) string {
	e.t.Helper()
	c := CA{Passphrase: func(src spec.Source) ([]byte, error) { return []byte(src.File), nil }}
	var sources []spec.Source
	for _, p := range passphrases {
		sources = append(sources, spec.Source{File: p})
	}
	found, err := c.Survey([]string{e.dir}, sources)
	if err != nil {
		e.t.Fatal(err)
	}
	var b strings.Builder
	rel := func(file string) string { r, _ := filepath.Rel(e.dir, file); return r }
	for _, ca := range found.CAs {
		fmt.Fprintf(&b, "ca %s: %s %s", ca.Name, rel(ca.Local.Certificate), rel(ca.Local.KeyFile))
		if ca.Local.Chain != "" {
			fmt.Fprintf(&b, ", chain %s", rel(ca.Local.Chain))
		}
		fmt.Fprintf(&b, " %v\n", ca.Notes)
	}
	for _, id := range found.Identities {
		if id.From != nil {
			fmt.Fprintf(&b, "from %s: %s %s %s\n", id.Name, rel(id.From.Certificate), rel(id.From.Key), rel(id.From.CA))
			continue
		}
		fmt.Fprintf(&b, "identity %s of %s: %s %s %v %v\n", id.Name, id.CA.Name, rel(id.Brought.Certificate), rel(id.Brought.Key), profileNamesOf(id.Names), id.Usages)
		for _, n := range id.Notes {
			fmt.Fprintf(&b, "  %s\n", n)
		}
	}
	for _, l := range found.Left {
		fmt.Fprintf(&b, "left %s: %s\n", rel(l.File), l.Why)
	}
	return b.String()
}

func profileNamesOf(names []spec.Name) (out []string) {
	for _, n := range names {
		out = append(out, n.Value)
	}
	return out
}

const (
	rootFound = "ca ca: ca.pem ca-key.pem []\n"
	webFound  = "identity web of ca: web.pem web-key.pem [web] [server]\n"
)

// TestSurvey has a row for each thing that somebody may have left.
func TestSurvey(t *testing.T) {
	for name, row := range map[string]struct {
		leave func(e *estate)
		want  string
	}{
		"nothing else": {func(*estate) {}, rootFound},
		"a server":     {func(e *estate) { e.leaf("web", nil) }, rootFound + webFound},
		"a client": {func(e *estate) {
			e.leaf("joe", func(c *x509.Certificate) {
				c.DNSNames, c.ExtKeyUsage = nil, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
			})
		}, rootFound + "identity joe of ca: joe.pem joe-key.pem [] [client]\n"},
		"copies": {func(e *estate) {
			i := e.leaf("web", nil)
			e.write("0A.pem", i.PEM())
			e.write("combined/all.pem", i.PEM(), i.KeyPEM(e.t))
		}, rootFound + "identity web of ca: web.pem web-key.pem [web] [server]\n"},
		"an older one": {func(e *estate) {
			old := servertest.Issue(e.t, func() x509.Certificate { c := server("web"); c.NotBefore = time.Now().Add(-9 * day); return c }(), &e.ca)
			e.pair("old", old)
			e.leaf("web", nil)
		}, rootFound + webFound + "left old.pem: a newer one has the same names: $DIR/web.pem\n"},
		"a newer one that cannot be taken": {func(e *estate) {
			e.leaf("web", func(c *x509.Certificate) { c.NotBefore = time.Now().Add(-9 * day) })
			elsewhere := servertest.NewIssuer(e.t, "Elsewhere", nil)
			e.pair("try", servertest.Issue(e.t, server("web"), &elsewhere))
		}, rootFound + webFound + `left try.pem: it is of "CN=Elsewhere", which is not here` + "\n"},
		"one that is due": {func(e *estate) {
			e.leaf("web", func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Now().Add(-90*day), time.Now().Add(10*day) })
		}, rootFound + webFound + "  due for renewal: it ends on " + time.Now().Add(10*day).UTC().Format(time.DateOnly) + ", so the first apply also issues the next one\n"},
		"one that is over": {func(e *estate) {
			e.leaf("web", func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Now().Add(-9*day), time.Unix(1700000000, 0) })
		}, rootFound + "left web.pem: it expired on 2023-11-14T22:13:20Z\n"},
		"a common name alone": {
			func(e *estate) { e.leaf("web", func(c *x509.Certificate) { c.DNSNames = nil }) },
			rootFound + "identity web of ca: web.pem web-key.pem [] [server]\n" +
				"  it has a common name alone, which clients no longer look at: `names: [web]` in place of `brought` has a good one issued\n",
		},
		"a subject without words": {
			func(e *estate) {
				e.leaf("web", func(c *x509.Certificate) { c.Subject.OrganizationalUnit = []string{"a", "b"} })
			},
			rootFound + webFound + `  its subject is "CN=web,OU=a+OU=b"; the next one's has only what tls.yaml has words for` + "\n",
		},
		"names in capitals": {
			func(e *estate) { e.leaf("web", func(c *x509.Certificate) { c.DNSNames = []string{"Web"} }) },
			rootFound + `left web.pem: its name "Web" is none that is issued here as dns` + "\n",
		},
		"code signing": {
			func(e *estate) {
				e.leaf("web", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning} })
			},
			rootFound + "left web.pem: it is neither for a server nor for a client\n",
		},
		"a short key": {func(e *estate) {
			key, err := rsa.GenerateKey(rand.Reader, 1024)
			if err != nil {
				e.t.Fatal(err)
			}
			e.write("web.pem", servertest.PEM("CERTIFICATE", e.ca.Sign(e.t, server("web"), &key.PublicKey).Raw))
			e.write("web-key.pem", servertest.PEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)))
		}, rootFound + "left web.pem: its key is of the kind rsa-1024, and none such is issued here\n"},
		"no key": {func(e *estate) {
			e.leaf("web", nil)
			_ = os.Remove(filepath.Join(e.dir, "web-key.pem"))
		}, rootFound + "left web.pem: its key is not here\n"},
		"a CA without its key": {func(e *estate) {
			e.leaf("web", nil)
			_ = os.Remove(filepath.Join(e.dir, "ca-key.pem"))
		}, "from web: web.pem web-key.pem ca.pem\nleft ca.pem: a CA whose key is not here: nothing can be signed by it\n"},
		"no CA": {func(e *estate) {
			e.leaf("web", nil)
			_ = os.Remove(filepath.Join(e.dir, "ca.pem"))
		}, `left web.pem: it is of "CN=Root", which is not here` + "\n"},
		"a list of revocations": {func(e *estate) {
			i := e.leaf("web", nil)
			crl, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), RevokedCertificateEntries: []x509.RevocationListEntry{
				{SerialNumber: i.Certificate.SerialNumber, RevocationTime: time.Now()},
			}}, e.ca.Certificate, e.ca.Key)
			if err != nil {
				e.t.Fatal(err)
			}
			e.write("crl.pem", servertest.PEM("X509 CRL", crl))
		}, rootFound + "left web.pem: it was revoked\n"},
		"a list of somebody else": {func(e *estate) {
			i := e.leaf("web", nil)
			other := servertest.NewIssuer(e.t, "Root", nil)
			crl, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), RevokedCertificateEntries: []x509.RevocationListEntry{
				{SerialNumber: i.Certificate.SerialNumber, RevocationTime: time.Now()},
			}}, other.Certificate, other.Key)
			if err != nil {
				e.t.Fatal(err)
			}
			e.write("crl.pem", servertest.PEM("X509 CRL", crl))
		}, rootFound + webFound},
		"an index": {func(e *estate) {
			i := e.leaf("web", nil)
			e.write("index.txt", fmt.Appendf(nil, "R\t290302201235Z\t261128201236Z\t%X\tunknown\t/O=x/CN=web/emailAddress=a@b\n", i.Certificate.SerialNumber))
		}, rootFound + "left web.pem: it was revoked\n"},
		"the serial of another in an index": {func(e *estate) {
			i := e.leaf("web", nil)
			e.write("index.txt", fmt.Appendf(nil, "R\t290302201235Z\t261128201236Z\t%X\tunknown\t/CN=other\nV\t290302201235Z\t\t%X\tunknown\t/CN=web\n", i.Certificate.SerialNumber, i.Certificate.SerialNumber))
		}, rootFound + webFound},
		"an intermediate by itself": {func(e *estate) {
			sub := servertest.NewIssuer(e.t, "Sub", &e.ca)
			e.pair("sub", sub)
			e.pair("web", servertest.Issue(e.t, server("web"), &sub))
		}, rootFound + "ca sub: sub.pem sub-key.pem, chain ca.pem []\nidentity web of sub: web.pem web-key.pem [web] [server]\n"},
		"an intermediate with its root": {func(e *estate) {
			sub := servertest.NewIssuer(e.t, "Sub", &e.ca)
			e.pair("sub", sub)
			e.write("sub.pem", sub.PEM(), e.ca.PEM())
		}, rootFound + "ca sub: sub.pem sub-key.pem []\n"},
		"an intermediate without its root": {func(e *estate) {
			e.pair("sub", servertest.NewIssuer(e.t, "Sub", &e.ca))
			_ = os.Remove(filepath.Join(e.dir, "ca.pem"))
		}, `left sub.pem: CA "Sub" is no root: add the certificate of its issuer, "CN=Root"` + "\n"},
		"a renewed CA": {func(e *estate) {
			e.write("ca-old.pem", servertest.PEM("CERTIFICATE", e.ca.Sign(e.t, x509.Certificate{
				Subject: pkix.Name{CommonName: "Root"}, NotAfter: time.Now().Add(day), IsCA: true, KeyUsage: x509.KeyUsageCertSign,
			}, &e.ca.Key.PublicKey).Raw))
		}, rootFound + "left ca-old.pem: another certificate of the same key lives longer: $DIR/ca.pem\n"},
		"a CA that ends": {func(e *estate) {
			e.ca = servertest.Issue(e.t, x509.Certificate{
				Subject: pkix.Name{CommonName: "Root"}, NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC), NotBefore: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), IsCA: true, KeyUsage: x509.KeyUsageCertSign,
			}, nil)
			e.pair("ca", e.ca)
			e.pair("sub", servertest.Issue(e.t, x509.Certificate{
				Subject: pkix.Name{CommonName: "Sub"}, NotAfter: time.Now().Add(30 * day), IsCA: true, KeyUsage: x509.KeyUsageCertSign,
			}, &e.ca))
		}, rootFound + "ca sub: sub.pem sub-key.pem, chain ca.pem [it ends on " + time.Now().Add(30*day).UTC().Format(time.DateOnly) +
			", and what it signs ends with it: soon put another CA beside it, or a renewed certificate of its key into its file (docs/tls-yaml.md)]\n"},
		"a server that signed itself": {func(e *estate) {
			c := server("web")
			c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign
			e.pair("web", servertest.Issue(e.t, c, nil))
		}, rootFound + "left web.pem: it is signed by itself and has names as a server has: there is no CA to take over; give that server an identity of a new CA\n"},
		"other forms": {func(e *estate) {
			i := e.leaf("web", nil)
			e.write("web.p12", []byte("0"))
			e.write("web.der", i.Certificate.Raw)
			e.write("answer.json", fmt.Appendf(nil, `{"cert": %q}`, i.PEM()))
			e.write("torn.pem", i.PEM()[:200])
			e.write("notes.txt", []byte("nothing"))
			e.write(".git/old.pem", i.PEM()[:200])
		}, rootFound + webFound + `left answer.json: JSON is not read: cfssljson -bare makes files of it
left torn.pem: PEM block 1 of 1 is truncated or damaged: copy the file again
left web.der: is DER, not PEM: convert it with openssl x509 or openssl pkey, -inform der
left web.p12: a keystore is not read: openssl pkcs12 -nodes makes PEM of it
`},
		"names of files that say nothing": {func(e *estate) {
			e.write("a/cert.pem", e.leaf("web", nil).PEM())
			for _, name := range []string{"web.pem", "ca.pem"} {
				_ = os.Rename(filepath.Join(e.dir, name), filepath.Join(e.dir, "a", name))
			}
			_ = os.Remove(filepath.Join(e.dir, "a/web.pem"))
			e.write("b/web/x.pem", servertest.Issue(e.t, func() x509.Certificate {
				c := server("w w w")
				c.IPAddresses = []net.IP{{10, 0, 0, 1}}
				c.DNSNames = nil
				return c
			}(), &e.ca).PEM())
		}, "ca ca: a/ca.pem ca-key.pem []\nidentity web of ca: a/cert.pem web-key.pem [web] [server]\nleft b/web/x.pem: its key is not here\n"},
		"links": {func(e *estate) {
			e.leaf("web", nil)
			_ = os.Mkdir(filepath.Join(e.dir, "archive"), 0o700)
			_ = os.Rename(filepath.Join(e.dir, "web.pem"), filepath.Join(e.dir, "archive/web1.crt"))
			_ = os.Symlink("archive/web1.crt", filepath.Join(e.dir, "web.pem"))
			_ = os.Symlink("nowhere", filepath.Join(e.dir, "gone.pem"))
		}, rootFound + webFound},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := leave(t)
			row.leave(&e)
			if diff := cmp.Diff(strings.ReplaceAll(row.want, "$DIR", e.dir), e.survey()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestSurveyEncrypted tries each passphrase on a key.
func TestSurveyEncrypted(t *testing.T) {
	e := leave(t)
	e.leaf("web", nil)
	for name, pass := range map[string]string{"ca-key.pem": "one", "web-key.pem": "another"} {
		plain := filepath.Join(e.dir, name)
		openssl(t, "pkcs8", "-topk8", "-in", plain, "-out", plain+".new", "-passout", "pass:"+pass)
		if err := os.Rename(plain+".new", plain); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(rootFound+webFound, e.survey("wrong", "another", "one")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	here := func(text string) string { return strings.ReplaceAll(text, "$DIR", e.dir) }
	want := rootFound + `left web-key.pem: the passphrase is wrong, or the file is damaged
left web.pem: its key may be $DIR/web-key.pem, which did not open
`
	if diff := cmp.Diff(here(want), e.survey("one")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	want = `left ca-key.pem: it is encrypted: give the file of its passphrase with --passphrase-file
left ca.pem: a CA whose key may be $DIR/ca-key.pem, which did not open: nothing can be signed by it
left web-key.pem: it is encrypted: give the file of its passphrase with --passphrase-file
left web.pem: its key may be $DIR/web-key.pem, which did not open
`
	if diff := cmp.Diff(here(want), e.survey()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	// As easy-rsa has it: a copy of each certificate by its serial, and keys beside them; and one whose key is nowhere.
	e.leaf("other", nil)
	for from, to := range map[string]string{
		"web.pem": "issued/web.crt", "web-key.pem": "private/web.key", "other.pem": "issued/other.crt", "other-key.pem": "",
	} {
		data, err := os.ReadFile(filepath.Join(e.dir, from))
		err = errors.Join(err, os.Remove(filepath.Join(e.dir, from)))
		for _, name := range []string{to, map[bool]string{true: "certs_by_serial/" + map[string]string{"web.pem": "0A", "other.pem": "5B26531978"}[from] + ".pem"}[strings.HasSuffix(to, ".crt")]} {
			if name != "" {
				path := filepath.Join(e.dir, name)
				err = errors.Join(err, os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, data, 0o600))
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if data, err := os.ReadFile(filepath.Join(e.dir, "issued/web.crt")); errors.Join(err, os.WriteFile(filepath.Join(e.dir, "copy.crt"), data, 0o600)) != nil {
		t.Fatal("no copy of it can be made")
	}
	want = rootFound + `left issued/other.crt: its key is not here
left issued/web.crt: its key may be $DIR/private/web.key, which did not open
left private/web.key: the passphrase is wrong, or the file is damaged
`
	if diff := cmp.Diff(here(want), e.survey("one")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestSurveyOldSignature has a certificate that no client of today accepts.
func TestSurveyOldSignature(t *testing.T) {
	e := leave(t)
	e.leaf("web", nil)
	csr, out := filepath.Join(e.dir, "web.csr"), filepath.Join(e.dir, "web.pem")
	openssl(t, "req", "-new", "-key", filepath.Join(e.dir, "web-key.pem"), "-subj", "/CN=web", "-out", csr)
	openssl(t, "x509", "-req", "-sha1", "-in", csr, "-CA", filepath.Join(e.dir, "ca.pem"), "-CAkey", filepath.Join(e.dir, "ca-key.pem"), "-set_serial", "7", "-out", out)
	if got := e.survey(); !strings.HasPrefix(got, rootFound+"left web.pem: ") || !strings.Contains(got, "SHA1") {
		t.Errorf("found:\n%s", got)
	}
}

func TestSurveyOfNoDirectory(t *testing.T) {
	_, err := (&CA{}).Survey([]string{filepath.Join(t.TempDir(), "none")}, nil)
	wantError(t, err, "no such file")
	_, err = (&CA{}).Survey([]string{write(t, t.TempDir(), "file", nil)}, nil)
	wantError(t, err, "is not a directory")
}
