package probe_test

import (
	"testing"

	"github.com/certwright/certwright/providers/probe/zoo"
	"github.com/certwright/certwright/spec"
)

// mailRow is a server's setting and what a probe sees of it.
type mailRow struct {
	settings []string
	auth     spec.ClientAuth
	want     seen
}

var both = []string{"1.2", "1.3"}

var (
	mutual   = seen{Without: out, Foreign: out, Accepted: in}
	asksNone = seen{
		Without: in, Foreign: in, Accepted: in,
		ClientErr: "a client without a certificate was let in: the server asks for none; a foreign client certificate was let in: the server asks for none",
	}
)

// runRows probes a server with each setting, over each version of TLS that it can be held to.
func runRows(t *testing.T, protocol string, versions []string, rows map[string]mailRow, serve func(t *testing.T, c cage, version string, settings []string) string) {
	t.Helper()
	c := newCage(t)
	for name, row := range rows {
		for _, version := range versions {
			t.Run(version+"/"+name, func(t *testing.T) {
				t.Parallel()
				r := c.request(t, dial(serve(t, c, version, row.settings)))
				r.Protocol = protocol
				c.clients(t, &r, row.auth)
				want := row.want
				if want.Err == "" {
					want.Serial, want.Version = c.web.Serial(), "TLS "+version
				}
				expect(t, r, want)
			})
		}
	}
}

// TestPostfix probes a real Postfix, which refuses a client at its first command.
func TestPostfix(t *testing.T) {
	t.Parallel()
	require := []string{"smtpd_tls_security_level = encrypt", "smtpd_tls_req_ccert = yes"}
	runRows(t, "smtp", both, map[string]mailRow{
		"nothing asked": {nil, spec.ClientAuthNone, seen{}},
		"required":      {require, spec.ClientAuthRequired, mutual},
		"asked for": {
			[]string{"smtpd_tls_ask_ccert = yes"},
			spec.ClientAuthRequired,
			seen{Without: in, Foreign: in, Accepted: in, ClientErr: "a client without a certificate was let in; a foreign client certificate was let in"},
		},
		"not asked for": {nil, spec.ClientAuthRequired, asksNone},
		"required but meant to be optional": {
			require, spec.ClientAuthOptional,
			seen{
				Without: out, Foreign: out, Accepted: in,
				ClientErr: "a client without a certificate was refused: the server answered 421 4.7.1 mail.test Error: No client certificate presented",
			},
		},
		"no TLS": {[]string{"smtpd_tls_security_level = none"}, spec.ClientAuthNone, seen{Err: "the server refuses TLS: it offers no STARTTLS"}},
	}, func(t *testing.T, c cage, version string, settings []string) string {
		return zoo.Postfix(t, c.web, c.root, append([]string{"smtpd_tls_protocols = TLSv" + version, "smtpd_tls_mandatory_protocols = TLSv" + version}, settings...)...)
	})
}

// TestDovecot probes a real Dovecot, which refuses a foreign client in the handshake and one without a certificate at the
// login.
func TestDovecot(t *testing.T) {
	t.Parallel()
	runRows(t, "imap", both[1:], map[string]mailRow{
		"nothing asked": {nil, spec.ClientAuthNone, seen{}},
		"required":      {[]string{"ssl = required", "ssl_verify_client_cert = yes", "auth_ssl_require_client_cert = yes"}, spec.ClientAuthRequired, mutual},
		"not asked for": {nil, spec.ClientAuthRequired, asksNone},
		"no TLS":        {[]string{"ssl = no"}, spec.ClientAuthNone, seen{Err: "the server refuses TLS: BAD TLS support isn't enabled."}},
	}, func(t *testing.T, c cage, version string, settings []string) string {
		return zoo.Dovecot(t, c.web, c.root, append([]string{"ssl_min_protocol = TLSv" + version}, settings...)...)
	})
}

// TestOpenLDAP probes a real slapd, which closes right after the handshake on whom it refuses.
func TestOpenLDAP(t *testing.T) {
	t.Parallel()
	runRows(t, "ldap", both, map[string]mailRow{
		"nothing asked":           {nil, spec.ClientAuthNone, seen{}},
		"demand":                  {[]string{"TLSVerifyClient demand"}, spec.ClientAuthRequired, mutual},
		"demand, bind for people": {[]string{"TLSVerifyClient demand", "disallow bind_anon"}, spec.ClientAuthRequired, mutual},
		"try":                     {[]string{"TLSVerifyClient try"}, spec.ClientAuthOptional, seen{Without: in, Foreign: out, Accepted: in}},
		"never":                   {[]string{"TLSVerifyClient never"}, spec.ClientAuthRequired, asksNone},
	}, func(t *testing.T, c cage, version string, settings []string) string {
		return zoo.OpenLDAP(t, c.web, c.root, append([]string{"TLSCipherSuite NORMAL:-VERS-ALL:+VERS-TLS" + version}, settings...)...)
	})
}

// TestMosquitto probes a real Mosquitto, with and without accounts.
func TestMosquitto(t *testing.T) {
	t.Parallel()
	runRows(t, "mqtt", both[1:], map[string]mailRow{
		"nothing asked":           {[]string{"allow_anonymous true"}, spec.ClientAuthNone, seen{}},
		"required":                {[]string{"allow_anonymous true", "require_certificate true"}, spec.ClientAuthRequired, mutual},
		"required and an account": {[]string{"allow_anonymous false", "require_certificate true"}, spec.ClientAuthRequired, mutual},
		"not asked for":           {[]string{"allow_anonymous true"}, spec.ClientAuthRequired, asksNone},
	}, func(t *testing.T, c cage, version string, settings []string) string {
		return zoo.Mosquitto(t, c.web, c.root, append([]string{"tls_version tlsv" + version}, settings...)...)
	})
}

// TestNATS probes a real nats-server, whose TLS begins after its first line.
func TestNATS(t *testing.T) {
	t.Parallel()
	c := newCage(t)
	for name, row := range map[string]struct {
		args []string
		auth spec.ClientAuth
		want seen
	}{
		"nothing asked":     {[]string{"--tls"}, spec.ClientAuthNone, seen{}},
		"verified":          {[]string{"--tlsverify"}, spec.ClientAuthRequired, mutual},
		"verified, a token": {[]string{"--tlsverify", "--auth", "a-token-of-a-test"}, spec.ClientAuthRequired, mutual},
		"not verified":      {[]string{"--tls"}, spec.ClientAuthRequired, asksNone},
		"no TLS":            {[]string{"--tls=false", "--tlscert=", "--tlskey=", "--tlscacert="}, spec.ClientAuthNone, seen{Err: "the server refuses TLS: it has none configured"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := c.request(t, dial(zoo.NATS(t, c.web, c.root, row.args...)))
			r.Protocol = "nats"
			c.clients(t, &r, row.auth)
			if row.want.Err == "" {
				row.want.Serial, row.want.Version = c.web.Serial(), "TLS 1.3"
			}
			expect(t, r, row.want)
		})
	}
}
