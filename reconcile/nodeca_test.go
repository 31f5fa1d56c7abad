package reconcile_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/reconcile"
)

// nodeCA makes the root of an external CA in a file of its own folder, and returns what names it in the spec.
func (e *estate) nodeCA(file string) string {
	e.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		e.t.Fatal(err)
	}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "outside"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now(), NotAfter: time.Now().AddDate(10, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, root, root, &key.PublicKey, key)
	if err != nil {
		e.t.Fatal(err)
	}
	file = filepath.Join(e.t.TempDir(), file)
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		e.t.Fatal(err)
	}
	return fmt.Sprintf("externalCA: {url: https://outside/sign, root: %q}", file)
}

// namesOf are how a Swarm names a certificate it trusts, and what signs with it.
func namesOf(der []byte) (root, issuer string) {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), reconcile.IssuerOf(c.RawSubject, c.RawSubjectPublicKeyInfo)
}

// trusts has all nodes at rest with the root of a file.
func (s *swarm) trusts(file string) {
	data, err := os.ReadFile(file)
	if err != nil {
		panic(err)
	}
	block, _ := pem.Decode(data)
	ca := &s.now.CA
	ca.Root, ca.Issuer = namesOf(block.Bytes)
	for i := range ca.Nodes {
		ca.Nodes[i].Root, ca.Nodes[i].Issuer = ca.Root, ca.Issuer
	}
}

// TestNodeCADiff has a row for each reason that a plan gives about an external CA.
func TestNodeCADiff(t *testing.T) {
	const (
		rotate  = "1 rotate the Swarm's root on 3 nodes to that of https://outside/sign, which changes its join tokens: the nodes trust another root than that of externalCA"
		blocked = "Blocked swarm/local: the nodes trust another root than that of externalCA, but not every node is ready: c (down)\n"
		sign    = "1 let https://outside/sign sign the certificates of the Swarm's nodes: "
		giveUp  = "1 give up the rotation of the Swarm's root, and keep that of https://outside/sign: externalCA names the root the nodes trust, and they are being given another: 0/3 nodes have a certificate of the new root, waits for a, b, c\n"
	)
	named := func(s *swarm, url string) {
		s.now.CA.External = []reconcile.ExternalCA{{URL: url, Root: s.now.CA.Root}}
	}
	for name, row := range map[string]struct {
		do    func(s *swarm, file string)
		scope reconcile.Scope
		want  string
	}{
		"another root":          {func(*swarm, string) {}, reconcile.Scope{}, rotate + "\n"},
		"a node is down":        {func(s *swarm, _ string) { s.node("c").State = "down" }, reconcile.Scope{}, blocked},
		"forced":                {func(s *swarm, _ string) { s.node("c").State = "down" }, reconcile.Scope{ForceRotation: true}, rotate + "; it will wait for c (down)\n"},
		"of another":            {func(s *swarm, _ string) { named(s, "https://other") }, reconcile.Scope{}, "Blocked swarm/local: externalCA has another root than https://other, and Swarm does not go from one external CA to another\n"},
		"Swarm has the key":     {func(s *swarm, file string) { s.trusts(file) }, reconcile.Scope{}, sign + "Swarm signs them itself\n"},
		"it is elsewhere":       {func(s *swarm, file string) { s.trusts(file); named(s, "https://other") }, reconcile.Scope{}, sign + "instead of https://other\n"},
		"as it should be":       {func(s *swarm, file string) { s.trusts(file); named(s, "https://outside/sign") }, reconcile.Scope{}, ""},
		"no file":               {func(_ *swarm, file string) { _ = os.Remove(file) }, reconcile.Scope{}, "Blocked swarm/local: the root of externalCA: open FILE: no such file or directory\n"},
		"rotated away":          {func(s *swarm, file string) { s.trusts(file); s.begin("key1", "root1") }, reconcile.Scope{}, giveUp},
		"rotated away, no file": {func(s *swarm, file string) { s.trusts(file); s.begin("key1", "root1"); _ = os.Remove(file) }, reconcile.Scope{}, "1 follow the rotation of the Swarm's root: 0/3 nodes have a certificate of the new root, waits for a, b, c\n"},
		"under way to a third":  {func(s *swarm, _ string) { s.begin("key1", "root1") }, reconcile.Scope{}, "1 follow the rotation of the Swarm's root: 0/3 nodes have a certificate of the new root, waits for a, b, c\n"},
		"under way": {func(s *swarm, file string) {
			was := s.now.CA.Root
			s.trusts(file)
			s.now.CA.Rotating, s.now.CA.Root = true, was
		}, reconcile.Scope{}, "1 follow the rotation of the Swarm's root: 0/3 nodes have a certificate of the new root, waits for a, b, c\n"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEstate(t)
				e.read("version: 1\nproject: shop\nswarm: {" + e.nodeCA("root.pem") + "}\n")
				e.swarm.now = reconcile.Swarm{CA: swarmCA("")}
				file := e.spec.Swarm.External.Root
				row.do(e.swarm, file)
				got := strings.ReplaceAll(text(e.plan(row.scope)), file, "FILE")
				if diff := cmp.Diff(row.want, got); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
			})
		})
	}
}
