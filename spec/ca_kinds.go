package spec

import "time"

// CA is something that issues. Exactly one of the kinds is set.
type CA struct {
	Name  string
	Pos   Pos
	Local *LocalCA // nil: the CA is outside, and is asked
	Exec  *ExecCA
	Step  *StepCA
	ACME  *ACMECA
	Vault *VaultCA
}

// Kind is the key under which the spec has the CA, or "".
func (c *CA) Kind() string {
	switch {
	case c.Local != nil:
		return "local"
	case c.Exec != nil:
		return "exec"
	case c.Step != nil:
		return "step"
	case c.ACME != nil:
		return "acme"
	case c.Vault != nil:
		return "vault"
	}
	return ""
}

// Roots is the file of the roots that everything a CA outside issues leads to; "" where it is asked for them.
func (c *CA) Roots() string {
	switch {
	case c.Exec != nil:
		return c.Exec.Roots
	case c.ACME != nil:
		return c.ACME.Roots
	case c.Vault != nil:
		return c.Vault.Roots
	}
	return ""
}

// Fingerprint is the SHA-256 of the root that the spec pins, in lower-case hex; "" where it pins none.
func (c *CA) Fingerprint() string {
	if c.Step != nil {
		return c.Step.Fingerprint
	}
	return ""
}

// Public reports whether what a CA outside issues leads to one of the PublicRoots, of which it may choose another any day.
func (c *CA) Public() bool { return c.ACME != nil && c.ACME.Roots == "" }

// ExecCA is a command that signs.
type ExecCA struct {
	Command []string
	Roots   string        // path of what its certificates lead to (PEM)
	Timeout time.Duration // of one call; a minute by default
}

// ACMECA is an ACME server (RFC 8555), and how names are proved to it: exactly one of HTTP01, TLSALPN01, DNS01 and Webroot
// is set.
type ACMECA struct {
	Directory string
	Email     string // the contact of the account; "" for none
	Roots     string // path of what its certificates, and its own, lead to (PEM); "" for the PublicRoots
	HTTP01    *Listener
	TLSALPN01 *Listener
	DNS01     *DNS01
	Webroot   string // the directory that an HTTP server serves
	EAB       *EAB   // nil where the server takes anybody's account
}

// Listener is where certwright listens while a name is to be proved: at an address of this machine, or in the network of a
// container. Exactly one of Address and Container is set.
type Listener struct {
	Address   string // HOST:PORT
	Container string // its name
	Port      int    // in its network
}

// DNS01 is who sets and unsets a DNS record: a command, or the zone's name server where Update is set.
type DNS01 struct {
	Command []string
	Timeout time.Duration // of one call; two minutes by default
	Update  *DNSUpdate
}

// DNSUpdate is a name server that takes updates of a zone (RFC 2136), and the key they are signed with (RFC 8945).
type DNSUpdate struct {
	Server    string // HOST:PORT
	Zone      string // lower case, without a dot at the end, as Key
	Key       string
	Algorithm TSIGAlgorithm
	Secret    *Source // base64
}

// TSIGAlgorithm is how an update is signed.
type TSIGAlgorithm string

// TSIGAlgorithms are those that are both safe and widely there (RFC 8945 section 6); the first is the default.
var TSIGAlgorithms = []TSIGAlgorithm{"hmac-sha256", "hmac-sha384", "hmac-sha512"}

// EAB binds an account to one that the server knows by other means (RFC 8555 section 7.3.4).
type EAB struct {
	KeyID string
	Key   *Source // base64url
}

// LocalCA is certwright's own CA: made by it, or brought along when Certificate is set.
type LocalCA struct {
	Parent      *Ref // nil: a root
	Subject     Subject
	Key         KeyKind
	Lifetime    time.Duration
	Constraints NameConstraints
	Certificate string // path of a brought-along certificate (PEM, leaf first, then its issuers)
	Chain       string // path of its issuers, where they do not stand behind it; "" for none
	KeyFile     string // path of its key
	Passphrase  *Source
}
