package spec

var caSections = []*section{
	&caSection, &localCASection, &constraintsSection, &stepSection, &acmeSection, &listenerSection, &dns01Section, &rfc2136Section,
	&eabSection, &vaultSection, &vaultAppRoleSection, &vaultJWTSection, &vaultCertificateSection, &execSection,
}

var caSection = section{"ca", []key{
	{"local", in("localCA"), optional, "certwright's own, or one brought along."},
	{"step", in("step"), optional, "A step-ca server."},
	{"acme", in("acme"), optional, "An ACME server."},
	{"vault", in("vault"), optional, "Vault or OpenBao."},
	{"exec", in("exec"), optional, "A command that signs."},
}}

var localCASection = section{"localCA", []key{
	{"parent", name, optional, "The CA that signs this one. Without it this is a root."},
	{"subject", in("subject"), optional, "The distinguished name. commonName defaults to the CA's name."},
	{"key", text, optional, "The kind of key (default: ecdsa-p256); beside certificate: the file of its key."},
	{"lifetime", duration, optional, "How long it lives. Default: 10y for a root, 1y for an intermediate"},
	{"nameConstraints", in("nameConstraints"), optional, "Which names it may sign."},
	{"certificate", text, optional, "The file of a CA that is brought along (PEM)."},
	{"chain", text, optional, "The file of its issuers, the root last (PEM), where they do not stand behind it in certificate."},
	{"passphrase", in("source"), optional, "What decrypts the key of a CA that is brought along."},
}}

var constraintsSection = section{"nameConstraints", []key{
	{"permit", listOf(text), optional, "DNS suffixes and networks it may sign."},
	{"exclude", listOf(text), optional, "DNS suffixes and networks it must not sign."},
}}

var stepSection = section{"step", []key{
	{"url", httpsURL, required, "The server."},
	{"fingerprint", pattern(`^[0-9A-Fa-f]{64}$`), required, "The SHA-256 of its root certificate."},
	{"provisioner", text, required, "The name of a JWK or X5C provisioner."},
	{"password", in("source"), optional, "JWK: what decrypts the provisioner's key."},
	{"certificate", text, optional, "X5C: the file of a certificate that vouches for this machine (PEM)."},
	{"key", text, optional, "The file of its key (PEM)."},
}}

var acmeSection = section{"acme", []key{
	{"directory", httpsURL, required, "The server's directory."},
	{"email", text, optional, "The contact of the account."},
	{"http01", in("listener"), optional, "Prove names over HTTP."},
	{"tlsAlpn01", in("listener"), optional, "Prove names over TLS."},
	{"dns01", in("dns01"), optional, "Prove names over DNS."},
	{"webroot", text, optional, "Prove names over the HTTP server of this directory."},
	{"eab", in("eab"), optional, "The binding to an account outside of ACME."},
	{"roots", text, optional, "The roots of a private server (PEM). Default: Mozilla's."},
}}

var listenerSection = section{"listener", []key{
	{"listen", address, optional, "HOST:PORT or :PORT of this machine."},
	{"container", text, optional, "The name of a container in whose network certwright listens."},
	{"port", integer(1, 65535), optional, "The port in its network. Default: 80 for http01, 443 for tlsAlpn01"},
}}

var dns01Section = section{"dns01", []key{
	{"command", listOf(argument), optional, "A command that sets and unsets the record."},
	{"timeout", duration, optional, "How long one call may take. Default: 2m"},
	{"rfc2136", in("rfc2136"), optional, "The zone's name server, which takes updates."},
}}

var rfc2136Section = section{"rfc2136", []key{
	{"server", address, required, "HOST:PORT of the zone's primary server."},
	{"zone", text, required, "The zone that is updated."},
	{"key", text, required, "The name of the key that signs updates (TSIG)."},
	{"algorithm", enum(TSIGAlgorithms), optional, "How it signs. Default: hmac-sha256"},
	{"secret", in("source"), required, "The key itself, base64."},
}}

var eabSection = section{"eab", []key{
	{"keyId", text, required, "The key's name at the server."},
	{"key", in("source"), required, "The key itself, base64url."},
}}

var vaultSection = section{"vault", []key{
	{"address", httpsURL, required, "The server."},
	{"serverRoots", text, optional, "What its own certificate leads to (PEM). Default: the roots of this machine."},
	{"namespace", text, optional, "The namespace of all that is asked for."},
	{"mount", text, required, "Where the PKI engine is mounted."},
	{"role", text, required, "The role that signs."},
	{"roots", text, optional, "What its certificates lead to (PEM). Default: the root of the engine's issuer."},
	{"token", in("source"), optional, "Log in: a token."},
	{"appRole", in("vaultAppRole"), optional, "Log in: AppRole."},
	{"jwt", in("vaultJWT"), optional, "Log in: a token of something else (JWT)."},
	{"certificate", in("vaultCertificate"), optional, "Log in: a certificate of something else."},
}}

var vaultAppRoleSection = section{"vaultAppRole", []key{
	{"roleId", text, required, "Which role."},
	{"secretId", in("source"), required, "What proves it."},
	{"mount", text, optional, "Where the auth method is mounted. Default: approle"},
}}

var vaultJWTSection = section{"vaultJWT", []key{
	{"role", text, required, "The role of the auth method."},
	{"token", in("source"), required, "The token (JWT)."},
	{"mount", text, optional, "Where the auth method is mounted. Default: jwt"},
}}

var vaultCertificateSection = section{"vaultCertificate", []key{
	{"certificate", text, required, "The file of the certificate (PEM)."},
	{"key", text, required, "The file of its key (PEM)."},
	{"role", text, required, "The role of the auth method."},
	{"mount", text, optional, "Where the auth method is mounted. Default: cert"},
}}

var execSection = section{"exec", []key{
	{"command", listOf(argument), required, "A command and its arguments: a CSR comes in, a chain goes out (PEM)."},
	{"roots", text, required, "What its certificates lead to (PEM)."},
	{"timeout", duration, optional, "How long one call may take. Default: 1m"},
}}
