package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/docker/dockertest"
	"github.com/certwright/certwright/spec"
)

// everyContent is a binding's files with each content of this version; store.pass is beside tls.yaml.
const everyContent = `
      cert.pem: cert
      chain.pem: chain
      fullchain.pem: fullchain
      key.pem: key
      ca.pem: ca
      combined.pem: combined
      keyfirst.pem: combined-key-first
      store.p12: {content: pkcs12, password: {env: STORE_PASSWORD}}
      store.jks: {content: jks, password: {file: store.pass}, alias: server}
      trust.p12: {content: truststore-pkcs12, password: {command: [printf, the store's word]}}
      trust.jks: {content: truststore-jks, password: {file: store.pass}}
      cert.der: cert-der
      key.der: key-der
      ca.der: ca-der
`

// keystorePassword is the same however the spec gives it.
const keystorePassword = "the store's word"

// contents says what is in each file of everyContent.
var contents = map[string]spec.Content{
	"cert.pem": spec.ContentCert, "chain.pem": spec.ContentChain, "fullchain.pem": spec.ContentFullchain,
	"key.pem": spec.ContentKey, "ca.pem": spec.ContentCA, "combined.pem": spec.ContentCombined,
	"keyfirst.pem": spec.ContentCombinedKeyFirst, "store.p12": spec.ContentPKCS12, "store.jks": spec.ContentJKS,
	"trust.p12": spec.ContentTrustPKCS12, "trust.jks": spec.ContentTrustJKS,
	"cert.der": spec.ContentCertDER, "key.der": spec.ContentKeyDER, "ca.der": spec.ContentCADER,
}

// everyFormat is a scene without an engine: the bindings web and other have everyContent in certs and other, with
// nothing in common.
func everyFormat(t *testing.T) scene {
	t.Helper()
	s := offline(t)
	s.vars = map[string]string{"STORE_PASSWORD": keystorePassword}
	s.write("store.pass", keystorePassword+"\n")
	s.write("tls.yaml", `version: 1
project: formats
cas:
  internal: {local: {lifetime: 10y}}
  services: {local: {parent: internal}}
  second: {local: {lifetime: 10y}}
identities:
  web: {ca: services, names: [web.test], key: rsa-2048}
  other: {ca: second, names: [other.test]}
bindings:
  web:
    identity: web
    trust: [internal, second]
    directory: ./certs
    files:`+everyContent+`  other:
    identity: other
    trust: [second]
    directory: ./other
    files:`+everyContent)
	s.want(exitDone, "apply")
	s.want(exitDone, "plan", "--exit-code")
	return s
}

// offline is a scene that needs no engine.
func offline(t *testing.T) scene {
	t.Helper()
	s := scene{command: command{t: t, dir: t.TempDir()}}
	s.certs = filepath.Join(s.dir, "certs")
	return s
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestEveryContent lets openssl and keytool read what was placed.
func TestEveryContent(t *testing.T) {
	t.Parallel()
	dockertest.Servers(t, "openssl", "keytool")
	s := everyFormat(t)
	at := func(name string) string { return filepath.Join(s.certs, name) }
	openssl := func(args ...string) string { return tool(t, "openssl", args...) }
	keytool := func(name string) string {
		return tool(t, "keytool", "-list", "-v", "-keystore", at(name), "-storepass:env", "STORE_PASSWORD")
	}
	leaf, chain := pemBlocks(t, at("cert.pem")), pemBlocks(t, at("chain.pem"))
	key, ca := pemBlocks(t, at("key.pem")), pemBlocks(t, at("ca.pem"))
	if len(leaf) != 1 || len(chain) != 1 || len(key) != 1 || len(ca) != 2 {
		t.Fatalf("%d, %d, %d and %d blocks in cert, chain, key and ca", len(leaf), len(chain), len(key), len(ca))
	}
	for name, want := range map[string][][]byte{
		"fullchain.pem": {leaf[0], chain[0]}, "combined.pem": {leaf[0], chain[0], key[0]}, "keyfirst.pem": {key[0], leaf[0], chain[0]},
	} {
		if got := pemBlocks(t, at(name)); !slices.EqualFunc(got, want, bytes.Equal) {
			t.Errorf("%s does not hold what it should, in order", name)
		}
	}
	for name, want := range map[string][]byte{"cert.der": leaf[0], "key.der": key[0], "ca.der": ca[0]} {
		if !bytes.Equal(read(t, at(name)), want) {
			t.Errorf("%s is not the DER of its PEM", name)
		}
	}
	openssl("verify", "-CAfile", at("ca.pem"), "-untrusted", at("chain.pem"), at("cert.pem"))
	public := openssl("x509", "-in", at("cert.pem"), "-noout", "-pubkey")
	for name, args := range map[string][]string{
		"key.pem": {"pkey", "-in", at("key.pem"), "-pubout"}, "combined.pem": {"pkey", "-in", at("combined.pem"), "-pubout"},
		"keyfirst.pem": {"pkey", "-in", at("keyfirst.pem"), "-pubout"}, "key.der": {"pkey", "-inform", "DER", "-in", at("key.der"), "-pubout"},
		"cert.der": {"x509", "-inform", "DER", "-in", at("cert.der"), "-noout", "-pubkey"},
	} {
		if openssl(args...) != public {
			t.Errorf("openssl finds another key in %s", name)
		}
	}
	if out := openssl("pkcs12", "-in", at("store.p12"), "-passin", "env:STORE_PASSWORD", "-nokeys"); strings.Count(out, "BEGIN CERTIFICATE") != 2 {
		t.Error("openssl does not find leaf and chain in store.p12")
	}
	for name, want := range map[string]struct {
		aliases, prints []string
	}{
		"store.p12": {[]string{"1"}, []string{sum(leaf[0]), sum(chain[0])}},
		"store.jks": {[]string{"server"}, []string{sum(leaf[0]), sum(chain[0])}},
		"trust.p12": {[]string{"web-" + sum(ca[0])[:12], "web-" + sum(ca[1])[:12]}, []string{sum(ca[0]), sum(ca[1])}},
		"trust.jks": {[]string{"web-" + sum(ca[0])[:12], "web-" + sum(ca[1])[:12]}, []string{sum(ca[0]), sum(ca[1])}},
	} {
		out := keytool(name)
		var aliases, prints []string
		for _, m := range regexp.MustCompile(`Alias name: (.*)`).FindAllStringSubmatch(out, -1) {
			aliases = append(aliases, strings.TrimSpace(m[1]))
		}
		for _, m := range regexp.MustCompile(`SHA256: ([0-9A-F:]{95})`).FindAllStringSubmatch(out, -1) {
			prints = append(prints, strings.ToLower(strings.ReplaceAll(m[1], ":", "")))
		}
		for _, list := range [][]string{aliases, prints, want.aliases, want.prints} {
			slices.Sort(list)
		}
		if diff := cmp.Diff([][]string{want.aliases, want.prints}, [][]string{aliases, prints}); diff != "" {
			t.Errorf("keytool in %s (-want +got):\n%s", name, diff)
		}
	}
}

func sum(der []byte) string {
	s := sha256.Sum256(der)
	return hex.EncodeToString(s[:])
}

// pemBlocks are the contents of the PEM blocks of a file, in order.
func pemBlocks(t testing.TB, name string) (all [][]byte) {
	t.Helper()
	for block, rest := pem.Decode(read(t, name)); block != nil; block, rest = pem.Decode(rest) {
		all = append(all, block.Bytes)
	}
	return all
}

// tool runs a program that must succeed, and returns what it printed. Passwords are in the environment.
func tool(t testing.TB, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "STORE_PASSWORD="+keystorePassword)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, errs.String())
	}
	return string(out)
}
