package spec

var caSections = []*section{
	&caSection, &localCASection, &constraintsSection, &stepSection, &acmeSection, &listenSection, &dns01Section,
	&eabSection, &vaultSection, &commandSection,
}

var caSection = section{"ca", []key{
	{"local", in("localCA"), optional, "certwright's own, or one brought along."},
	{"step", in("step"), optional, "A step-ca server."},
	{"acme", in("acme"), optional, "An ACME server."},
	{"vault", in("vault"), optional, "Vault or OpenBao."},
	{"exec", in("command"), optional, "A command that signs."},
}}

var localCASection = section{"localCA", []key{
	{"parent", name, optional, "The CA that signs this one. Without it this is a root."},
	{"subject", in("subject"), optional, "The distinguished name. commonName defaults to the CA's name."},
	{"key", text, optional, "The kind of key (default: ecdsa-p256); beside certificate: the file of its key."},
	{"lifetime", duration, optional, "How long it lives. Default: 10y for a root, 1y for an intermediate"},
	{"nameConstraints", in("nameConstraints"), optional, "Which names it may sign."},
	{"certificate", text, optional, "The file of a CA that is brought along (PEM)."},
	{"passphrase", in("source"), optional, "What decrypts the key of a CA that is brought along."},
}}

var constraintsSection = section{"nameConstraints", []key{
	{"permit", listOf(text), optional, "DNS suffixes and networks it may sign."},
	{"exclude", listOf(text), optional, "DNS suffixes and networks it must not sign."},
}}

var stepSection = section{"step", []key{
	{"url", httpsURL, required, "The server."},
	{"fingerprint", pattern(`^[0-9A-Fa-f]{64}$`), required, "The SHA-256 of its root certificate."},
	{"provisioner", text, required, "The name of a JWK provisioner."},
	{"password", in("source"), required, "What decrypts the provisioner's key."},
}}

var acmeSection = section{"acme", []key{
	{"directory", httpsURL, required, "The server's directory."},
	{"email", text, optional, "The contact of the account."},
	{"http01", in("listen"), optional, "Prove names over HTTP."},
	{"tlsAlpn01", in("listen"), optional, "Prove names over TLS."},
	{"dns01", in("dns01"), optional, "Prove names over DNS."},
	{"webroot", text, optional, "Prove names over the HTTP server of this directory."},
	{"eab", in("eab"), optional, "The binding to an account outside of ACME."},
	{"roots", text, optional, "The roots of a private server (PEM)."},
}}

var listenSection = section{"listen", []key{
	{"listen", address, required, "HOST:PORT or :PORT"},
}}

var dns01Section = section{"dns01", []key{
	{"command", listOf(argument), required, "A command that sets the record."},
}}

var eabSection = section{"eab", []key{
	{"keyId", text, required, "The key's name at the server."},
	{"key", in("source"), required, "The key itself, base64url."},
}}

var vaultSection = section{"vault", []key{
	{"address", httpsURL, required, "The server."},
	{"mount", text, required, "Where the PKI engine is mounted."},
	{"role", text, required, "The role that signs."},
	{"token", in("source"), required, "The token."},
}}

var commandSection = section{"command", []key{
	{"command", listOf(argument), required, "A command and its arguments."},
}}
