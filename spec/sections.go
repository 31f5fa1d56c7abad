package spec

import "slices"

// section is what a mapping of the format may hold. The parser takes the known and the required keys from here,
// and Schema the rest as well, so that the two cannot disagree on a key.
type section struct {
	name string // in the $defs of the schema
	keys []key
}

type key struct {
	name string
	is   string // the JSON Schema of its value
	need need
	doc  string // what an editor shows
}

type need bool

const (
	optional need = false
	required need = true
)

func (s *section) knows(name string) bool {
	for i := range s.keys {
		if s.keys[i].name == name {
			return true
		}
	}
	return s == &rootSection && len(name) > 1 && name[:2] == "x-"
}

func (s *section) names() []string {
	names := make([]string, len(s.keys))
	for i, k := range s.keys {
		names[i] = k.name
	}
	return names
}

var rootSection = section{"root", []key{
	{"version", integer(1, 1), required, "The version of the format: 1."},
	{"project", pattern(`^[a-z0-9][a-z0-9_.-]{0,62}$`), optional, "The owner mark on everything certwright makes. One file must have it."},
	{"store", in("store"), optional, "Where CA keys, issued keys and records are kept."},
	{"hosts", named(in("host")), optional, "Docker engines besides `local`."},
	{"defaults", in("defaults"), optional, "What holds where an entry says nothing."},
	{"cas", named(in("ca")), optional, "What issues."},
	{"identities", named(in("identity")), optional, "Who workloads are: one key and certificate each."},
	{"bindings", named(in("binding")), optional, "Which identity and trust go to whom, and how that is proved."},
	{"swarm", in("swarm"), optional, "Swarm's own node CA."},
}}

var storeSection = section{"store", []key{
	{"directory", text, optional, "A directory, relative to this file. Default: .certwright"},
	{"swarm", in("empty"), optional, "Keep the store in the Swarm itself; needs a passphrase."},
	{"passphrase", in("source"), optional, "What encrypts the store. Without one keys are plain, mode 0600."},
}}

var emptySection = section{"empty", nil}

var sourceSection = section{"source", []key{
	{"env", pattern(`^[A-Za-z_][A-Za-z0-9_]*$`), optional, "The name of an environment variable."},
	{"file", text, optional, "A file, relative to this one."},
	{"command", listOf(argument), optional, "A command and its arguments; what it prints is used."},
}}

var hostSection = section{"host", []key{
	{"endpoint", pattern(`^(ssh|tcp|unix)://`), optional, "The engine: ssh://…, tcp://… or unix://…"},
	{"context", text, optional, "The name of a docker context."},
}}

var defaultsSection = section{"defaults", []key{
	{"identity", in("identityDefaults"), optional, "For every identity."},
	{"limits", in("limits"), optional, "For every binding."},
}}

var identityDefaultsSection = section{"identityDefaults", []key{
	{"key", enum(KeyKinds()), optional, "The kind of key. Default: ecdsa-p256"},
	{"lifetime", duration, optional, "How long a certificate lives. Default: 30d"},
	{"renew", fraction, optional, "The part of its life after which a certificate is renewed. Default: 2/3"},
	{"renewBefore", duration, optional, "The time before its end at which a certificate is renewed."},
	{"reuseKey", boolean, optional, "Keep the key when renewing."},
}}

var limitsSection = section{"limits", []key{
	{"restartsPerHour", integer(0, maxPerHour), optional, "Restarts that did not bring the wanted certificate. Default: 3"},
	{"issuesPerHour", integer(0, maxPerHour), optional, "Issues that were neither due nor asked for. Default: 5"},
}}

var swarmSection = section{"swarm", []key{
	{"nodeCertLifetime", duration, optional, "How long the certificates of nodes live."},
	{"rotation", integer(0, 1<<31-1), optional, "A counter; raising it rotates the Swarm's root."},
	{"externalCA", in("externalCA"), optional, "A server that signs the certificates of nodes in place of Swarm."},
}}

var externalCASection = section{"externalCA", []key{
	{"url", text, required, "Where managers ask it, by the protocol of CFSSL: https://HOST:PORT/PATH"},
	{"root", text, required, "The certificate it signs with (PEM). Another one rotates the Swarm's root."},
}}

var identitySection = section{"identity", []key{
	{"ca", name, optional, "The CA that signs it."},
	{"names", listOf(text), optional, "DNS names, IP addresses, e-mail addresses and URIs."},
	{"usages", listOf(enum(usages)), optional, "server, client or both. Default: [server]"},
	{"subject", in("subject"), optional, "The distinguished name. commonName defaults to the identity's name."},
	{"key", enum(KeyKinds()), optional, "The kind of key. Default: ecdsa-p256"},
	{"lifetime", duration, optional, "How long a certificate lives. Default: 30d"},
	{"renew", fraction, optional, "The part of its life after which a certificate is renewed. Default: 2/3"},
	{"renewBefore", duration, optional, "The time before its end at which a certificate is renewed."},
	{"reuseKey", boolean, optional, "Keep the key when renewing."},
	{"brought", in("brought"), optional, "The certificate and key it has already: taken into the store in place of first ones."},
	{"from", in("from"), optional, "Issued by something else; certwright only distributes it."},
}}

var broughtSection = section{"brought", []key{
	{"certificate", text, required, "The certificate that ca has signed (PEM)."},
	{"key", text, required, "Its private key (PEM)."},
	{"passphrase", in("source"), optional, "What decrypts the key."},
}}

var fromSection = section{"from", []key{
	{"certificate", text, required, "The certificate and its intermediates (PEM)."},
	{"key", text, required, "Its private key (PEM)."},
	{"ca", text, required, "The root it leads to (PEM)."},
}}

var subjectSection = section{"subject", []key{
	{"commonName", text, optional, "CN"},
	{"organization", text, optional, "O"},
	{"organizationalUnit", text, optional, "OU"},
	{"locality", text, optional, "L"},
	{"province", text, optional, "ST"},
	{"country", pattern(`^[A-Za-z]{2}$`), optional, "C: two letters"},
}}

func sections() []*section {
	return slices.Concat([]*section{
		&rootSection, &storeSection, &emptySection, &sourceSection, &hostSection, &defaultsSection,
		&identityDefaultsSection, &limitsSection, &swarmSection, &externalCASection, &identitySection, &broughtSection, &fromSection, &subjectSection,
	}, caSections, bindingSections)
}
