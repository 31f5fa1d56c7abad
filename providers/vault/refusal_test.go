package vault_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/providers/vault/vaulttest"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// TestRefused asks for what is not given, and says what to do.
func TestRefused(t *testing.T) {
	t.Parallel()
	server := vaulttest.Start(t)
	server.Put("pki/roles/usual", map[string]any{"allow_any_name": true}, nil)
	for _, c := range []struct {
		name, way, want string
		refused         bool
		wrong           func(a *asker, id *spec.Identity)
	}{
		{"another name", "token", "not allowed by this role", true, func(_ *asker, id *spec.Identity) { id.Names[0].Value = "web.example" }},
		{"a common name that is none of the role's", "token", "not allowed by this role", true, func(_ *asker, id *spec.Identity) { id.Subject.CommonName = "web" }},
		{"another kind of key", "token", "role requires keys of type", true, func(a *asker, _ *spec.Identity) { a.spec.Vault.Role = "usual" }},
		{"no such role", "token", "unknown role", true, func(a *asker, _ *spec.Identity) { a.spec.Vault.Role = "dokcer" }},
		{"no such engine", "token", "look at mount and namespace", false, func(a *asker, _ *spec.Identity) { a.spec.Vault.Mount = "pik" }},
		{"no right", "token", `its policies lack path "pki/sign/docker" { capabilities = ["update"] }`, true, func(a *asker, _ *spec.Identity) {
			a.secret = server.Token(map[string]any{"policies": []string{"default"}})
		}},
		{"no such token", "token", "the token has ended", true, func(a *asker, _ *spec.Identity) { a.secret = "hvs.nothing" }},
		{"a wrong secret", "appRole", "log in by auth/approle/login: refused: ", true, func(a *asker, _ *spec.Identity) { a.secret = "wrong" }},
		{"a token of nobody", "jwt", "log in by auth/jwt/login: refused: ", true, func(a *asker, _ *spec.Identity) {
			a.secret = vaulttest.Start(a.t).Jot(a.t, time.Now().Add(time.Hour))
		}},
		{"an expired token", "jwt", "log in by auth/jwt/login: refused: ", true, func(a *asker, _ *spec.Identity) {
			a.secret = server.Jot(a.t, time.Now().Add(-time.Hour))
		}},
		{"a certificate of nobody", "certificate", "log in by auth/cert/login: refused: ", true, func(a *asker, _ *spec.Identity) {
			by := a.spec.Vault.Certificate
			vaulttest.Start(a.t).Birth.Leaf(a.t, "nobody", time.Now().Add(time.Hour)).Write(a.t, by.Certificate, by.KeyFile)
		}},
		{"no certificate", "certificate", "machine.pem: no such file", false, func(a *asker, _ *spec.Identity) { _ = os.Remove(a.spec.Vault.Certificate.Certificate) }},
		{"no key", "certificate", "machine.key: tls: failed to find any PEM data", false, func(a *asker, _ *spec.Identity) {
			_ = os.WriteFile(a.spec.Vault.Certificate.KeyFile, []byte("nothing"), 0o600)
		}},
		{"no secret", "appRole", "log in to " + server.Address + ": not set", false, func(a *asker, _ *spec.Identity) {
			a.ca.Secret = func(spec.Source) ([]byte, error) { return nil, errors.New("not set") }
		}},
		{"no roots of the server", "token", "holds no certificate (PEM)", false, func(a *asker, _ *spec.Identity) {
			a.spec.Vault.ServerRoots = a.path("empty.pem")
			_ = os.WriteFile(a.spec.Vault.ServerRoots, nil, 0o600)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a, id := newAsker(t, server, c.way), identity(time.Hour)
			c.wrong(a, &id)
			_, err := a.sign(id)
			if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, reconcile.ErrRefused) != c.refused {
				t.Errorf("%v, want %q, refused %v", err, c.want, c.refused)
			}
			if len(a.sent) > 2 {
				t.Errorf("it asked again with what it was refused by: %v", a.sent)
			}
		})
	}
}
