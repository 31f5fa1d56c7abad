// Package spec reads tls.yaml into typed values that remember where they stood.
//
// Load reads files and directories, Parse reads bytes; both check every value on its own and every reference
// between values, gather all errors of all files, and return either a Spec that can be carried out or the whole
// list. The package knows no Docker and no clock, and does not look at the files a spec names.
package spec

import (
	"fmt"
	"io/fs"
	"net/netip"
	"strings"
	"time"
)

// Pos is where a value stands in a file. Lines and columns count from one; the zero Pos means "nowhere" (a default).
type Pos struct {
	File   string
	Line   int
	Column int
}

func (p Pos) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column) }

// Spec is what tls.yaml wants. CAs, Identities and Bindings keep the order of the files.
type Spec struct {
	Project    string
	Files      []string // the files it was read from, in order
	Store      Store
	Hosts      []Host
	CAs        []CA
	Identities []Identity
	Bindings   []Binding
	Swarm      *Swarm
	Warnings   []Warning // what works but will be regretted
}

// Warning is something in a spec that is allowed and probably not meant.
type Warning struct {
	Pos  Pos
	Path string // bindings.web.identity
	Msg  string
}

// Ref is a name written in one place that is defined in another.
type Ref struct {
	Name string
	Pos  Pos
}

// Source says where a password, passphrase or token is read from: exactly one of its fields is set.
type Source struct {
	Env     string
	File    string // absolute or relative to the process, already joined with the folder of its tls.yaml
	Command []string
	Pos     Pos
}

// Store says where certwright keeps CA keys, issued keys and its records.
type Store struct {
	Directory  string // joined with the folder of its tls.yaml; "" when Swarm
	Swarm      bool
	Passphrase *Source // nil: keys are plain 0600
	Pos        Pos
}

// Host is a Docker engine and the machine under it. The host `local` is implied and not listed.
type Host struct {
	Name     string
	Endpoint string // ssh://… tcp://… unix://…; "" when Context
	Context  string
	Pos      Pos
}

// KeyKind is a kind of key as tls.yaml names it.
type KeyKind string

// The key kinds of DESIGN.md 1.2.
const (
	ECDSAP256 KeyKind = "ecdsa-p256"
	ECDSAP384 KeyKind = "ecdsa-p384"
	ECDSAP521 KeyKind = "ecdsa-p521"
	Ed25519   KeyKind = "ed25519"
	RSA2048   KeyKind = "rsa-2048"
	RSA3072   KeyKind = "rsa-3072"
	RSA4096   KeyKind = "rsa-4096"
)

// KeyKinds lists every KeyKind, in the order the documentation has them.
func KeyKinds() []KeyKind {
	return []KeyKind{ECDSAP256, ECDSAP384, ECDSAP521, Ed25519, RSA2048, RSA3072, RSA4096}
}

// Subject is a distinguished name. Empty fields are left out.
type Subject struct {
	CommonName         string
	Organization       string
	OrganizationalUnit string
	Locality           string
	Province           string
	Country            string
}

// NameConstraints restricts the names a CA may sign (RFC 5280 section 4.2.1.10): DNS suffixes and networks.
type NameConstraints struct {
	PermitDNS, ExcludeDNS []string
	PermitIP, ExcludeIP   []netip.Prefix
}

// Empty reports whether nothing is constrained.
func (n NameConstraints) Empty() bool {
	return len(n.PermitDNS)+len(n.ExcludeDNS)+len(n.PermitIP)+len(n.ExcludeIP) == 0
}

// String names what there is, in one way that later versions keep: the store compares by it.
func (n NameConstraints) String() string {
	var parts []string
	for _, p := range []struct {
		word  string
		names []string
	}{{"permit DNS", n.PermitDNS}, {"exclude DNS", n.ExcludeDNS}, {"permit IP", texts(n.PermitIP)}, {"exclude IP", texts(n.ExcludeIP)}} {
		if len(p.names) > 0 {
			parts = append(parts, p.word+" "+strings.Join(p.names, ","))
		}
	}
	return strings.Join(parts, "; ")
}

func texts(nets []netip.Prefix) []string {
	var out []string
	for _, n := range nets {
		out = append(out, n.String())
	}
	return out
}

// NameKind tells the four kinds of names apart.
type NameKind string

// The kinds of names a certificate can carry (RFC 5280 section 4.2.1.6).
const (
	DNSName   NameKind = "dns"
	IPName    NameKind = "ip"
	EmailName NameKind = "email"
	URIName   NameKind = "uri"
)

// Name is one subject alternative name; Value is in canonical form (lower-case DNS, netip form of addresses).
type Name struct {
	Kind  NameKind
	Value string
	Pos   Pos
}

// Usage is server or client.
type Usage string

// The usages of an identity (RFC 5280 section 4.2.1.12: serverAuth and clientAuth).
const (
	Server Usage = "server"
	Client Usage = "client"
)

// Renew says when a certificate is due: a fraction of the life it really got, or a time before its end.
type Renew struct {
	Num, Den int           // 2/3 by default; 0/0 when Before is set
	Before   time.Duration // 0 when the fraction is set
}

// Identity is one key and certificate.
type Identity struct {
	Name     string
	Pos      Pos
	CA       Ref // zero when From is set
	Names    []Name
	Usages   []Usage
	Subject  Subject // CommonName is never empty, but where an ACME server says what is in it
	Key      KeyKind
	Lifetime time.Duration
	Renew    Renew
	ReuseKey bool
	Brought  *Brought // what it has before a first certificate is issued here; nil for nothing
	From     *From    // issued by something else
}

// Brought names the files of a certificate that the CA signed before, elsewhere, and of its key.
type Brought struct {
	Certificate, Key string
	Passphrase       *Source // nil: the key is plain
	Pos              Pos
}

// From names the files of an identity that something else issues.
type From struct {
	Certificate, Key, CA string
	Pos                  Pos
}

// Usage reports whether the identity is for u.
func (i Identity) Usage(u Usage) bool {
	for _, x := range i.Usages {
		if x == u {
			return true
		}
	}
	return false
}

// The CA names in `trust` that stand for something outside the spec.
const (
	PublicRoots = "public" // Mozilla's roots, pinned
	SystemRoots = "system" // the roots of the host certwright runs on
)

// LocalHost is the name of the engine of the environment.
const LocalHost = "local"

// Layout says how files lie in a place.
type Layout string

// The layouts of DESIGN.md 2.2.
const (
	Atomic Layout = "atomic" // generation directories behind one link, ..data
	Plain  Layout = "plain"  // plain files, one rename each; single-file mounts are written in place
)

// Owner is a numeric user and group, or a user name, in the CONTAINER's terms.
type Owner struct {
	UID, GID int
	Name     string // set instead of the numbers; looked up in the container's /etc/passwd
}

// Binding brings an identity and trust to a consumer.
type Binding struct {
	Name     string
	Pos      Pos
	Identity *Ref // nil: trust only
	// Trust names the CAs, PublicRoots or SystemRoots. Empty means the identity's own root.
	Trust []Ref
	Host  Ref // LocalHost by default
	// Consumer is nil when nothing is named: the files are placed and nobody is told.
	Consumer *Consumer
	Place    Place
	Layout   Layout
	Owner    *Owner // nil: the preset's, else the container's user, else root
	Files    []File // never empty; the default when the spec has none
	Reload   []Reload
	// ReloadGiven is false when the spec has no reload: the preset of the image is then used, if there is one.
	ReloadGiven bool
	Probe       *Probe
	Limits      Limits
}

// Consumer is who uses the files: exactly one of Container, Service, Label or ComposeService with ComposeProject is set.
type Consumer struct {
	Container      string // a container's name
	Service        string // a Swarm service's name
	ComposeProject string // with ComposeService
	ComposeService string
	LabelKey       string // with LabelValue ("" matches any value)
	LabelValue     string
	Pos            Pos
}

func (c Consumer) String() string {
	switch {
	case c.Container != "":
		return c.Container
	case c.Service != "":
		return "service " + c.Service
	case c.ComposeService != "":
		return c.ComposeProject + "/" + c.ComposeService
	}
	if c.LabelValue == "" {
		return c.LabelKey
	}
	return c.LabelKey + "=" + c.LabelValue
}

// Place is where the files live: exactly one field is set, but for Configs, which may stand beside Secrets.
type Place struct {
	Directory string // on the host; joined with the folder of its tls.yaml when the host is local
	Volume    string
	Path      string // absolute, inside the container
	Secrets   *Secrets
	Configs   *Secrets // for the files that hold no key; all of them where there are no Secrets
	Context   *Context // of the docker client
	Engine    *EngineTLS
	Store     *TrustStore
	Pos       Pos
}

// Swarm reports whether the files are Swarm secrets or configs.
func (p Place) Swarm() bool { return p.Secrets != nil || p.Configs != nil }

// Config reports whether a file of such content is a Swarm config.
func (p Place) Config(c Content) bool { return p.Configs != nil && !c.HoldsKey() }

// mode is the permission bits of files of such content that have none of their own; 0 for the usual ones.
func (p Place) mode(c Content) fs.FileMode {
	switch {
	case p.Config(c):
		return p.Configs.Mode
	case p.Secrets != nil:
		return p.Secrets.Mode
	}
	return 0
}

// Secrets are one Swarm secret, or one config, per file, under /run/secrets of a service's tasks.
type Secrets struct {
	Mode  fs.FileMode // of files that have none of their own; 0 for the usual ones
	Owner *Owner      // of files that have none of their own; always in numbers
}

// File is one file of a binding.
type File struct {
	Name     string // a plain file name; of a Context also one in a folder, with a slash between
	Content  Content
	Mode     fs.FileMode // permission bits; 0600 for what holds keys, 0644 the rest by default
	Owner    *Owner      // nil: the binding's
	Password *Source     // keystores only
	Alias    string      // keystores only; the identity's name by default
	Pos      Pos
}

// ClientAuth says what a server does about client certificates.
type ClientAuth string

// The values of clientAuth. ClientAuthNone is the default.
const (
	ClientAuthNone     ClientAuth = "none"
	ClientAuthOptional ClientAuth = "optional"
	ClientAuthRequired ClientAuth = "required"
)

// Probe says how a binding is proved on the wire.
type Probe struct {
	Port       int
	Protocol   string // tls, postgres, mysql and so on; "" where neither it nor a reload is given: the image's preset, else tls
	ServerName string // the identity's first name that is no wildcard by default
	ClientAuth ClientAuth
	Identity   *Ref // the client that must be accepted
	User       string
	Database   string
	Timeout    time.Duration // 5s by default
	Pos        Pos
}

// Limits bound what certwright does by itself.
type Limits struct {
	RestartsPerHour int // restarts of a binding that did not bring the wanted serial; 3 by default
	IssuesPerHour   int // issues of an identity that were neither due nor asked for; 5 by default
}

// Swarm is what is wanted of the CA that a Swarm has for its nodes.
type Swarm struct {
	NodeCertLifetime time.Duration // of the certificates of nodes; 0 leaves it as it is
	Rotation         *int          // a counter: raising it rotates the root; nil leaves the root alone
	External         *ExternalCA   // who signs the certificates of nodes; nil leaves it as it is
	Pos              Pos
}

// ExternalCA is a server that signs the certificates of a Swarm's nodes in place of Swarm, which asks it by the protocol
// of CFSSL (Engine API, ExternalCA).
type ExternalCA struct {
	URL  string // where it is asked
	Root string // the file of the certificate it signs with (PEM)
}

// CAByName returns the CA of that name, or nil.
func (s *Spec) CAByName(name string) *CA {
	for i := range s.CAs {
		if s.CAs[i].Name == name {
			return &s.CAs[i]
		}
	}
	return nil
}

// IdentityByName returns the identity of that name, or nil.
func (s *Spec) IdentityByName(name string) *Identity {
	for i := range s.Identities {
		if s.Identities[i].Name == name {
			return &s.Identities[i]
		}
	}
	return nil
}

// BindingByName returns the binding of that name, or nil.
func (s *Spec) BindingByName(name string) *Binding {
	for i := range s.Bindings {
		if s.Bindings[i].Name == name {
			return &s.Bindings[i]
		}
	}
	return nil
}
