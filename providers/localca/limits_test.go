package localca

import (
	"path/filepath"
	"testing"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// configuredCA makes a root with openssl that has these extensions beside CA:TRUE.
func configuredCA(t *testing.T, newkey []string, extensions string) spec.CA {
	t.Helper()
	dir := t.TempDir()
	key, cert := filepath.Join(dir, "k.pem"), filepath.Join(dir, "c.pem")
	config := write(t, dir, "openssl.cnf", []byte("[req]\ndistinguished_name=dn\nx509_extensions=v3\n[dn]\n[there]\nO=Company\n[v3]\nsubjectKeyIdentifier=hash\n"+extensions))
	openssl(t, append([]string{"req", "-x509", "-nodes", "-keyout", key, "-out", cert, "-days", "30", "-subj", "/CN=Limited", "-config", config}, newkey...)...)
	return broughtCA(cert, key)
}

var p256 = []string{"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"}

// A CA that no current client would accept is refused when it is brought.
func TestBringRefusesUselessCAs(t *testing.T) {
	for name, row := range map[string]struct {
		newkey     []string
		extensions string
		want       string
	}{
		"RSA-1024":           {[]string{"-newkey", "rsa:1024"}, "basicConstraints=critical,CA:TRUE\n", "RSA with 1024 bits is too weak"},
		"P-224":              {[]string{"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-224"}, "basicConstraints=critical,CA:TRUE\n", "P-224"},
		"no constraints":     {p256, "", "is not a CA"},
		"CA:FALSE":           {p256, "basicConstraints=critical,CA:FALSE\n", "is not a CA"},
		"key usage":          {p256, "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,digitalSignature\n", "lacks keyCertSign"},
		"directory names":    {p256, "basicConstraints=critical,CA:TRUE\nnameConstraints=critical,permitted;dirName:there\n", "critical extension that cannot be honoured here: 2.5.29.30"},
		"unknown extension":  {p256, "basicConstraints=critical,CA:TRUE\n1.2.3.4=critical,DER:0500\n", "critical extension that cannot be honoured here: 1.2.3.4"},
		"unsupported number": {[]string{"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"}, "basicConstraints=critical,CA:TRUE\n", "certificate 1"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := broughtBy("").Bring(configuredCA(t, row.newkey, row.extensions))
			wantError(t, err, `CA "company": `, "c.pem: ", row.want)
		})
	}
}

// What a brought-along CA may sign is respected, as clients would.
func TestBroughtLimitsHold(t *testing.T) {
	c := broughtBy("")
	bring := func(extensions string) reconcile.Generation {
		t.Helper()
		g, err := c.Bring(configuredCA(t, p256, "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n"+extensions))
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	try := func(g reconcile.Generation, edits ...func(*spec.Identity)) error {
		_, err := c.Issue(wantLeaf(edits...), g, reconcile.PrivateKey{}, c.Now())
		return err
	}
	client := func(id *spec.Identity) { id.Usages = []spec.Usage{spec.Client} }
	named := func(n ...string) func(*spec.Identity) { return func(id *spec.Identity) { id.Names = names(n...) } }

	servers := bring("extendedKeyUsage=serverAuth\n")
	if err := try(servers); err != nil {
		t.Error(err)
	}
	wantError(t, try(servers, client), `CA "Limited" signs for other usages only`)

	mail := bring("nameConstraints=critical,permitted;email:example.com,excluded;URI:evil.test\n")
	if err := try(mail, named("email:ops@example.com", "uri:https://good.test/", "dns:any.test")); err != nil {
		t.Error(err)
	}
	wantError(t, try(mail, named("email:ops@example.org")), "ops@example.org", "not permitted")
	wantError(t, try(mail, named("uri:https://a.evil.test/"), func(id *spec.Identity) {}), "does not verify")

	_, err := c.Create(wantCA(below("company")), &servers, 1, c.Now())
	wantError(t, err, `CA "Limited" may have 0 CAs below it (pathlen), and has 1`)
}
