package main

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/docker/dockertest"
	"github.com/certwright/certwright/spec"
)

// TestKeyKinds issues every kind of key under a CA of that kind, and lets openssl name them.
func TestKeyKinds(t *testing.T) {
	t.Parallel()
	dockertest.Servers(t, "openssl")
	s := offline(t)
	var cas, identities, bindings strings.Builder
	for _, k := range spec.KeyKinds() {
		fmt.Fprintf(&cas, "  %s: {local: {key: %s}}\n", k, k)
		fmt.Fprintf(&identities, "  %s: {ca: %s, key: %s, names: [%s.test]}\n", k, k, k, k)
		fmt.Fprintf(&bindings, "  %s: {identity: %s, directory: ./%s}\n", k, k, k)
	}
	s.write("tls.yaml", fmt.Sprintf("version: 1\nproject: kinds\ncas:\n%sidentities:\n%sbindings:\n%s", &cas, &identities, &bindings))
	s.want(exitDone, "apply")
	s.want(exitDone, "plan", "--exit-code")
	for k, want := range map[spec.KeyKind]string{
		spec.ECDSAP256: "ASN1 OID: prime256v1", spec.ECDSAP384: "ASN1 OID: secp384r1", spec.ECDSAP521: "ASN1 OID: secp521r1",
		spec.Ed25519: "ED25519 Public-Key", spec.RSA2048: "Public-Key: (2048 bit)", spec.RSA3072: "Public-Key: (3072 bit)",
		spec.RSA4096: "Public-Key: (4096 bit)",
	} {
		in := func(name string) string { return filepath.Join(s.dir, string(k), name) }
		for _, file := range []string{"cert.pem", "ca.pem"} {
			if out := tool(t, "openssl", "x509", "-in", in(file), "-noout", "-text"); !strings.Contains(out, want) {
				t.Errorf("%s of %s has another key than %s", file, k, want)
			}
		}
		tool(t, "openssl", "verify", "-CAfile", in("ca.pem"), in("cert.pem"))
		if tool(t, "openssl", "pkey", "-in", in("key.pem"), "-pubout") != tool(t, "openssl", "x509", "-in", in("cert.pem"), "-noout", "-pubkey") {
			t.Errorf("%s: the key does not fit", k)
		}
	}
}

// TestNameConstraintsRefuse refuses an excluded name when the spec is read, before there is a store.
func TestNameConstraintsRefuse(t *testing.T) {
	t.Parallel()
	s := offline(t)
	s.write("tls.yaml", `version: 1
project: constrained
cas:
  internal: {local: {nameConstraints: {permit: [test, 10.0.0.0/8], exclude: [secret.test]}}}
  services: {local: {parent: internal}}
identities:
  web: {ca: services, names: [web.test, www.secret.test, example.com, 10.1.2.3, 192.168.1.1]}
bindings:
  web: {identity: web, directory: ./certs}
`)
	before := tree(t, s.dir)
	for _, verb := range []string{"validate", "plan", "apply"} {
		s.says(s.want(exitNothing, verb),
			`tls.yaml:7:41: identities.web.names[1]: "www.secret.test" is excluded (secret.test) by the CA "internal"`,
			`"example.com" is not permitted (test) by the CA "internal"`,
			`"192.168.1.1" is not permitted (10.0.0.0/8) by the CA "internal"`)
	}
	if diff := cmp.Diff(before, tree(t, s.dir)); diff != "" {
		t.Errorf("a bad spec changed (-before +after):\n%s", diff)
	}
}

// TestReuseKey keeps the key of an identity that wants it over a rotation, and makes a new one for another.
func TestReuseKey(t *testing.T) {
	t.Parallel()
	s := offline(t)
	s.write("tls.yaml", `version: 1
project: reuse
cas:
  internal: {local: {}}
identities:
  kept: {ca: internal, names: [kept.test], reuseKey: true}
  new: {ca: internal, names: [new.test]}
bindings:
  kept: {identity: kept, directory: ./kept}
  new: {identity: new, directory: ./new}
`)
	s.want(exitDone, "apply")
	for name, same := range map[string]bool{"kept": true, "new": false} {
		dir := filepath.Join(s.dir, name)
		leaf := func() *x509.Certificate {
			c, err := x509.ParseCertificate(pemBlocks(t, filepath.Join(dir, "cert.pem"))[0])
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		first, key := leaf(), read(t, filepath.Join(dir, "key.pem"))
		s.want(exitDone, "rotate", "identity/"+name)
		second := leaf()
		if first.SerialNumber.Cmp(second.SerialNumber) == 0 {
			t.Errorf("%s was not rotated", name)
		}
		if got := bytes.Equal(first.RawSubjectPublicKeyInfo, second.RawSubjectPublicKeyInfo); got != same {
			t.Errorf("%s: the same public key: %t, want %t", name, got, same)
		}
		if got := bytes.Equal(key, read(t, filepath.Join(dir, "key.pem"))); got != same {
			t.Errorf("%s: the same key file: %t, want %t", name, got, same)
		}
	}
}
