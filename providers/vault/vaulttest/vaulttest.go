// Package vaulttest gives tests a real Vault server on loopback, built from its Go module in testdata/vault, so that what it
// depends on stays out of the product's go.mod. Only tests import it.
package vaulttest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/certwright/certwright/providers/docker/dockertest"
	"github.com/certwright/certwright/providers/servertest"
)

// What every server has: a PKI engine with an intermediate, its roles, and the policy that may sign with them and revoke.
const (
	Mount  = "pki"
	Docker = "docker" // signs web.test, what is below test, loopback and spiffe://test/…
	NoCopy = "nocopy" // as Docker, and keeps nothing of what it signed (no_store)
	Told   = "told"   // as Docker, and takes the names from beside the request
	Policy = "docker"
)

// Server is a Vault server of which the storage is its memory, unsealed.
type Server struct {
	t           testing.TB
	dir         string
	Address     string
	ServerRoots string // path of what its own certificate leads to, which is no CA of its engine's
	Root        []byte // DER, of its engine's CA
	own         servertest.Issuer
	Birth       servertest.Issuer // of the certificates and tokens that its auth methods take
	root, key   string            // the root token, and what unseals it
	server      *servertest.Server
}

var tool = servertest.NewTool("vault", "vault")

// Start has a server of its own answer for a test. Where it cannot be built the test is skipped, or fails when
// CERTWRIGHT_TEST_REQUIRE has `servers`.
func Start(t testing.TB) *Server {
	t.Helper()
	tool.Need(t)
	s := &Server{t: t, dir: t.TempDir(), own: servertest.NewIssuer(t, "Servers", nil), Birth: servertest.NewIssuer(t, "Birth", nil)}
	s.ServerRoots = filepath.Join(s.dir, "roots.pem")
	if err := os.WriteFile(s.ServerRoots, s.own.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	certificate, key, address := filepath.Join(s.dir, "server.pem"), filepath.Join(s.dir, "server.key"), servertest.FreeAddress(t)
	s.own.Leaf(t, "vault", time.Now().Add(24*time.Hour)).Write(t, certificate, key)
	s.Address = "https://" + address
	s.server = tool.Start(t, s.dir, "-address", address, "-certificate", certificate, "-key", key)
	t.Cleanup(s.server.Stop)
	s.initialize()
	s.engines()
	s.methods()
	return s
}

// initialize makes the keys and the root token, and unseals.
func (s *Server) initialize() {
	t := s.t
	t.Helper()
	var made struct {
		Keys []string `json:"keys"`
		Root string   `json:"root_token"`
	}
	dockertest.Poll(t, dockertest.Patience, "vault to answer", func() error {
		err := s.try(http.MethodPut, "sys/init", map[string]any{"secret_shares": 1, "secret_threshold": 1}, &made)
		if err != nil {
			return fmt.Errorf("%w; it says\n%s", err, s.server.Said())
		}
		return nil
	})
	s.root, s.key = made.Root, made.Keys[0]
	s.Unseal()
}

// Seal makes it answer 503 to everything, and Unseal ends that.
func (s *Server) Seal() { s.Put("sys/seal", nil, nil) }

// Unseal is the end of Seal.
func (s *Server) Unseal() {
	s.t.Helper()
	s.Put("sys/unseal", map[string]any{"key": s.key}, nil)
	dockertest.Poll(s.t, dockertest.Patience, "vault to be active", func() error { return s.try(http.MethodGet, "sys/health", nil, nil) })
}

// Put asks as root for a path below /v1/, and fails the test where that fails.
func (s *Server) Put(path string, question, answer any) {
	s.t.Helper()
	s.must(http.MethodPut, path, question, answer)
}

// Delete takes away what is at a path.
func (s *Server) Delete(path string) {
	s.t.Helper()
	s.must(http.MethodDelete, path, nil, nil)
}

func (s *Server) must(method, path string, question, answer any) {
	s.t.Helper()
	if err := s.try(method, path, question, answer); err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
}

func (s *Server) try(method, path string, question, answer any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, method, s.Address+"/v1/"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	q.Header.Set("X-Vault-Token", s.root)
	r, err := (&http.Client{Transport: s.transport()}).Do(q)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	switch {
	case err != nil:
		return err
	case r.StatusCode/100 != 2:
		return fmt.Errorf("%s: %s", r.Status, text)
	case answer == nil:
		return nil
	}
	return json.Unmarshal(text, answer)
}

func (s *Server) transport() *http.Transport {
	pool := x509.NewCertPool()
	pool.AddCert(s.own.Certificate)
	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}
}
