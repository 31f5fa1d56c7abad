package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/servertest"
	"github.com/certwright/certwright/providers/vault/vaulttest"
	"github.com/certwright/certwright/spec"
)

// vaultScene is a folder without an engine, and a Vault server of its own.
type vaultScene struct {
	scene
	server *vaulttest.Server
	ways   map[string]string // what the spec says of the login, by its way
}

func newVaultScene(t *testing.T) vaultScene {
	t.Helper()
	server := vaulttest.Start(t)
	s := vaultScene{scene: offline(t), server: server}
	s.certs = filepath.Join(s.dir, "certs")
	s.vars = map[string]string{
		"VAULT_TOKEN": server.Token(map[string]any{"ttl": "1h"}), "SECRET_ID": server.SecretID(), "CI_TOKEN": server.Jot(t, time.Now().Add(time.Hour)),
	}
	for name, secret := range s.vars {
		learn(name, []byte(secret))
	}
	s.write("server.pem", string(read(t, server.ServerRoots)))
	server.Birth.Leaf(t, "a machine", time.Now().Add(time.Hour)).Write(t, filepath.Join(s.dir, "machine.pem"), filepath.Join(s.dir, "machine.key"))
	s.ways = map[string]string{
		"token":       "token: {env: VAULT_TOKEN}",
		"appRole":     fmt.Sprintf("appRole: {roleId: %s, secretId: {env: SECRET_ID}}", server.RoleID()),
		"jwt":         "jwt: {role: " + vaulttest.JWT + ", token: {env: CI_TOKEN}}",
		"certificate": "certificate: {certificate: machine.pem, key: machine.key, role: " + vaulttest.Machines + "}",
	}
	return s
}

// by writes the spec of one identity that is placed.
func (s vaultScene) by(address, way string) {
	s.t.Helper()
	s.write("tls.yaml", `version: 1
project: vault
cas:
  company: {vault: {address: "`+address+`", serverRoots: server.pem, mount: pki, role: docker, `+s.ways[way]+`}}
identities:
  web: {ca: company, names: [web.test, 127.0.0.1], lifetime: 5m}
bindings:
  web: {identity: web, directory: ./certs}
`)
}

// TestVault enrols by each way to log in, and renews.
func TestVault(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"token", "appRole", "jwt", "certificate"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			s := newVaultScene(t)
			s.by(s.server.Address, way)
			r := s.want(exitDone, "apply", "-v")
			s.says(r, "take in CA company (its root is not taken in yet)", "issue web (not issued)", "POST vault /v1/pki/sign/docker")
			if found := inspect("what apply prints", []byte(r.out+r.err)); len(found) > 0 || strings.Contains(r.out+r.err, "hvs.") { // so tokens begin
				t.Errorf("a secret is printed: %v", found)
			}
			first := s.verifiedBy(s.server.Root)
			s.want(exitDone, "plan", "--exit-code")

			// At 3:00 nothing is due, at 3:30 it is. The server's own clock stands still.
			at := time.Now().Add(3 * time.Minute)
			s.now = func() time.Time { return at }
			s.want(exitDone, "plan", "--exit-code")
			at = at.Add(30 * time.Second)
			s.says(s.want(exitDone, "apply", "-v"), "issue web", "(expires soon)", "POST vault /v1/pki/sign/docker")
			if next := s.verifiedBy(s.server.Root); next.SerialNumber.Cmp(first.SerialNumber) == 0 || keyOf(next) == keyOf(first) {
				t.Error("not renewed, or with the old key")
			}
			s.want(exitDone, "plan", "--exit-code")

			lost := s.verifiedBy(s.server.Root)
			s.says(s.want(exitDone, "revoke", "web", "-v"), "POST vault /v1/pki/revoke", "issue web")
			if serial := serialOf(t, lost.Raw); !s.server.Revoked(serial) || placed(t, s.certs) == serial {
				t.Errorf("%s is not revoked, or still in its place", serial)
			}
			for name, secret := range s.vars {
				if found := filesWith(t, s.dir, secret); len(found) > 0 {
					t.Errorf("%s is kept in %v", name, found)
				}
			}
		})
	}
}

// TestVaultRootless has an engine that does not know its root: a file does.
func TestVaultRootless(t *testing.T) {
	t.Parallel()
	s := newVaultScene(t)
	s.by(s.server.Address, "token")
	text := strings.Replace(string(read(t, filepath.Join(s.dir, "tls.yaml"))), "mount: pki", "mount: "+vaulttest.Rootless, 1)
	s.write("tls.yaml", text)
	s.says(s.want(exitPart, "apply"), "has no root in the chain of rootless/cert/ca_chain: name a file of it in roots")
	s.write("root.pem", string(servertest.PEM("CERTIFICATE", s.server.Root)))
	s.write("tls.yaml", strings.Replace(text, "role: docker", "role: docker, roots: root.pem", 1))
	s.want(exitDone, "apply")
	s.verifiedBy(s.server.Root)
	s.want(exitDone, "plan", "--exit-code")
}

// filesWith are the files below a directory that hold a text.
func filesWith(t *testing.T, dir, text string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if strings.Contains(string(data), text) {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestVaultPage applies every block of docs/ca-vault.md to a real server.
func TestVaultPage(t *testing.T) {
	t.Parallel()
	applied := 0
	for _, b := range blocks(t, "../../docs/ca-vault.md") {
		if !strings.HasPrefix(b.text, "version:") {
			continue
		}
		applied++
		t.Run(b.where, func(t *testing.T) {
			t.Parallel()
			s := newVaultScene(t)
			text := b.text
			for old, now := range map[string]string{
				"https://vault.internal:8200": s.server.Address, "web.internal": "web.test", "c3f6a1de-61a4-8c2b-0f5e-0b6a2f1d9e77": s.server.RoleID(),
				"/etc/machine/": "",
			} {
				text = strings.ReplaceAll(text, old, now)
			}
			s.write("vault.pem", string(read(t, s.server.ServerRoots)))
			s.write("secret.id", s.vars["SECRET_ID"]+"\n")
			s.write("tls.yaml", text)
			s.want(exitDone, "apply")
			if strings.Contains(text, "directory:") {
				s.verifiedBy(s.server.Root)
			}
			s.want(exitDone, "plan", "--exit-code")
		})
	}
	if applied != 4 {
		t.Errorf("%d blocks were applied", applied)
	}
}

// TestVaultSetUp gives the server the role and the policy of docs/ca-vault.md: with them, and nothing else, it signs.
func TestVaultSetUp(t *testing.T) {
	t.Parallel()
	s := newVaultScene(t)
	for _, b := range blocks(t, "../../docs/ca-vault.md") {
		if role, is := strings.CutPrefix(b.text, "vault write "); is {
			said := map[string]any{}
			for _, pair := range strings.Fields(role)[1:] {
				key, value, _ := strings.Cut(pair, "=")
				said[key] = strings.ReplaceAll(value, "internal", "test")
			}
			s.server.Delete("pki/roles/docker")
			s.server.Put(strings.Fields(role)[0], said, nil)
		}
		if b.info == "hcl" {
			s.server.Put("sys/policies/acl/page", map[string]any{"policy": b.text}, nil)
		}
	}
	s.vars["VAULT_TOKEN"] = s.server.Token(map[string]any{"policies": []string{"page"}, "ttl": "1h"})
	s.by(s.server.Address, "token")
	s.want(exitDone, "apply")
	s.verifiedBy(s.server.Root)

	// A request that was made elsewhere is signed as well.
	s.openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "laptop.key", "-out", "laptop.csr",
		"-subj", "/CN=laptop.test", "-addext", "subjectAltName=DNS:laptop.test")
	s.want(exitDone, "sign", "--ca", "company", "-o", filepath.Join(s.dir, "laptop.pem"), filepath.Join(s.dir, "laptop.csr"))
	s.openssl("verify", "-CAfile", "certs/ca.pem", "-untrusted", "laptop.pem", "-verify_hostname", "laptop.test", "laptop.pem")
}

// TestVaultVariables keeps what logs in out of the environment of children.
func TestVaultVariables(t *testing.T) {
	t.Parallel()
	for login, want := range map[string][]string{
		"token: {env: SECRET}":                                       {"SECRET"},
		"appRole: {roleId: web, secretId: {env: SECRET}}":            {"SECRET"},
		"jwt: {role: ci, token: {env: SECRET}}":                      {"SECRET"},
		"certificate: {certificate: a.pem, key: a.key, role: hosts}": nil,
	} {
		text := `{version: 1, project: vault, cas: {company: {vault: {address: "https://vault", mount: pki, role: docker, ` + login + `}}}}`
		parsed, err := spec.Parse([]spec.Input{{Name: "tls.yaml", Data: []byte(text)}}, func(string) (string, bool) { return "", false })
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, variables(parsed)); diff != "" {
			t.Errorf("%s:\n%s", login, diff)
		}
	}
}

// fault is what a front does to a request; true says that it has answered.
type fault = func(w http.ResponseWriter, r *http.Request) bool

// TestVaultFaults has a server that fails in each way while a certificate is to be replaced, and one that signs what was not
// asked for: nothing that is published changes, the cause is in status, and the next apply heals it.
func TestVaultFaults(t *testing.T) {
	t.Parallel()
	var now atomic.Pointer[fault]
	s := newVaultScene(t)
	other := vaulttest.Start(t)
	front := s.server.Front(t, func(w http.ResponseWriter, r *http.Request) bool {
		f := now.Load()
		return f != nil && (*f)(w, r)
	})
	s.by(front, "appRole")
	s.want(exitDone, "apply")
	answers := func(status int) fault {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Retry-After", "600")
			w.WriteHeader(status)
			return true
		}
	}
	// signs has the real server sign something else.
	signs := func(path string, more map[string]any) fault {
		return func(_ http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/sign/") {
				return false
			}
			var question map[string]any
			if err := json.NewDecoder(r.Body).Decode(&question); err != nil {
				t.Error(err)
			}
			maps.Copy(question, more)
			body, err := json.Marshal(question)
			if err != nil {
				t.Error(err)
			}
			r.URL.Path, r.ContentLength, r.Body = path, int64(len(body)), io.NopCloser(bytes.NewReader(body))
			return false
		}
	}
	s.openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "other.key", "-out", "other.csr",
		"-subj", "/CN=web.test", "-addext", "subjectAltName=DNS:web.test,IP:127.0.0.1")
	otherKey := map[string]any{"csr": string(read(t, filepath.Join(s.dir, "other.csr")))}
	stranger := other.Front(t, func(http.ResponseWriter, *http.Request) bool { return false })
	for _, c := range []struct {
		name, address, want string
		fault               fault
	}{
		{"500", front, "500 Internal Server Error", answers(500)},
		{"429", front, "429 Too Many Requests", answers(429)},
		{"hangs up", front, "EOF", func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }},
		{"empty", front, "is not what /v1/auth/approle/login answers", func(http.ResponseWriter, *http.Request) bool { return true }},
		{"another key", front, "the certificate is of another key", signs("/v1/pki/sign/docker", otherKey)},
		{"other names", front, `the certificate has the names ["dns:other.test"`, signs("/v1/pki/sign/told", map[string]any{"alt_names": "other.test"})},
		{"another CA", front, "does not lead to a root of the CA", signs("/v1/"+vaulttest.Stranger+"/sign/docker", nil)},
		{"down", "https://127.0.0.1:1", "connection refused", nil},
		{"another root", stranger, "was told nothing: look who answers there", nil},
		{"sealed", s.server.Address, "sealed", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			before, old := tree(t, s.certs), placed(t, s.certs)
			s.by(c.address, "appRole")
			if c.fault != nil {
				now.Store(&c.fault)
			}
			if c.name == "sealed" {
				s.server.Seal()
			}
			s.says(s.want(exitPart, "rotate", "identity/web"), c.want)
			if diff := cmp.Diff(before, tree(t, s.certs)); diff != "" {
				t.Errorf("what is published changed:\n%s", diff)
			}
			s.says(s.want(exitDone, "status"), c.want)
			s.says(s.want(exitDone, "why", "web"), c.want)
			now.Store(nil)
			if c.name == "sealed" {
				s.server.Unseal()
			}
			s.by(front, "appRole")
			s.want(exitDone, "apply")
			if placed(t, s.certs) == old {
				t.Error("not healed")
			}
			s.verifiedBy(s.server.Root)
		})
	}
}

// TestVaultWatch watches a certificate of five minutes of a server that is sealed at first: it is there when the server is, is
// renewed between 3:00 and 3:40, though its token lives for a minute, and nobody has to do anything.
func TestVaultWatch(t *testing.T) {
	t.Parallel()
	if testing.Short() { // it takes four minutes
		t.Skip("with -short")
	}
	s := newVaultScene(t)
	s.server.Lease("1m")
	s.server.Seal()
	s.by(s.server.Address, "appRole")
	w := newWatch(t, string(read(t, filepath.Join(s.dir, "tls.yaml"))))
	if err := os.WriteFile(filepath.Join(w.dir, "server.pem"), read(t, s.server.ServerRoots), 0o600); err != nil {
		t.Fatal(err)
	}
	w.cmd.Env = append(w.cmd.Env, "SECRET_ID="+s.vars["SECRET_ID"])
	w.start()
	w.says(0, "sealed")
	s.server.Unseal()
	w.renewsInTime()
}
