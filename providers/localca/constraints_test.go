package localca

import (
	"crypto/rand"
	"crypto/x509"
	"testing"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// Every row is held against three judges that must agree: this package before signing, and Go and OpenSSL with
// a leaf that was signed all the same.
func TestNameConstraints(t *testing.T) {
	permit := func(n ...string) spec.NameConstraints { return spec.NameConstraints{PermitDNS: n} }
	exclude := func(n ...string) spec.NameConstraints { return spec.NameConstraints{ExcludeDNS: n} }
	permitIP := func(n ...string) spec.NameConstraints { return spec.NameConstraints{PermitIP: prefixes(n...)} }
	excludeIP := func(n ...string) spec.NameConstraints { return spec.NameConstraints{ExcludeIP: prefixes(n...)} }
	both := spec.NameConstraints{PermitDNS: []string{"example.com"}, ExcludeDNS: []string{"db.example.com"}}
	for _, row := range []struct {
		limits spec.NameConstraints
		name   string
		want   string // of the error; "" when it may be signed
		loose  bool   // OpenSSL lets it pass: it does not ask what a wildcard would serve for
	}{
		{exclude("example.com"), "dns:web-service", "", false},
		{exclude("example.com"), "dns:example.com", `the name example.com is excluded by CA "Docker Internal CA" (example.com)`, false},
		{exclude("example.com"), "dns:db.example.com", `the name db.example.com is excluded by CA "Docker Internal CA" (example.com)`, false},
		{exclude("example.com"), "dns:a.b.example.com", "excluded", false},
		{exclude("example.com"), "dns:notexample.com", "", false},
		{exclude("example.com"), "dns:example.com.test", "", false},
		{exclude("example.com"), "dns:*.example.com", "excluded", false},
		{exclude("example.com"), "dns:*.com", "excluded", true},
		{exclude("db.example.com"), "dns:*.example.com", "excluded", true},
		{exclude("a.db.example.com"), "dns:*.example.com", "", false},
		{exclude("Example.COM"), "dns:db.example.com", "excluded", false},
		{exclude(".example.com"), "dns:example.com", "", false},
		{exclude(".example.com"), "dns:db.example.com", "excluded", false},
		{exclude(".db.example.com"), "dns:*.example.com", "", false},
		{exclude(".db.example.com"), "dns:*.db.example.com", "excluded", false},
		{exclude("com"), "dns:example.com", "excluded", false},
		{exclude("com"), "dns:localhost", "", false},
		{exclude("localhost"), "dns:localhost", "excluded", false},
		{exclude("example.com"), "ip:10.0.0.1", "", false},
		{permit("example.com"), "dns:example.com", "", false},
		{permit("example.com"), "dns:db.example.com", "", false},
		{permit("example.com"), "dns:*.example.com", "", false},
		{permit("db.example.com"), "dns:*.example.com", `the name *.example.com is not permitted by CA "Docker Internal CA" (only db.example.com)`, false},
		{permit("example.com", "test"), "dns:a.test", "", false},
		{permit("example.com", "test"), "dns:web-service", "(only example.com, test)", false},
		{permit(".example.com"), "dns:example.com", "not permitted", false},
		{permit(".example.com"), "dns:db.example.com", "", false},
		{permit("example.com"), "ip:10.0.0.1", "", false},
		{permit("example.com"), "cn:web", "", false},
		{permit("example.com"), "cn:Web Service v1.2", "", false},
		{permit("example.com"), "cn:web.example.com", "", false},
		{permit("example.com"), "cn:web.example.org", "the name web.example.org is not permitted", false},
		{exclude("example.com"), "cn:web.example.com", "excluded", false},
		{both, "dns:web.example.com", "", false},
		{both, "dns:db.example.com", "excluded", false},
		{both, "dns:*.example.com", "excluded", true},
		{permitIP("10.0.0.0/8"), "ip:10.1.2.3", "", false},
		{permitIP("10.0.0.0/8"), "ip:11.0.0.1", `the name 11.0.0.1 is not permitted by CA "Docker Internal CA" (only 10.0.0.0/8)`, false},
		{permitIP("10.0.0.0/8"), "ip:fd00::1", "not permitted", false},
		{permitIP("10.0.0.0/8"), "dns:example.com", "", false},
		{permitIP("fd00::/8", "127.0.0.1/32"), "ip:127.0.0.1", "", false},
		{permitIP("fd00::/8", "127.0.0.1/32"), "ip:fd12::1", "", false},
		{permitIP("fd00::/8", "127.0.0.1/32"), "ip:127.0.0.2", "not permitted", false},
		{excludeIP("192.168.0.0/16"), "ip:192.168.1.1", `the name 192.168.1.1 is excluded by CA "Docker Internal CA" (192.168.0.0/16)`, false},
		{excludeIP("192.168.0.0/16"), "ip:192.169.1.1", "", false},
		{excludeIP("0.0.0.0/0"), "ip:1.2.3.4", "excluded", false},
		{excludeIP("0.0.0.0/0"), "ip:fd00::1", "", false},
		{excludeIP("::/0"), "ip:1.2.3.4", "", false},
	} {
		var c CA
		root := create(t, &c, wantCA(func(l *spec.LocalCA) { l.Constraints = row.limits }), nil)
		sub := create(t, &c, wantCA(below("internal")), &root)
		id := wantLeaf(func(id *spec.Identity) {
			if id.Names = names(row.name); id.Names[0].Kind == "cn" {
				id.Subject.CommonName, id.Names = id.Names[0].Value, nil
			}
		})
		// The constraints hold for what the root signs, and for what stands below it.
		for _, by := range []reconcile.Generation{root, sub} {
			if _, err := c.Issue(id, by, reconcile.PrivateKey{}, noon); row.want != "" {
				wantError(t, err, row.want)
			} else if err != nil {
				t.Error(err)
			}
			signed := signAnyway(t, &c, id, by)
			if err := goVerify(signed); (err == nil) != (row.want == "") && id.Names != nil { // Go looks at no common name
				t.Errorf("%+v, %s: Go says %v", row.limits, row.name, err)
			}
			if out, ok := opensslAgrees(t, signed, row.want == "" || row.loose); !ok {
				t.Errorf("%+v, %s: OpenSSL says %s", row.limits, row.name, out)
			}
		}
	}
}

// signAnyway signs a leaf that Issue may refuse.
func signAnyway(t *testing.T, c *CA, id spec.Identity, g reconcile.Generation) profile {
	t.Helper()
	by, err := c.open(g)
	if err != nil {
		t.Fatal(err)
	}
	template, err := c.leafTemplate(id)
	if err != nil {
		t.Fatal(err)
	}
	template.NotBefore, template.NotAfter = g.NotBefore, g.NotAfter
	key := newSigner(t)
	template.SubjectKeyId = keyID(key.Public())
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, key.Public(), by.signer)
	if err != nil {
		t.Fatal(err)
	}
	return profile{id.Name, der, ders(by.chain)}
}

func goVerify(p profile) error {
	var chain []*x509.Certificate
	for _, der := range append([][]byte{p.leaf}, p.chain...) {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		chain = append(chain, cert)
	}
	return verify(chain, noon)
}

// E-mail addresses and URIs are left to Go's own rules, after signing.
func TestOtherNamesUnderConstraints(t *testing.T) {
	var c CA
	free := create(t, &c, wantCA(), nil)
	limited := create(t, &c, wantCA(func(l *spec.LocalCA) { l.Constraints.ExcludeDNS = []string{"example.com"} }), nil)
	for name, want := range map[string]string{
		"email:ops@example.com":      "",
		"uri:spiffe://shop.test/web": "",
		"uri:urn:uuid:1":             "cannot be matched against constraints",
	} {
		id := wantLeaf(func(id *spec.Identity) { id.Names = names(name) })
		issue(t, &c, id, free)
		if _, err := c.Issue(id, limited, reconcile.PrivateKey{}, noon); want != "" {
			wantError(t, err, `identity "web": `, want)
		} else if err != nil {
			t.Error(err)
		}
	}
}

// Beside DNS names nobody looks at the common name.
func TestCommonNameBesideNames(t *testing.T) {
	var c CA
	root := create(t, &c, wantCA(func(l *spec.LocalCA) { l.Constraints.ExcludeDNS = []string{"example.com"} }), nil)
	id := wantLeaf(func(id *spec.Identity) { id.Subject.CommonName = "web.example.com" })
	issue(t, &c, id, root)
	if out, ok := opensslAgrees(t, signAnyway(t, &c, id, root), true); !ok {
		t.Error(out)
	}
}

// All that is wrong is said at once.
func TestEveryForbiddenNameIsSaid(t *testing.T) {
	var c CA
	root := create(t, &c, wantCA(func(l *spec.LocalCA) {
		l.Constraints = spec.NameConstraints{ExcludeDNS: []string{"example.com"}, PermitIP: prefixes("10.0.0.0/8")}
	}), nil)
	_, err := c.Issue(wantLeaf(func(id *spec.Identity) {
		id.Names = names("dns:a.example.com", "dns:ok.test", "dns:b.example.com", "ip:127.0.0.1")
	}), root, reconcile.PrivateKey{}, noon)
	wantError(t, err, "a.example.com is excluded", "b.example.com is excluded", "127.0.0.1 is not permitted")
}
