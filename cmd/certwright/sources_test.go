package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/mount"
	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/docker/dockertest"
	"github.com/certwright/certwright/providers/formats"
	"github.com/certwright/certwright/spec"
)

const companyPassword = "the company's own secret"

// TestBroughtCA signs with a CA that openssl made, in each form of an encrypted key and with each source of its
// passphrase, and keeps the key out of the store.
func TestBroughtCA(t *testing.T) {
	t.Parallel()
	dockertest.Servers(t, "openssl")
	keys := map[string][]string{
		"PKCS#1": {"genrsa", "-aes256", "-traditional", "-passout", "file:ca.pass", "-out", "ca-key.pem", "2048"},
		"PKCS#8": {"genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-aes-256-cbc", "-pass", "file:ca.pass", "-out", "ca-key.pem"},
		"SEC1":   nil, // in two steps
	}
	sources := map[string]string{
		"env": "{env: CA_PASSWORD}", "file": "{file: ca.pass}", "command": `[cat, %s/ca.pass]`,
	}
	for form, args := range keys {
		for kind, source := range sources {
			t.Run(form+" "+kind, func(t *testing.T) {
				t.Parallel()
				s := offline(t)
				s.vars = map[string]string{"CA_PASSWORD": companyPassword}
				s.write("ca.pass", companyPassword+"\n")
				if args != nil {
					s.openssl(args...)
				} else {
					s.openssl("ecparam", "-genkey", "-name", "secp384r1", "-noout", "-out", "plain.pem")
					s.openssl("ec", "-in", "plain.pem", "-aes256", "-passout", "file:ca.pass", "-out", "ca-key.pem")
				}
				s.openssl("req", "-x509", "-new", "-key", "ca-key.pem", "-passin", "file:ca.pass", "-subj", "/CN=Company",
					"-days", "400", "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-out", "ca.pem")
				if kind == "command" {
					source = "{command: " + fmt.Sprintf(source, s.dir) + "}"
				}
				s.brought(source)
			})
		}
	}
}

// brought applies with the CA of ca.pem and ca-key.pem, and goes wrong with another passphrase.
func (s scene) brought(source string) {
	t := s.t
	t.Helper()
	text := func(source string) string {
		return `version: 1
project: brought
cas:
  company: {local: {certificate: ca.pem, key: ca-key.pem, passphrase: ` + source + `}}
identities:
  web: {ca: company, names: [web.test]}
bindings:
  web: {identity: web, directory: ./certs}
`
	}
	s.write("tls.yaml", text(source))
	s.want(exitDone, "apply")
	s.want(exitDone, "plan", "--exit-code")
	s.openssl("verify", "-CAfile", "ca.pem", "certs/cert.pem")
	s.openssl("pkcs8", "-topk8", "-nocrypt", "-in", "ca-key.pem", "-passin", "file:ca.pass", "-outform", "DER", "-out", "ca.der")
	if found := keysIn(t, filepath.Join(s.dir, ".certwright"), read(t, filepath.Join(s.dir, "ca.der"))); len(found) > 0 {
		t.Errorf("the key of the CA is in the store: %v", found)
	}

	before, old := tree(t, s.certs), placed(t, s.certs)
	s.write("tls.yaml", text("{file: wrong.pass}"))
	s.write("wrong.pass", "not the company's secret\n")
	r := s.want(exitPart, "rotate", "identity/web")
	s.says(r, "Blocked", "ca/company", "passphrase")
	if strings.Contains(r.out+r.err, "not the company's secret") || strings.Contains(r.out+r.err, companyPassword) {
		t.Error("a passphrase is in the output")
	}
	s.write("tls.yaml", text("{env: NOT_SET_ANYWHERE}"))
	s.says(s.want(exitPart, "apply"), "Blocked", "the environment variable NOT_SET_ANYWHERE is not set")
	if diff := cmp.Diff(before, tree(t, s.certs)); diff != "" {
		t.Errorf("changed without a key to sign with (-before +after):\n%s", diff)
	}
	s.write("tls.yaml", text(source))
	s.want(exitDone, "apply") // the wish for a rotation is still there
	s.openssl("verify", "-CAfile", "ca.pem", "certs/cert.pem")
	if placed(t, s.certs) == old {
		t.Error("not rotated")
	}
}

// TestFrom distributes what openssl issues: the places follow the files, and a mismatched pair stops at the door.
func TestFrom(t *testing.T) {
	t.Parallel()
	dockertest.Servers(t, "openssl")
	s := newScene(t)
	s.openssl("req", "-x509", "-newkey", "rsa:2048", "-noenc", "-keyout", "root-key.pem", "-out", "root.pem", "-subj", "/CN=Legacy Root", "-days", "400",
		"-addext", "keyUsage=critical,keyCertSign,cRLSign")
	s.write("extensions", "subjectAltName=DNS:legacy.test\nextendedKeyUsage=serverAuth\n")
	issue := func() (serial string) {
		s.openssl("req", "-new", "-newkey", "rsa:2048", "-noenc", "-keyout", "privkey.pem", "-out", "leaf.csr", "-subj", "/CN=legacy")
		s.openssl("x509", "-req", "-in", "leaf.csr", "-CA", "root.pem", "-CAkey", "root-key.pem", "-CAcreateserial", "-days", "30",
			"-extfile", "extensions", "-out", "fullchain.pem")
		return serialOf(t, pemBlocks(t, filepath.Join(s.dir, "fullchain.pem"))[0])
	}
	web := s.server(dockertest.Container{Name: "legacy"}, "-reload", "hup")
	s.write("tls.yaml", `version: 1
project: legacy
identities:
  legacy: {from: {certificate: fullchain.pem, key: privkey.pem, ca: root.pem}}
bindings:
  web: {identity: legacy, container: `+web.Name+`, directory: ./certs, reload: {signal: HUP}, probe: {port: 8443}}
`)
	first := issue()
	s.up(web)
	if got := served(t, web.ID); got != first {
		t.Errorf("serves %s, want %s", got, first)
	}
	s.want(exitDone, "plan", "--exit-code")

	second := issue()
	s.says(s.want(exitPending, "plan", "--exit-code"), "placed files differ: cert.pem, key.pem")
	s.want(exitDone, "apply")
	s.state("Ready", "")
	if got := served(t, web.ID); got != second || second == first {
		t.Errorf("serves %s, want %s after %s", got, second, first)
	}
	s.want(exitDone, "plan", "--exit-code")

	before := tree(t, s.certs)
	good := read(t, filepath.Join(s.dir, "privkey.pem"))
	s.openssl("genrsa", "-out", "privkey.pem", "2048")
	for _, args := range [][]string{{"apply"}, {"plan", "--exit-code"}, {"apply"}} {
		s.says(s.want(exitPart, args...), "Blocked", "privkey.pem is not the key of the first certificate in")
	}
	s.state("Blocked", "is not the key of the first certificate")
	if diff := cmp.Diff(before, tree(t, s.certs)); diff != "" {
		t.Errorf("a mismatched pair changed what is live (-before +after):\n%s", diff)
	}
	if got := served(t, web.ID); got != second {
		t.Errorf("serves %s, want %s", got, second)
	}
	s.says(s.want(exitNothing, "rotate", "identity/legacy"), "issued by something else: rotate it there")
	overwrite(t, filepath.Join(s.dir, "privkey.pem"), good)
	s.want(exitDone, "apply")
	s.state("Ready", "")
}

// TestRoots places what `public` and `system` stand for, beside a CA of the spec.
func TestRoots(t *testing.T) {
	t.Parallel()
	s := offline(t)
	s.write("tls.yaml", `version: 1
project: roots
cas:
  internal: {local: {}}
bindings:
  public: {trust: [public], directory: ./public}
  system: {trust: [system], directory: ./system}
  both: {trust: [internal, public], directory: ./both}
`)
	s.want(exitDone, "apply")
	s.want(exitDone, "plan", "--exit-code")
	for _, name := range []string{spec.PublicRoots, spec.SystemRoots} {
		want, err := formats.Roots(name)
		if err != nil {
			t.Fatal(err)
		}
		got := pemBlocks(t, filepath.Join(s.dir, name, "ca.pem"))
		if diff := cmp.Diff(want, got); diff != "" || len(got) < 50 {
			t.Errorf("%s: %d certificates, want %d", name, len(got), len(want))
		}
		if _, err := os.Lstat(filepath.Join(s.dir, name, "key.pem")); !os.IsNotExist(err) {
			t.Errorf("%s: a key is there: %v", name, err)
		}
	}
	public, both := pemBlocks(t, filepath.Join(s.dir, "public/ca.pem")), pemBlocks(t, filepath.Join(s.dir, "both/ca.pem"))
	if len(both) != len(public)+1 {
		t.Errorf("%d certificates in both, want one more than %d", len(both), len(public))
	}
	if root, err := x509.ParseCertificate(both[0]); err != nil || root.Subject.CommonName != "internal" {
		t.Errorf("the first certificate is %v: %v", root.Subject, err)
	}
}

// TestTrustOnly gives a running server more clients to trust: it is signalled, and lets them in.
func TestTrustOnly(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	trust := filepath.Join(s.dir, "trust")
	if err := os.Mkdir(trust, 0o755); err != nil {
		t.Fatal(err)
	}
	web := s.server(dockertest.Container{Name: "trusting", Mounts: []mount.Mount{bindMount(s.certs, "/certs"), bindMount(trust, "/trust")}},
		"-reload", "hup", "-client-auth", "required", "-ca", "/trust/ca.pem")
	text := func(trust string) string {
		return `version: 1
project: trusting
cas:
  internal: {local: {}}
  partner: {local: {}}
identities:
  web: {ca: internal, names: [web.test]}
  visitor: {ca: partner, usages: [client]}
bindings:
  web: {identity: web, container: ` + web.Name + `, directory: ./certs, reload: {signal: HUP}}
  visitor: {identity: visitor, directory: ./visitor}
  trust: {trust: ` + trust + `, container: ` + web.Name + `, directory: ./trust, reload: {signal: HUP}}
`
	}
	s.write("tls.yaml", text("[internal]"))
	s.want(exitDone, "apply")
	dockertest.Start(t, web.ID)
	served(t, web.ID)
	s.want(exitDone, "apply")
	if b := s.status().binding(t, "trust"); b.State != "Unverified" || b.Conditions.Served != nil {
		t.Errorf("status: %+v", b)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(s.dir, "visitor/cert.pem"), filepath.Join(s.dir, "visitor/key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	visit := func() error {
		address := net.JoinHostPort(dockertest.Address(t, web.ID), "8443")
		conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{pair}})
		if err != nil {
			return err
		}
		defer conn.Close()
		fmt.Fprint(conn, "GET / HTTP/1.0\r\n\r\n")
		_, err = conn.Read(make([]byte, 1)) // a refusal shows at the first read
		return err
	}
	if err := visit(); err == nil {
		t.Error("the visitor was let in before it was trusted")
	}
	s.write("tls.yaml", text("[internal, partner]"))
	s.want(exitDone, "apply")
	if err := visit(); err != nil {
		t.Errorf("the visitor: %v", err)
	}
	s.want(exitDone, "plan", "--exit-code")
}

// TestOwnerNames looks users up in the container, where the names have a meaning.
func TestOwnerNames(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	web := dockertest.Run(t, dockertest.Container{
		Name: "owned", Image: dockertest.Image(t, dockertest.Nginx), Mounts: []mount.Mount{bindMount(s.certs, "/certs")},
	})
	binding := func(owner string) {
		s.spec("container: "+web.Name, "directory: ./certs", "owner: "+owner,
			`files: {cert.pem: fullchain, key.pem: {content: key, mode: "0640", owner: "0:101"}}`)
	}
	binding("nginx")
	s.want(exitDone, "apply")
	s.want(exitDone, "plan", "--exit-code")
	owners := func(want ...string) {
		t.Helper()
		for i, name := range []string{"cert.pem", "key.pem"} {
			if got := strings.TrimSpace(tool(t, "stat", "-L", "-c", "%u:%g %a", filepath.Join(s.certs, name))); got != want[i] {
				t.Errorf("%s is %s, want %s", name, got, want[i])
			}
		}
	}
	owners("101:101 644", "0:101 640")

	before := tree(t, s.certs)
	binding("postgres") // whom nginx does not know
	s.says(s.want(exitPart, "apply"), "Blocked", `"postgres"`, "no such user")
	s.state("Blocked", "no such user")
	if diff := cmp.Diff(before, tree(t, s.certs)); diff != "" {
		t.Errorf("an unknown owner changed (-before +after):\n%s", diff)
	}
}

// openssl runs it in the scene's folder.
func (s scene) openssl(args ...string) {
	s.t.Helper()
	tool(s.t, "env", append([]string{"--chdir", s.dir, "openssl"}, args...)...)
}

// TestNoPasswordInAChild looks at the environment of everything that is started: a command that gives a password,
// and ssh.
func TestNoPasswordInAChild(t *testing.T) {
	s := offline(t)
	s.write("ssh", "#!/bin/sh\nenv > "+s.dir+"/ssh.env\nexit 255\n")
	s.write("password", "#!/bin/sh\nenv > "+s.dir+"/password.env\necho a keystore\n")
	for _, name := range []string{"ssh", "password"} {
		if err := os.Chmod(filepath.Join(s.dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", s.dir+":"+os.Getenv("PATH"))
	for _, name := range []string{"STORE", "KEYSTORE", "REDIS", "STEP", backupEnv, oldPassphraseEnv} {
		t.Setenv(name, companyPassword)
	}
	s.write("tls.yaml", `version: 1
project: children
store: {passphrase: {env: STORE}}
cas:
  internal: {local: {}}
  company: {step: {url: "https://127.0.0.1:1", fingerprint: `+strings.Repeat("ab", 32)+`, provisioner: docker, password: {env: STEP}}}
identities:
  web: {ca: internal, names: [web.test]}
bindings:
  web:
    identity: web
    directory: ./certs
    files:
      one.p12: {content: pkcs12, password: {env: KEYSTORE}}
      two.p12: {content: pkcs12, password: {command: [password]}}
  redis:
    identity: web
    container: redis
    directory: ./redis
    reload: {preset: redis, password: {env: REDIS}}
`)
	s.want(exitDone, "apply", "--only", "web")
	_ = s.run("-H", "ssh://core-02", "plan")
	for _, name := range []string{"ssh.env", "password.env"} {
		if got := string(read(t, filepath.Join(s.dir, name))); !strings.Contains(got, "PATH=") || strings.Contains(got, companyPassword) {
			t.Errorf("%s:\n%s", name, got)
		}
	}
}
