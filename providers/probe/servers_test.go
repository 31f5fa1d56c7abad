package probe_test

import (
	"crypto/x509"
	"fmt"
	"net"
	"testing"

	"github.com/certwright/certwright/providers/probe/zoo"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

const (
	noGood = "the client certificate that must be accepted: there is none: only refusal was checked"
	in     = reconcile.LetIn
	out    = reconcile.Refused
)

// TestNginx probes a real nginx with every ssl_verify_client and both versions.
func TestNginx(t *testing.T) {
	c := newCage(t)
	for _, version := range []string{"1.2", "1.3"} {
		for _, row := range []struct {
			verify   string
			auth     spec.ClientAuth
			want     seen
			accepted bool // whether CAs are listed
		}{
			{"off", spec.ClientAuthNone, seen{}, false},
			{"on", spec.ClientAuthNone, seen{}, true},
			{"on", spec.ClientAuthRequired, seen{Without: out, Foreign: out, Accepted: in}, true},
			{"optional", spec.ClientAuthOptional, seen{Without: in, Foreign: out, Accepted: in}, true},
			{"optional", spec.ClientAuthRequired, seen{Without: in, Foreign: out, Accepted: in, ClientErr: "a client without a certificate was let in"}, true},
			{"on", spec.ClientAuthOptional, seen{
				Without: out, Foreign: out, Accepted: in,
				ClientErr: "a client without a certificate was refused: the server answered HTTP 400: No required SSL certificate was sent",
			}, true},
			{"optional_no_ca", spec.ClientAuthRequired, seen{
				Without: in, Foreign: in, Accepted: in,
				ClientErr: "a client without a certificate was let in; a foreign client certificate was let in",
			}, true},
			{"off", spec.ClientAuthRequired, seen{
				Without: in, Foreign: in, Accepted: in,
				ClientErr: "a client without a certificate was let in: the server asks for none; a foreign client certificate was let in: the server asks for none",
			}, false},
		} {
			t.Run(fmt.Sprintf("%s/%s/%s", version, row.verify, row.auth), func(t *testing.T) {
				dir := t.TempDir()
				c.web.Write(t, dir, c.root)
				address := zoo.Nginx(t, fmt.Sprintf(`ssl_certificate %[1]s/cert.pem; ssl_certificate_key %[1]s/key.pem;
					ssl_protocols TLSv%[2]s; ssl_verify_client %[3]s; ssl_verify_depth 3; ssl_client_certificate %[1]s/ca.pem;`, dir, version, row.verify))
				r := c.request(t, dial(address))
				c.clients(t, &r, row.auth)
				row.want.Serial, row.want.Version = c.web.Serial(), "TLS "+version
				s := expect(t, r, row.want)
				if row.accepted != (len(s.CANames) == 1 && string(s.CANames[0]) == string(c.root.RawSubject)) {
					t.Errorf("%d acceptable CAs", len(s.CANames))
				}
			})
		}
	}
}

// TestNginxNames asks a real nginx that demands a certificate for every kind of server name, and for none, as a probe of an
// identity from outside does: a Host header that nginx does not take must not pass for having let a client in.
func TestNginxNames(t *testing.T) {
	c := newCage(t)
	dir := t.TempDir()
	web := c.sub.Leaf(t, "web", func(x *x509.Certificate) { x.IPAddresses = []net.IP{net.IPv6loopback, net.IPv4(127, 0, 0, 1)} })
	web.Write(t, dir, c.root)
	r := c.request(t, dial(zoo.Nginx(t, fmt.Sprintf(`ssl_certificate %[1]s/cert.pem; ssl_certificate_key %[1]s/key.pem;
		ssl_protocols TLSv1.3; ssl_verify_client on; ssl_verify_depth 3; ssl_client_certificate %[1]s/ca.pem;`, dir))))
	c.clients(t, &r, spec.ClientAuthRequired)
	for _, r.ServerName = range []string{"web", "", "::1", "127.0.0.1"} {
		t.Run(fmt.Sprintf("%q", r.ServerName), func(t *testing.T) {
			expect(t, r, seen{Serial: web.Serial(), Version: "TLS 1.3", Without: out, Foreign: out, Accepted: in})
		})
	}
}

// TestNginxOtherRoot has an nginx that trusts another root than the clients', and one that answers with nothing.
func TestNginxOtherRoot(t *testing.T) {
	c := newCage(t)
	dir := t.TempDir()
	c.web.Write(t, dir, zoo.Root(t, "Another"))
	files := fmt.Sprintf("ssl_certificate %[1]s/cert.pem; ssl_certificate_key %[1]s/key.pem; ssl_client_certificate %[1]s/ca.pem; ssl_protocols TLSv1.3; ", dir)
	r := c.request(t, dial(zoo.Nginx(t, files+"ssl_verify_client on;")))
	c.clients(t, &r, spec.ClientAuthRequired)
	expect(t, r, seen{
		Serial: c.web.Serial(), Version: "TLS 1.3", Without: out, Foreign: out, Accepted: out,
		ClientErr: "the client certificate that must be accepted was refused: the server answered HTTP 400: The SSL certificate error",
	})

	c.web.Write(t, dir, c.root)
	r = c.request(t, dial(zoo.Nginx(t, files+"ssl_verify_client optional; if ($ssl_client_verify != SUCCESS) { return 444; }")))
	c.clients(t, &r, spec.ClientAuthRequired)
	expect(t, r, seen{Serial: c.web.Serial(), Version: "TLS 1.3", Without: out, Foreign: out, Accepted: in})
}

// TestRedis probes a real Redis with every tls-auth-clients, and one that wants a password.
func TestRedis(t *testing.T) {
	c := newCage(t)
	dir := t.TempDir()
	c.web.Write(t, dir, c.root)
	for _, version := range []string{"1.2", "1.3"} {
		for _, row := range []struct {
			auth  string
			probe spec.ClientAuth
			want  seen
		}{
			{"no", spec.ClientAuthNone, seen{}},
			{"optional", spec.ClientAuthOptional, seen{Without: in, Foreign: out, Accepted: in}},
			{"yes", spec.ClientAuthRequired, seen{Without: out, Foreign: out, Accepted: in}},
			{"no", spec.ClientAuthRequired, seen{
				Without: in, Foreign: in, Accepted: in,
				ClientErr: "a client without a certificate was let in: the server asks for none; a foreign client certificate was let in: the server asks for none",
			}},
		} {
			t.Run(version+"/"+row.auth+"/"+string(row.probe), func(t *testing.T) {
				address := zoo.Redis(t, "--tls-cert-file", dir+"/cert.pem", "--tls-key-file", dir+"/key.pem", "--tls-ca-cert-file", dir+"/ca.pem",
					"--tls-auth-clients", row.auth, "--tls-protocols", "TLSv"+version, "--requirepass", "a-password-of-a-test")
				r := c.request(t, dial(address))
				r.Protocol = "redis"
				c.clients(t, &r, row.probe)
				row.want.Serial, row.want.Version = c.web.Serial(), "TLS "+version
				expect(t, r, row.want)
			})
		}
	}
}

// TestPostgres probes a real PostgreSQL whose pg_hba.conf has an entry of each kind.
func TestPostgres(t *testing.T) {
	c := newCage(t)
	foreignApp := zoo.Root(t, "Foreign").Leaf(t, "app")
	address := zoo.Postgres(t, c.web, c.root, `
hostssl all app      127.0.0.1/32 cert
hostssl all checked  127.0.0.1/32 scram-sha-256 clientcert=verify-ca
hostssl all open     127.0.0.1/32 scram-sha-256
hostssl all postgres 127.0.0.1/32 trust
hostssl all barred   127.0.0.1/32 reject`)
	mtls := seen{Without: out, Foreign: out, Accepted: in}
	for name, row := range map[string]struct {
		auth   spec.ClientAuth
		change func(*reconcile.ProbeRequest)
		want   seen
	}{
		"nothing asked":    {spec.ClientAuthNone, nil, seen{}},
		"cert":             {spec.ClientAuthRequired, nil, mtls},
		"cert, named":      {spec.ClientAuthRequired, func(r *reconcile.ProbeRequest) { r.User, r.Database = "app", "template1" }, mtls},
		"cert, no such db": {spec.ClientAuthRequired, func(r *reconcile.ProbeRequest) { r.Database = "nowhere" }, mtls},
		"verify-ca": {
			spec.ClientAuthRequired, func(r *reconcile.ProbeRequest) { r.User = "checked" }, mtls,
		},
		"password alone": {
			spec.ClientAuthRequired, func(r *reconcile.ProbeRequest) { r.User = "open" },
			seen{Without: in, Foreign: out, Accepted: in, ClientErr: "a client without a certificate was let in"},
		},
		"optional": {
			spec.ClientAuthOptional, func(r *reconcile.ProbeRequest) { r.User = "postgres" },
			seen{Without: in, Foreign: out, Accepted: in},
		},
		"cert of another user": {
			spec.ClientAuthRequired, func(r *reconcile.ProbeRequest) { r.Good = c.sub.Leaf(t, "other").Issued(t); r.User = "app" },
			seen{
				Without: out, Foreign: out, Accepted: out,
				ClientErr: `the client certificate that must be accepted was refused: the server answered error 28000: certificate authentication failed for user "app"`,
			},
		},
		"no entry": {
			spec.ClientAuthRequired, func(r *reconcile.ProbeRequest) { r.User, r.Foreign = "nobody", nil },
			seen{ClientErr: hba("the client certificate that must be accepted", "no pg_hba.conf entry for host", "nobody") +
				"; " + hba("a client without a certificate", "no pg_hba.conf entry for host", "nobody")},
		},
		"rejected": {
			spec.ClientAuthRequired, func(r *reconcile.ProbeRequest) { r.User, r.Foreign = "barred", nil },
			seen{ClientErr: hba("the client certificate that must be accepted", "pg_hba.conf rejects connection for host", "barred") +
				"; " + hba("a client without a certificate", "pg_hba.conf rejects connection for host", "barred")},
		},
		"no good client": {
			spec.ClientAuthRequired, func(r *reconcile.ProbeRequest) { r.Good = nil; r.User = "app" },
			seen{Without: out, Foreign: out, ClientErr: noGood},
		},
		"no good client, no user": { // postgres is let in by trust
			spec.ClientAuthOptional, func(r *reconcile.ProbeRequest) { r.Good = nil },
			seen{Without: in, Foreign: out, ClientErr: noGood},
		},
		"a user that is two": {
			spec.ClientAuthRequired, func(r *reconcile.ProbeRequest) { r.Good, r.Foreign, r.User = nil, nil, "app\x00database\x00x" },
			seen{ClientErr: noGood + "; a client without a certificate: nothing was learned: the PostgreSQL user or database contains a zero byte"},
		},
		"same name, foreign CA": {
			spec.ClientAuthRequired, func(r *reconcile.ProbeRequest) { r.Foreign = foreignApp.Issued(t) }, mtls,
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := c.request(t, dial(address))
			r.Protocol = "postgres"
			c.clients(t, &r, row.auth)
			if row.change != nil {
				row.change(&r)
			}
			row.want.Serial, row.want.Version = c.web.Serial(), "TLS 1.3"
			expect(t, r, row.want)
		})
	}
	t.Run("plain TLS", func(t *testing.T) {
		expect(t, c.request(t, dial(address)), seen{Err: "the server closed the connection"})
	})
}

// hba is what a probe says of a user that pg_hba.conf does not let in whatever its certificate.
func hba(who, message, user string) string {
	return fmt.Sprintf(`%s: nothing was learned: the server answered error 28000: %s "127.0.0.1", user "%s", database "%s", SSL encryption; set user and database of the probe to ones pg_hba.conf has`,
		who, message, user, user)
}

// TestPostgresVersions probes PostgreSQL with TLS 1.2, where a foreign client is refused in the handshake, and
// with TLS switched off.
func TestPostgresVersions(t *testing.T) {
	c := newCage(t)
	r := c.request(t, dial(zoo.Postgres(t, c.web, c.root, "hostssl all all 127.0.0.1/32 cert", "ssl_max_protocol_version=TLSv1.2")))
	r.Protocol = "postgres"
	c.clients(t, &r, spec.ClientAuthRequired)
	expect(t, r, seen{Serial: c.web.Serial(), Version: "TLS 1.2", Without: out, Foreign: out, Accepted: in})

	r.Dial = dial(zoo.Postgres(t, c.web, c.root, "host all all 127.0.0.1/32 trust", "ssl=off"))
	expect(t, r, seen{Err: "the server refuses TLS: ssl is off"})

	expired := c.sub.Leaf(t, "web", func(x *x509.Certificate) { x.NotAfter = now })
	r.Dial = dial(zoo.Postgres(t, expired, c.root, "hostssl all all 127.0.0.1/32 cert"))
	r.Now = now.Add(1)
	expect(t, r, seen{
		Serial: expired.Serial(), Version: "TLS 1.3", Untrusted: "expired on 2026-01-15T12:00:00Z",
		Without: out, Foreign: out, Accepted: in,
	})
}
