package vaulttest

import (
	"encoding/hex"
	"encoding/pem"
	"net/http"
	"path"
	"strings"
)

// Engines beside Mount, with the same roles.
const (
	Rootless = "rootless" // was not given its root
	Stranger = "stranger" // is of another root
)

// ofRoot is where an engine has what is about its own root.
const ofRoot = "root"

// certified is what the engines answer.
type certified struct {
	Data struct {
		Certificate string `json:"certificate"`
		CSR         string `json:"csr"`
		RevokedAt   int64  `json:"revocation_time"`
	} `json:"data"`
}

// engines makes a root in one engine, and intermediates of it in others.
func (s *Server) engines() {
	t := s.t
	t.Helper()
	for _, mount := range []string{"root", Mount, Rootless, Stranger} {
		s.Put("sys/mounts/"+mount, map[string]any{"type": "pki", "config": map[string]any{"max_lease_ttl": "87600h"}}, nil)
	}
	var root certified
	s.Put(path.Join("root", ofRoot, "generate/internal"), map[string]any{"common_name": "Root", "key_type": "ec", "ttl": "87600h"}, &root)
	block, _ := pem.Decode([]byte(root.Data.Certificate))
	if block == nil {
		t.Fatal("there is no root")
	}
	s.Root = block.Bytes
	s.intermediate(Mount, root.Data.Certificate)
	s.intermediate(Rootless, "")
	s.Put(path.Join(Stranger, ofRoot, "generate/internal"), map[string]any{"common_name": "Stranger", "key_type": "ec", "ttl": "87600h"}, nil)
	s.roles(Stranger)
	s.Put("sys/policies/acl/"+Policy, map[string]any{"policy": `
path "+/sign/+" { capabilities = ["update"] }
path "+/revoke" { capabilities = ["update"] }
`}, nil)
}

// intermediate makes one, and its roles.
func (s *Server) intermediate(mount, root string) {
	s.t.Helper()
	var csr, signed certified
	s.Put(mount+"/intermediate/generate/internal", map[string]any{"common_name": "Intermediate", "key_type": "ec"}, &csr)
	s.Put(path.Join("root", ofRoot, "sign-intermediate"), map[string]any{"csr": csr.Data.CSR, "common_name": "Intermediate", "ttl": "43800h"}, &signed)
	s.Put(mount+"/intermediate/set-signed", map[string]any{"certificate": signed.Data.Certificate + "\n" + root}, nil)
	s.roles(mount)
}

func (s *Server) roles(mount string) {
	s.t.Helper()
	for _, role := range []string{Docker, NoCopy, Told} {
		s.Put(mount+"/roles/"+role, map[string]any{
			"allowed_domains": []string{"test"}, "allow_subdomains": true, "allowed_uri_sans": []string{"spiffe://test/*"},
			"key_type": "any", "max_ttl": "720h", "no_store": role == NoCopy, "use_csr_sans": role != Told, "use_csr_common_name": role != Told,
		}, nil)
	}
}

// Revoked reports whether the engine has revoked what has a serial.
func (s *Server) Revoked(serial string) bool {
	s.t.Helper()
	number, err := hex.DecodeString(serial)
	if err != nil {
		s.t.Fatal(err)
	}
	parts := make([]string, len(number))
	for i, b := range number {
		parts[i] = hex.EncodeToString([]byte{b})
	}
	var answer certified
	s.must(http.MethodGet, Mount+"/cert/"+strings.Join(parts, ":"), nil, &answer)
	return answer.Data.RevokedAt > 0
}
