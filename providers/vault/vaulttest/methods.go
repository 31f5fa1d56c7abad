package vaulttest

import (
	"crypto/x509"
	"encoding/json"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/certwright/certwright/providers/servertest"
)

// What the auth methods of every server know, beside their usual mounts.
const (
	AppRole  = "hosts" // the name of the role; RoleID is what it logs in by
	JWT      = "ci"
	Machines = "machines"
)

// methods mounts AppRole, JWT and TLS certificates. What they give lives for an hour, and has the Policy.
func (s *Server) methods() {
	s.t.Helper()
	for _, kind := range []string{"approle", "jwt", "cert"} {
		s.Put("sys/auth/"+kind, map[string]any{"type": kind}, nil)
	}
	public, err := x509.MarshalPKIXPublicKey(&s.Birth.Key.PublicKey)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Put("auth/jwt/config", map[string]any{"jwt_validation_pubkeys": []string{string(servertest.PEM("PUBLIC KEY", public))}}, nil)
	s.Lease("1h")
}

// Lease sets how long what the auth methods give from now on lives.
func (s *Server) Lease(life string) {
	s.t.Helper()
	with := func(more map[string]any) map[string]any {
		more["token_policies"], more["token_ttl"] = []string{Policy}, life
		return more
	}
	s.Put("auth/approle/role/"+AppRole, with(map[string]any{}), nil)
	s.Put("auth/jwt/role/"+JWT, with(map[string]any{"role_type": "jwt", "user_claim": "sub", "bound_audiences": []string{"vault"}}), nil)
	s.Put("auth/cert/certs/"+Machines, with(map[string]any{"certificate": string(s.Birth.PEM())}), nil)
}

// RoleID is what the spec has of the AppRole, and SecretID a secret that goes with it.
func (s *Server) RoleID() string {
	s.t.Helper()
	return s.text("GET", "auth/approle/role/"+AppRole+"/role-id", nil, "role_id")
}

// SecretID is a new one.
func (s *Server) SecretID() string {
	s.t.Helper()
	return s.text("PUT", "auth/approle/role/"+AppRole+"/secret-id", map[string]any{}, "secret_id")
}

// text is one value of an answer's data.
func (s *Server) text(method, path string, question map[string]any, key string) string {
	s.t.Helper()
	var answer struct {
		Data map[string]any `json:"data"`
	}
	s.must(method, path, question, &answer)
	text, _ := answer.Data[key].(string)
	if text == "" {
		s.t.Fatalf("%s has no %s", path, key)
	}
	return text
}

// Token is a new one with the policies "default" and Policy, and what else is said of it.
func (s *Server) Token(more map[string]any) string {
	s.t.Helper()
	question := map[string]any{"policies": []string{Policy}}
	for k, v := range more {
		question[k] = v
	}
	var answer struct {
		Auth struct {
			Token string `json:"client_token"`
		} `json:"auth"`
	}
	s.Put("auth/token/create-orphan", question, &answer)
	return answer.Auth.Token
}

// Jot is a token (JWT) that the auth method takes until its end.
func (s *Server) Jot(t testing.TB, end time.Time) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: s.Birth.Key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(map[string]any{"sub": "a job", "aud": "vault", "iat": time.Now().Unix(), "nbf": time.Now().Unix(), "exp": end.Unix()})
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Forget revokes every token that was given so far but root's.
func (s *Server) Forget() {
	s.t.Helper()
	for _, kind := range []string{"approle", "jwt", "cert"} {
		s.Put("sys/leases/revoke-prefix/auth/"+kind, map[string]any{}, nil)
	}
	s.Put("sys/leases/revoke-prefix/auth/token/create-orphan", map[string]any{}, nil)
}
