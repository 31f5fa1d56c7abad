package spec

import (
	"regexp"
	"slices"
	"strings"
)

// VaultCA is the PKI engine of a Vault or OpenBao server. Exactly one of Token, AppRole, JWT and Certificate is set: how to log in.
type VaultCA struct {
	Address     string // https://HOST or https://HOST:PORT
	ServerRoots string // path of what the server's own certificate leads to (PEM); "" for the SystemRoots
	Namespace   string // "" for none
	Mount       string // where the PKI engine is, without a slash before and behind it
	Role        string // of the PKI engine
	Roots       string // path of what its certificates lead to (PEM); "" where it is asked for them
	Token       *Source
	AppRole     *VaultAppRole
	JWT         *VaultJWT
	Certificate *VaultCertificate
}

// Secret is where the secret is that logs in; nil where a certificate does.
func (v *VaultCA) Secret() *Source {
	switch {
	case v.AppRole != nil:
		return v.AppRole.SecretID
	case v.JWT != nil:
		return v.JWT.Token
	}
	return v.Token
}

// VaultAppRole is a login of a machine by the auth method AppRole.
type VaultAppRole struct {
	RoleID   string
	SecretID *Source
	Mount    string
}

// VaultJWT is a login by a token (RFC 7519) that something else gave, by the auth method JWT.
type VaultJWT struct {
	Role  string
	Token *Source
	Mount string
}

// VaultCertificate is a login by a certificate of something else, by the auth method of TLS certificates.
type VaultCertificate struct {
	Certificate string // path (PEM, the leaf first)
	KeyFile     string // path of its key
	Role        string
	Mount       string
}

func (p *parser) vaultCA(v value) *VaultCA {
	m := p.section(v, &vaultSection)
	ca := &VaultCA{
		Address: p.origin(m.get("address")), ServerRoots: p.path(m.get("serverRoots")), Namespace: p.vaultPath(m.get("namespace")),
		Mount: p.vaultPath(m.get("mount")), Role: p.vaultName(m.get("role")), Roots: p.path(m.get("roots")),
		Token: p.source(m.get("token")),
	}
	mounted := func(m *mapping, usual string) string {
		if m.has("mount") {
			return p.vaultPath(m.get("mount"))
		}
		return usual
	}
	switch login := p.oneOf(m, required, "token", "appRole", "jwt", "certificate"); login.key {
	case "appRole":
		m := p.section(login, &vaultAppRoleSection)
		ca.AppRole = &VaultAppRole{RoleID: p.text(m.get("roleId")), SecretID: p.source(m.get("secretId")), Mount: mounted(m, "approle")}
	case "jwt":
		m := p.section(login, &vaultJWTSection)
		ca.JWT = &VaultJWT{Role: p.text(m.get("role")), Token: p.source(m.get("token")), Mount: mounted(m, "jwt")}
	case "certificate":
		m := p.section(login, &vaultCertificateSection)
		ca.Certificate = &VaultCertificate{
			Certificate: p.path(m.get("certificate")), KeyFile: p.path(m.get("key")), Role: p.text(m.get("role")), Mount: mounted(m, "cert"),
		}
	}
	return ca
}

// What stands between two slashes of a path of the server's.
var vaultSegment = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9_.-]*$`)

// vaultPath returns a path of the server's without a slash before and behind it.
func (p *parser) vaultPath(v value) string {
	s := strings.Trim(p.text(v), "/")
	if s != "" && slices.ContainsFunc(strings.Split(s, "/"), func(part string) bool { return !vaultSegment.MatchString(part) }) {
		p.errorf(v, "%s is no path of the server: want letters, digits, _, - and . between slashes", quote(v.node.Value))
	}
	return s
}

func (p *parser) vaultName(v value) string {
	s := p.text(v)
	if s != "" && !vaultSegment.MatchString(s) {
		p.errorf(v, "%s is no name of a role: want letters, digits, _, - and .", quote(v.node.Value))
	}
	return s
}

// checkVault looks at what an identity asks of a role, which says what the subject is but for its common name, and looks
// at that as at the other names.
func (p *parser) checkVault(m *mapping, id *Identity, ca CA) {
	subject := p.open(m.get("subject"))
	for _, key := range subjectSection.names() {
		if v := subject.get(key); v.node != nil && key != "commonName" {
			p.errorf(v, "the role %s of the CA %s says what is in it", quote(ca.Vault.Role), quote(ca.Name))
		}
	}
	fits := func(n Name) bool { return n.Kind == DNSName && len(n.Value) <= 64 }
	if i := slices.IndexFunc(id.Names, fits); i >= 0 && !subject.has("commonName") {
		id.Subject.CommonName = id.Names[i].Value
	}
}
