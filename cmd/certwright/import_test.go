package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/docker/dockertest"
	"github.com/certwright/certwright/providers/servertest"
)

const inheritedPassphrase = "a passphrase of another tool"

// inheritance is what a tool leaves in a directory.
type inheritance struct {
	make func(t *testing.T, s scene) // in s.dir/pki
	// issued are the certificates by the identities they are to become, and root the CA's, below pki.
	issued map[string]string
	root   string
	flags  []string
	left   []string // what is said not to be taken over
}

var (
	mkcert, certstrap = servertest.NewTool("importing", "mkcert"), servertest.NewTool("importing", "certstrap")
	certyaml          = servertest.NewTool("importing", "certyaml")
	cfssl, cfssljson  = servertest.NewTool("importing", "cfssl"), servertest.NewTool("importing", "cfssljson")
)

var inheritances = map[string]inheritance{
	"omgwtfssl": {make: omgwtfssl, issued: map[string]string{"example.com": "cert.pem"}, root: "ca.pem"},
	"easy-rsa": {
		make: func(t *testing.T, s scene) { easyRSA(t, s, "nopass") }, root: "ca.crt",
		issued: map[string]string{"web": "issued/web.crt", "joe": "issued/joe.crt"}, left: []string{"it was revoked"},
	},
	"easy-rsa, encrypted": {
		make: func(t *testing.T, s scene) { easyRSA(t, s) }, root: "ca.crt",
		issued: map[string]string{"web": "issued/web.crt", "joe": "issued/joe.crt"}, flags: []string{"--passphrase-file", "ca.pass"},
		left: []string{"it was revoked"},
	},
	"certstrap":            {make: func(t *testing.T, s scene) { strap(t, s, "") }, issued: map[string]string{"web": "out/web.crt"}, root: "out/Strap_CA.crt"},
	"certstrap, encrypted": {make: func(t *testing.T, s scene) { strap(t, s, inheritedPassphrase) }, issued: map[string]string{"web": "out/web.crt"}, root: "out/Strap_CA.crt", flags: []string{"--passphrase-file", "ca.pass"}},
	"certyaml": {
		make: func(t *testing.T, s scene) {
			s.write("pki/certs.yaml", "subject: cn=root\n---\nsubject: cn=sub\nissuer: cn=root\nca: true\n---\n"+
				"subject: cn=web\nissuer: cn=root\nsans: [DNS:web, IP:127.0.0.1]\n---\n"+
				"subject: cn=joe\nissuer: cn=sub\next_key_usages: [ClientAuth]\nkey_type: RSA\n")
			certyaml.Run(t, filepath.Join(s.dir, "pki"), nil, nil, "certs.yaml")
		},
		issued: map[string]string{"web": "web.pem", "joe": "joe.pem"}, root: "root.pem",
	},
	"mkcert": {
		make: func(t *testing.T, s scene) {
			dir := filepath.Join(s.dir, "pki")
			mkcert.Run(t, dir, nil, []string{"CAROOT=" + dir + "/root"}, "-cert-file", "web.pem", "-key-file", "web-key.pem", "web.test", "*.web.test", "127.0.0.1", "ops@web.test")
			mkcert.Run(t, dir, nil, []string{"CAROOT=" + dir + "/root"}, "-ecdsa", "-client", "joe.test")
		},
		issued: map[string]string{"web": "web.pem", "joe.test-client": "joe.test-client.pem"}, root: "root/rootCA.pem",
	},
	"cfssl and certmgr": {make: certmgr, issued: map[string]string{"www": "certs/www.pem"}, root: "ca/ca.pem"},
	"openssl":           {make: opensslCADirectory, issued: map[string]string{"web": "certs/web.crt"}, root: "ca.crt", left: []string{"it was revoked"}},
}

// omgwtfssl calls openssl as that script does when only its subject is given.
func omgwtfssl(_ *testing.T, s scene) {
	const extensions = "[req]\ndistinguished_name = dn\n[dn]\n[v3_ca]\nbasicConstraints = critical,CA:TRUE\nsubjectKeyIdentifier = hash\n" +
		"authorityKeyIdentifier = keyid:always,issuer:always\n[v3_req]\nbasicConstraints = CA:FALSE\n" +
		"keyUsage = nonRepudiation, digitalSignature, keyEncipherment\nextendedKeyUsage = clientAuth, serverAuth\n" +
		"subjectAltName = @alt\n[alt]\nDNS.1 = web\nDNS.2 = example.com\n"
	s.write("pki/openssl.cnf", extensions)
	s.openssl("genrsa", "-out", "pki/ca-key.pem", "2048")
	s.openssl("req", "-x509", "-new", "-nodes", "-key", "pki/ca-key.pem", "-days", "60", "-out", "pki/ca.pem", "-extensions", "v3_ca", "-config", "pki/openssl.cnf", "-subj", "/CN=test-ca")
	s.openssl("genrsa", "-out", "pki/key.pem", "2048")
	s.openssl("req", "-new", "-key", "pki/key.pem", "-out", "pki/key.csr", "-subj", "/CN=example.com", "-config", "pki/openssl.cnf")
	s.openssl("x509", "-req", "-in", "pki/key.csr", "-CA", "pki/ca.pem", "-CAkey", "pki/ca-key.pem", "-CAcreateserial",
		"-out", "pki/cert.pem", "-days", "60", "-extensions", "v3_req", "-extfile", "pki/openssl.cnf")
	s.write("pki/secret.yaml", "kind: Secret\ndata:\n  tls.crt: AAAA\n")
}

// easyRSA makes a CA, a server, a client, and one that is revoked.
func easyRSA(t *testing.T, s scene, nopass ...string) {
	t.Helper()
	dockertest.Servers(t, "make-cadir")
	easyrsa := func(args ...string) {
		t.Helper()
		tool(t, "env", append([]string{
			"--chdir", s.dir, "EASYRSA_BATCH=1", "EASYRSA_PKI=" + s.dir + "/pki",
			"EASYRSA_PASSIN=file:" + s.dir + "/ca.pass", "EASYRSA_PASSOUT=file:" + s.dir + "/out.pass", "/usr/share/easy-rsa/easyrsa",
		}, args...)...)
	}
	if err := os.Remove(filepath.Join(s.dir, "pki")); err != nil {
		t.Fatal(err)
	}
	s.write("out.pass", inheritedPassphrase+"\n") // of one file that is named twice openssl takes two lines
	easyrsa("init-pki")
	easyrsa(append([]string{"build-ca"}, nopass...)...)
	for kind, name := range map[string]string{"build-server-full": "web", "build-client-full": "joe"} {
		easyrsa(append([]string{kind, name}, nopass...)...)
	}
	easyrsa("build-client-full", "gone", "nopass")
	easyrsa("revoke", "gone")
	easyrsa("gen-crl")
}

func strap(t *testing.T, s scene, passphrase string) {
	t.Helper()
	dir := filepath.Join(s.dir, "pki")
	run := func(args ...string) { t.Helper(); certstrap.Run(t, dir, nil, nil, args...) }
	run("init", "--common-name", "Strap CA", "--passphrase", passphrase)
	run("request-cert", "--common-name", "web", "--domain", "web,web.test", "--ip", "127.0.0.1", "--passphrase", passphrase)
	run("sign", "web", "--CA", "Strap CA", "--passphrase", passphrase)
}

// certmgr has cfssl make a CA and what it would give certmgr, whose own module cannot be had, and puts that where a
// spec of certmgr says.
func certmgr(t *testing.T, s scene) {
	t.Helper()
	for _, name := range []string{"ca", "certs", "private"} {
		if err := os.Mkdir(filepath.Join(s.dir, "pki", name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	ca := filepath.Join(s.dir, "pki/ca")
	s.write("pki/ca/csr.json", `{"CN": "Company", "key": {"algo": "ecdsa", "size": 256}, "names": [{"O": "Company"}]}`)
	s.write("pki/ca/config.json", `{"signing": {"default": {"expiry": "2160h", "usages": ["signing", "key encipherment", "server auth"]}}}`)
	s.write("pki/ca/www.json", `{"CN": "www.example.net", "hosts": ["example.net", "www.example.net"], "key": {"algo": "ecdsa", "size": 521}, "names": [{"C": "US", "O": "Example, LLC"}]}`)
	cfssljson.Run(t, ca, cfssl.Run(t, ca, nil, nil, "gencert", "-initca", "csr.json"), nil, "-bare", "ca")
	cfssljson.Run(t, ca, cfssl.Run(t, ca, nil, nil, "gencert", "-ca", "ca.pem", "-ca-key", "ca-key.pem", "-config", "config.json", "www.json"), nil, "-bare", "www")
	for from, to := range map[string]string{"www.pem": "certs/www.pem", "www-key.pem": "private/www.key"} {
		if err := os.Rename(filepath.Join(ca, from), filepath.Join(s.dir, "pki", to)); err != nil {
			t.Fatal(err)
		}
	}
	s.write("pki/www.json", `{"service": "nginx", "certificate": {"path": "certs/www.pem"}, "private_key": {"path": "private/www.key"}}`)
}

// opensslCADirectory is what `openssl ca` keeps: its index, a copy of each certificate by serial, and a list of what it took back.
func opensslCADirectory(t *testing.T, s scene) {
	t.Helper()
	for _, name := range []string{"certs", "newcerts", "private"} {
		if err := os.Mkdir(filepath.Join(s.dir, "pki", name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s.write("pki/index.txt", "")
	s.write("pki/serial", "1000\n")
	s.write("pki/ca.cnf", "[ca]\ndefault_ca = here\n[here]\ndir = pki\ndatabase = $dir/index.txt\nserial = $dir/serial\nnew_certs_dir = $dir/newcerts\n"+
		"certificate = $dir/ca.crt\nprivate_key = $dir/private/ca.key\ndefault_md = sha256\npolicy = any\ncopy_extensions = copy\nunique_subject = no\n"+
		"[any]\ncommonName = supplied\n")
	s.openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "pki/private/ca.key", "-out", "pki/ca.crt", "-days", "3650", "-subj", "/CN=By Hand")
	for _, name := range []string{"web", "gone"} {
		s.openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "pki/private/"+name+".key", "-out", "pki/"+name+".csr", "-subj", "/CN="+name,
			"-addext", "subjectAltName=DNS:"+name, "-addext", "basicConstraints=CA:FALSE", "-addext", "extendedKeyUsage=serverAuth")
		s.openssl("ca", "-config", "pki/ca.cnf", "-batch", "-days", "365", "-in", "pki/"+name+".csr", "-out", "pki/certs/"+name+".crt")
	}
	s.openssl("ca", "-config", "pki/ca.cnf", "-revoke", "pki/certs/gone.crt")
}

// TestImport takes over what each tool left: the first apply issues nothing, the next plan is empty, what was there is what is
// placed, and the CA signs the next one.
func TestImport(t *testing.T) {
	t.Parallel()
	dockertest.Servers(t, "openssl")
	for _, each := range []servertest.Tool{mkcert, certstrap, certyaml, cfssl, cfssljson} {
		each.Need(t)
	}
	learn("a passphrase", []byte(inheritedPassphrase))
	for name, in := range inheritances {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := left(t)
			in.make(t, s)
			for i, f := range in.flags {
				if f == "ca.pass" {
					in.flags[i] = filepath.Join(s.dir, f)
				}
			}
			before := tree(t, filepath.Join(s.dir, "pki"))
			r := s.want(exitDone, append([]string{"import", filepath.Join(s.dir, "pki")}, in.flags...)...)
			if diff := cmp.Diff(before, tree(t, filepath.Join(s.dir, "pki"))); diff != "" {
				t.Errorf("import changed what is there:\n%s", diff)
			}
			if got := strings.Count(r.err, "not taken over"); got != len(in.left) || got != strings.Count(r.out, "\n#   /") {
				t.Errorf("not taken over: %d, want %d\n%s%s", got, len(in.left), r.err, r.out)
			}
			for _, why := range in.left {
				if !strings.Contains(r.err, why) || !strings.Contains(r.out, why) {
					t.Errorf("%q is not said:\n%s%s", why, r.err, r.out)
				}
			}
			s.write("tls.yaml", r.out)
			s.takenOver(in)
		})
	}
}

// left is a scene for a tool to leave something in.
func left(t *testing.T) scene {
	t.Helper()
	s := offline(t)
	s.write("ca.pass", inheritedPassphrase+"\n")
	if err := os.Mkdir(filepath.Join(s.dir, "pki"), 0o700); err != nil {
		t.Fatal(err)
	}
	return s
}

// takenOver applies what was imported.
func (s scene) takenOver(in inheritance) {
	s.t.Helper()
	var plan struct {
		Steps []struct{ Action, Subject string }
	}
	if err := json.Unmarshal([]byte(s.want(exitDone, "plan", "-o", "json").out), &plan); err != nil {
		s.t.Fatal(err)
	}
	takes := 0
	for _, step := range plan.Steps {
		if step.Action != "create-ca" && step.Action != "take-in" {
			s.t.Errorf("the first apply is to %s %s", step.Action, step.Subject)
		}
		if step.Action == "take-in" {
			takes++
		}
	}
	if takes != len(in.issued) {
		s.t.Errorf("%d identities are taken in, want %d", takes, len(in.issued))
	}
	s.want(exitDone, "apply")
	s.want(exitDone, "plan", "--exit-code")
	for _, id := range s.status().Identities {
		file := in.issued[id.Name]
		if file == "" {
			s.t.Errorf("there is an identity %s", id.Name)
			continue
		}
		if want := serialIn(s.t, filepath.Join(s.dir, "pki", file)); *id.Serial != want {
			s.t.Errorf("%s has the serial %s, want %s as it had", id.Name, *id.Serial, want)
		}
		s.bound(id.Name, filepath.Join(s.dir, "pki", file), filepath.Join(s.dir, "pki", in.root))
	}
}

// bound places an identity, and has it renewed: clients that trust the root that was there accept both.
func (s scene) bound(id, had, root string) {
	s.t.Helper()
	text := string(read(s.t, filepath.Join(s.dir, "tls.yaml")))
	s.write("tls.yaml", text+"\nbindings:\n  it: {identity: "+id+", directory: certs}\n")
	s.want(exitDone, "apply")
	verify := func() {
		s.t.Helper()
		s.openssl("verify", "-CAfile", root, "-untrusted", "certs/cert.pem", "certs/cert.pem")
	}
	dir := s.certs
	if got := serialIn(s.t, filepath.Join(dir, "cert.pem")); got != serialIn(s.t, had) {
		s.t.Errorf("%s: another certificate is placed", id)
	}
	verify()
	s.want(exitDone, "plan", "--exit-code")
	s.want(exitDone, "rotate", "identity/"+id)
	if got := serialIn(s.t, filepath.Join(dir, "cert.pem")); got == serialIn(s.t, had) {
		s.t.Errorf("%s: it was not renewed", id)
	}
	verify()
	s.write("tls.yaml", text)
	s.want(exitDone, "apply", "--prune=all")
}

func serialIn(t testing.TB, file string) string {
	t.Helper()
	return serialOf(t, pemBlocks(t, file)[0])
}

// TestImportOfOthersKey distributes what a CA outside issues, where only its certificate is here.
func TestImportOfOthersKey(t *testing.T) {
	t.Parallel()
	cfssl.Need(t)
	s := left(t)
	certmgr(t, s)
	if err := os.Remove(filepath.Join(s.dir, "pki/ca/ca-key.pem")); err != nil {
		t.Fatal(err)
	}
	r := s.want(exitDone, "import", filepath.Join(s.dir, "pki"))
	for _, want := range []string{"from: {certificate: ", "what issues it has to renew it", "a CA whose key is not here"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("%q is not in\n%s", want, r.out)
		}
	}
	s.write("tls.yaml", r.out+"\nbindings:\n  www: {identity: www, directory: certs}\n")
	s.want(exitDone, "apply")
	s.want(exitDone, "plan", "--exit-code")
	if got, want := serialIn(t, filepath.Join(s.certs, "cert.pem")), serialIn(t, filepath.Join(s.dir, "pki/certs/www.pem")); got != want {
		t.Errorf("%s is placed, want %s", got, want)
	}
}

// TestImportDue says what the first apply issues since it is due, and of nothing else.
func TestImportDue(t *testing.T) {
	t.Parallel()
	mkcert.Need(t)
	s := left(t)
	inheritances["mkcert"].make(t, s)
	s.now = func() time.Time { return time.Now().AddDate(1, 11, 0) } // of two years and three months
	r := s.want(exitDone, "import", filepath.Join(s.dir, "pki"))
	if strings.Count(r.out, "# due for renewal") != 2 {
		t.Errorf("it is not said to be due:\n%s", r.out)
	}
	s.write("tls.yaml", r.out)
	s.want(exitDone, "apply")
	s.want(exitDone, "plan", "--exit-code")
	for _, id := range s.status().Identities {
		if id.Reason != "" || *id.Serial == serialIn(t, filepath.Join(s.dir, "pki", inheritances["mkcert"].issued[id.Name])) {
			t.Errorf("%s was not issued: serial %s, %q", id.Name, *id.Serial, id.Reason)
		}
	}
}
