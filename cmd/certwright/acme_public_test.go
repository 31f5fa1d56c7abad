package main

import (
	"bytes"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// TestACMEPublic has a CA without roots in the spec: what it issues leads to one of the public roots, and of these only that
// one is taken in.
func TestACMEPublic(t *testing.T) {
	dir := t.TempDir()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	server, err := newPebble(pebble(t), dir, "-http", port, "-alternates", "2")
	if err != nil {
		t.Fatal(err)
	}
	defer server.end()
	text := "version: 1\nproject: shop\nstore: {directory: " + dir + "/store}\n" +
		"cas: {le: {acme: {directory: \"" + server.Directory + "\", http01: {listen: \"127.0.0.1:" + port + "\"}}}}\n" +
		"identities: {web: {ca: le, names: [web.test]}, shop: {ca: le, names: [shop.test]}}\n" +
		"bindings: {web: {identity: web, directory: " + dir + "/web}, shop: {identity: shop, trust: [public], directory: " + dir + "/shop}}\n"
	if err := os.WriteFile(filepath.Join(dir, "tls.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	public := certificatesOf(t, filepath.Join(dir, "roots.pem"))
	open := func(roots [][]byte) *session {
		t.Helper()
		var out bytes.Buffer
		a := &app{
			env:   env{in: strings.NewReader(""), out: &out, err: &out, getenv: func(string) string { return "" }, now: time.Now},
			files: []string{filepath.Join(dir, "tls.yaml")}, host: "unix:///nonexistent/docker.sock",
		}
		s, err := a.open(t.Context(), true)
		if err != nil {
			t.Fatal(err)
		}
		s.applier.Roots = func(name string) ([][]byte, error) {
			if name != spec.PublicRoots {
				t.Errorf("asked for the roots %q", name)
			}
			return roots, nil
		}
		return s
	}
	converge := func(roots [][]byte) (reconcile.Outcome, reconcile.State) {
		t.Helper()
		s := open(roots)
		defer s.close()
		o, err := s.applier.Converge(t.Context(), reconcile.Scope{})
		if err != nil {
			t.Fatal(err)
		}
		st, err := s.store.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return o, st
	}

	// A request from elsewhere needs no root that was taken in before.
	s := open(public)
	if err := s.store.Commit(t.Context(), reconcile.State{}); err != nil {
		t.Fatal(err)
	}
	csr, _, err := s.applier.Authority.Request(spec.Identity{Names: []spec.Name{{Kind: spec.DNSName, Value: "laptop.test"}}, Key: spec.ECDSAP256}, reconcile.PrivateKey{})
	if err != nil {
		t.Fatal(err)
	}
	id, err := s.applier.Authority.Requested(csr)
	if err != nil {
		t.Fatal(err)
	}
	id.Name, id.CA, id.Usages = "laptop.csr", spec.Ref{Name: "le"}, []spec.Usage{spec.Server}
	if chain, err := s.applier.Certify(t.Context(), *s.spec.CAByName("le"), id, csr); err != nil || len(chain) < 2 {
		t.Errorf("a request from elsewhere: %d certificates, %v", len(chain), err)
	}
	_ = s.close()

	o, st := converge(public)
	if o.Err != nil || !o.Plan.Empty() {
		t.Fatalf("%v, %v", o.Err, o.Plan)
	}
	used := st.Identities["web"].Root
	if g := st.CAs["le"].Generations; len(g) != 1 || g[0].State != reconcile.GenerationActive || !bytes.Equal(g[0].Certificate, used) {
		t.Errorf("%d roots are taken in", len(g))
	}
	if placed := certificatesOf(t, filepath.Join(dir, "web", "ca.pem")); len(placed) != 1 || !bytes.Equal(placed[0], used) {
		t.Errorf("%d roots are placed", len(placed))
	}
	if placed := certificatesOf(t, filepath.Join(dir, "shop", "ca.pem")); len(placed) != len(public) {
		t.Errorf("%d public roots are placed, of %d", len(placed), len(public))
	}
	if o, _ := converge(public); o.Passes != 0 {
		t.Errorf("a second apply does %v", o.Done)
	}

	// A root that Mozilla takes back is good no longer; the server's certificates lead to others as well.
	var left [][]byte
	for _, root := range public {
		if !bytes.Equal(root, used) {
			left = append(left, root)
		}
	}
	o, st = converge(left)
	if o.Err != nil || !o.Plan.Empty() || bytes.Equal(st.Identities["web"].Root, used) {
		t.Errorf("%v, %v", o.Err, o.Plan)
	}
	if g := st.CAs["le"].Generations; len(g) != 2 || g[1].State != reconcile.GenerationNext {
		t.Errorf("%d roots are taken in", len(g))
	}
}

func certificatesOf(t *testing.T, file string) (ders [][]byte) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			return ders
		}
		ders, data = append(ders, block.Bytes), rest
	}
}
