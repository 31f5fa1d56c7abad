package vault_test

import (
	"crypto/x509"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/providers/docker/dockertest"
	"github.com/certwright/certwright/providers/localca"
	"github.com/certwright/certwright/providers/vault"
	"github.com/certwright/certwright/providers/vault/vaulttest"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// asker asks a real server as the core does.
type asker struct {
	t      *testing.T
	ca     *vault.CA
	spec   spec.CA
	root   []byte
	secret string // what logs in
	ahead  time.Duration
	sent   []string
}

// ways are how to log in, by the keys of the spec.
var ways = []string{"token", "appRole", "jwt", "certificate"}

func newAsker(t *testing.T, server *vaulttest.Server, way string) *asker {
	t.Helper()
	a := &asker{t: t, root: server.Root}
	a.ca = &vault.CA{
		Secret: func(spec.Source) ([]byte, error) { return []byte(a.secret), nil },
		Now:    func() time.Time { return time.Now().Add(a.ahead) },
		Around: func(what string, do func() error) error { a.sent = append(a.sent, what); return do() },
	}
	v := &spec.VaultCA{Address: server.Address, ServerRoots: server.ServerRoots, Mount: vaulttest.Mount, Role: vaulttest.Docker}
	source := &spec.Source{Env: "S", Pos: spec.Pos{File: "tls.yaml", Line: 5, Column: 3}}
	switch way {
	case "token":
		v.Token, a.secret = source, server.Token(map[string]any{"ttl": "1h"})
	case "appRole":
		v.AppRole, a.secret = &spec.VaultAppRole{RoleID: server.RoleID(), SecretID: source, Mount: "approle"}, server.SecretID()
	case "jwt":
		v.JWT, a.secret = &spec.VaultJWT{Role: vaulttest.JWT, Token: source, Mount: "jwt"}, server.Jot(t, time.Now().Add(time.Hour))
	case "certificate":
		v.Certificate = &spec.VaultCertificate{Certificate: a.path("machine.pem"), KeyFile: a.path("machine.key"), Role: vaulttest.Machines, Mount: "cert"}
		server.Birth.Leaf(t, "a machine", time.Now().Add(time.Hour)).Write(t, v.Certificate.Certificate, v.Certificate.KeyFile)
	}
	a.spec = spec.CA{Name: "company", Vault: v}
	return a
}

func (a *asker) path(name string) string { return filepath.Join(a.t.TempDir(), name) }

func identity(life time.Duration) spec.Identity {
	return spec.Identity{
		Name: "web", CA: spec.Ref{Name: "company"}, Subject: spec.Subject{CommonName: "web.test"}, Key: spec.ECDSAP256, Lifetime: life,
		Names: []spec.Name{
			{Kind: spec.DNSName, Value: "web.test"}, {Kind: spec.IPName, Value: "127.0.0.1"}, {Kind: spec.URIName, Value: "spiffe://test/web"},
		},
		Usages: []spec.Usage{spec.Server, spec.Client},
	}
}

// sign asks for a certificate and has it accepted, as the core does.
func (a *asker) sign(id spec.Identity) (*reconcile.Issued, error) {
	a.t.Helper()
	a.sent = nil
	authority := &localca.CA{Now: time.Now}
	csr, key, err := authority.Request(id, reconcile.PrivateKey{})
	if err != nil {
		a.t.Fatal(err)
	}
	q := reconcile.SigningRequest{Identity: id, CSR: csr, Roots: [][]byte{a.root}, Now: time.Now()}
	chain, err := a.ca.Sign(a.t.Context(), a.spec, q)
	if err != nil {
		a.hides(err)
		return nil, err
	}
	issued, err := authority.Accept(id, csr, chain, q.Roots, time.Now())
	if err != nil {
		a.t.Fatal(err)
	}
	issued.Key = key
	return &issued, nil
}

// hides looks for what logs in where it must not be.
func (a *asker) hides(err error) {
	a.t.Helper()
	if text := err.Error() + strings.Join(a.sent, " "); a.secret != "" && strings.Contains(text, a.secret) {
		a.t.Errorf("it tells the secret: %s", text)
	}
}

func (a *asker) must(id spec.Identity) *reconcile.Issued {
	a.t.Helper()
	issued, err := a.sign(id)
	if err != nil {
		a.t.Fatal(err)
	}
	return issued
}

// asked wants exactly these requests to have been sent since the last sign began.
func (a *asker) asked(want ...string) {
	a.t.Helper()
	if got, want := strings.Join(a.sent, ", "), strings.Join(want, ", "); got != want {
		a.t.Errorf("sent %s, want %s", got, want)
	}
}

const (
	signs   = "POST vault /v1/pki/sign/docker"
	renews  = "POST vault /v1/auth/token/renew-self"
	looks   = "GET vault /v1/auth/token/lookup-self"
	revokes = "POST vault /v1/pki/revoke"
)

// logsIn is the request by which a way does.
func logsIn(way string) string {
	if way == "token" {
		return looks
	}
	return "POST vault /v1/auth/" + map[string]string{"appRole": "approle", "jwt": "jwt", "certificate": "cert"}[way] + "/login"
}

// TestWays goes through a life by each way to log in: enrolled, renewed without another login, expired, revoked twice.
func TestWays(t *testing.T) {
	t.Parallel()
	server := vaulttest.Start(t)
	for _, way := range ways {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			a := newAsker(t, server, way)
			roots, err := a.ca.Roots(t.Context(), a.spec)
			if err != nil || len(roots) != 1 || string(roots[0]) != string(server.Root) {
				t.Fatalf("roots: %v, %v", roots, err)
			}
			short := a.must(identity(2 * time.Second))
			a.asked(logsIn(way), signs)
			first := a.must(identity(5 * time.Minute))
			if a.asked(signs); len(first.Chain) != 1 || first.Serial == short.Serial {
				t.Errorf("serial %s after %s, %d intermediates", first.Serial, short.Serial, len(first.Chain))
			}
			if life := time.Until(first.NotAfter); life > 5*time.Minute || life < 4*time.Minute {
				t.Errorf("it lives %s", life)
			}
			dockertest.Poll(t, 10*time.Second, "a certificate to expire", func() error {
				if time.Now().Before(short.NotAfter) {
					return errors.New("not yet")
				}
				return nil
			})
			for _, old := range []*reconcile.Issued{first, first, short} {
				a.sent = nil
				if err := a.ca.Revoke(t.Context(), a.spec, reconcile.RevocationRequest{Roots: roots, Serial: old.Serial}); err != nil {
					t.Fatal(err)
				}
				a.asked(revokes)
			}
			if !server.Revoked(first.Serial) {
				t.Error("it is not revoked")
			}
			if next := a.must(identity(5 * time.Minute)); next.Serial == first.Serial || server.Revoked(next.Serial) {
				t.Errorf("%s after %s", next.Serial, first.Serial)
			}
		})
	}
}

// TestNames has a role take the names from the request, and another one from what stands beside it.
func TestNames(t *testing.T) {
	t.Parallel()
	server := vaulttest.Start(t)
	for _, role := range []string{vaulttest.Docker, vaulttest.Told} {
		a := newAsker(t, server, "token")
		a.spec.Vault.Role = role
		id := identity(time.Hour)
		id.Subject.CommonName = "alone.test" // and no name of it
		id.Names = append(id.Names, spec.Name{Kind: spec.DNSName, Value: "www.test"}, spec.Name{Kind: spec.EmailName, Value: "web@mail.test"})
		issued := a.must(id) // which holds the names against those that were asked for
		leaf, err := x509.ParseCertificate(issued.Certificate)
		if err != nil || leaf.Subject.CommonName != "alone.test" {
			t.Errorf("%s: %v, %v", role, leaf.Subject, err)
		}
	}
}

// TestRevokeWhatIsNotKept shows the engine what its role kept no copy of. Nothing else revokes that.
func TestRevokeWhatIsNotKept(t *testing.T) {
	t.Parallel()
	server := vaulttest.Start(t)
	a := newAsker(t, server, "token")
	a.spec.Vault.Role = vaulttest.NoCopy
	issued := a.must(identity(time.Hour))
	err := a.ca.Revoke(t.Context(), a.spec, reconcile.RevocationRequest{Serial: issued.Serial})
	if !errors.Is(err, reconcile.ErrRefused) || !strings.Contains(err.Error(), "not found") {
		t.Errorf("%v", err)
	}
	if err := a.ca.Revoke(t.Context(), a.spec, reconcile.RevocationRequest{Serial: issued.Serial, Own: issued}); err != nil || !server.Revoked(issued.Serial) {
		t.Errorf("%v, revoked %v", err, server.Revoked(issued.Serial))
	}
	a.sent = nil
	other := newAsker(t, server, "token")
	other.secret = server.Token(map[string]any{"policies": []string{"default"}})
	err = other.ca.Revoke(t.Context(), a.spec, reconcile.RevocationRequest{Serial: issued.Serial, Own: issued})
	if !errors.Is(err, reconcile.ErrRefused) || !strings.Contains(err.Error(), `lack path "pki/revoke"`) {
		t.Errorf("%v", err)
	}
	other.asked(looks, revokes)
	if err := a.ca.Revoke(t.Context(), a.spec, reconcile.RevocationRequest{Serial: "nothing"}); err == nil || !strings.Contains(err.Error(), "hex") {
		t.Errorf("%v", err)
	}
}

// TestRootsOfAnIntermediate asks an engine that knows its intermediate and no root.
func TestRootsOfAnIntermediate(t *testing.T) {
	t.Parallel()
	server := vaulttest.Start(t)
	a := newAsker(t, server, "token")
	a.spec.Vault.Mount = vaulttest.Rootless
	_, err := a.ca.Roots(t.Context(), a.spec)
	if err == nil || !strings.Contains(err.Error(), "name a file of it in roots") {
		t.Errorf("%v", err)
	}
	if issued := a.must(identity(time.Hour)); len(issued.Chain) != 1 {
		t.Errorf("%d intermediates", len(issued.Chain))
	}
}
