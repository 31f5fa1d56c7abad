package probe_test

import (
	"context"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/certwright/certwright/providers/probe/zoo"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
	"github.com/google/go-cmp/cmp"
)

const notTried = "; a foreign client certificate was not tried: the server counts whom it refuses in the handshake until a login succeeds, " +
	"and would lock this host out (max_connect_errors)"

const wantsNoPassword = "; the probe needs a user who logs in without a password"

func accessDenied(user string) string {
	return "the server answered error 1045: Access denied for user '" + user + "'@'127.0.0.1' (using password: NO)" + wantsNoPassword
}

// account is how a probe logs in, and what it sees.
type account struct {
	auth   spec.ClientAuth
	change func(*reconcile.ProbeRequest)
	want   seen
}

// TestMariaDB probes a real MariaDB whose accounts demand a certificate, or a password, or neither.
func TestMariaDB(t *testing.T) {
	t.Parallel()
	c := newCage(t)
	accounts := `CREATE USER app@'127.0.0.1' REQUIRE X509;
CREATE USER open@'127.0.0.1';
CREATE USER named@'127.0.0.1' REQUIRE SUBJECT '/CN=somebody else';
CREATE USER secret@'127.0.0.1' IDENTIFIED BY 'a-password-of-a-test' REQUIRE X509;
`
	mtls := seen{Without: out, Foreign: out, Accepted: in}
	for _, version := range []string{"1.2", "1.3"} {
		address := zoo.MariaDB(t, c.web, c.root, accounts, "--tls-version=TLSv"+version)
		for name, row := range map[string]account{
			"nothing asked": {spec.ClientAuthNone, nil, seen{}},
			"REQUIRE X509":  {spec.ClientAuthRequired, nil, mtls},
			"with database": {spec.ClientAuthRequired, func(r *reconcile.ProbeRequest) { r.User, r.Database = "app", "nowhere" }, mtls},
			"no demand": {
				spec.ClientAuthRequired, func(r *reconcile.ProbeRequest) { r.User = "open" },
				seen{Without: in, Foreign: out, Accepted: in, ClientErr: "a client without a certificate was let in"},
			},
			"optional": {
				spec.ClientAuthOptional, func(r *reconcile.ProbeRequest) { r.User = "open" }, seen{Without: in, Foreign: out, Accepted: in},
			},
			"of another subject": {
				spec.ClientAuthRequired, func(r *reconcile.ProbeRequest) { r.User = "named" },
				seen{Accepted: out, ClientErr: "the client certificate that must be accepted was refused: " + accessDenied("named") +
					"; a client without a certificate: nothing was learned: " + accessDenied("named") + notTried},
			},
			"with a password": { // whether the certificate did is not known
				spec.ClientAuthRequired, func(r *reconcile.ProbeRequest) { r.User = "secret" },
				seen{Accepted: out, ClientErr: "the client certificate that must be accepted was refused: " + accessDenied("secret") +
					"; a client without a certificate: nothing was learned: " + accessDenied("secret") + notTried},
			},
			"no good client": {
				spec.ClientAuthRequired, func(r *reconcile.ProbeRequest) { r.Good, r.User = nil, "app" },
				seen{ClientErr: noGood + "; a client without a certificate: nothing was learned: " + accessDenied("app") + notTried},
			},
			"no good client, no demand": {
				spec.ClientAuthOptional, func(r *reconcile.ProbeRequest) { r.Good, r.User = nil, "open" },
				seen{Without: in, Foreign: out, ClientErr: noGood},
			},
		} {
			t.Run(version+"/"+name, func(t *testing.T) {
				r := c.request(t, dial(address))
				r.Protocol = "mysql"
				c.clients(t, &r, row.auth)
				if row.change != nil {
					row.change(&r)
				}
				row.want.Serial, row.want.Version = c.web.Serial(), "TLS "+version
				expect(t, r, row.want)
			})
		}
	}
}

// TestMariaDBCountsNoErrors looks at a MariaDB that locks out who breaks off three connections in a row: a probe logs in also
// when it asks nothing, and what it is refused does not count. A client that is refused in its handshake does, until the one that
// must be accepted was; the server may count the first after it has seen the other, and so the next probe begins with one. Where
// nobody is let in, no foreign client knocks.
// 127.0.0.1 and servers that look up no names are not counted, so the probes come from another address.
func TestMariaDBCountsNoErrors(t *testing.T) {
	t.Parallel()
	c := newCage(t)
	address := zoo.MariaDB(t, c.web, c.root, "CREATE USER app@'%' REQUIRE X509;", "--skip-name-resolve=0", "--max-connect-errors=3")
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	r := c.request(t, func(ctx context.Context) (net.Conn, error) { return from.DialContext(ctx, "tcp", address) })
	r.Protocol = "mysql"
	for range 5 {
		expect(t, r, seen{Serial: c.web.Serial(), Version: "TLS 1.3"})
	}
	c.clients(t, &r, spec.ClientAuthRequired)
	for range 3 {
		expect(t, r, seen{Serial: c.web.Serial(), Version: "TLS 1.3", Without: out, Foreign: out, Accepted: in})
	}
	const denied = "the server answered error 1045: Access denied for user 'app'@'127.0.0.2' (using password: NO)" + wantsNoPassword
	r.Good, r.User = nil, "app"
	for range 5 {
		expect(t, r, seen{
			Serial: c.web.Serial(), Version: "TLS 1.3",
			ClientErr: noGood + "; a client without a certificate: nothing was learned: " + denied + notTried,
		})
	}
}

// TestMariaDBLogins reads in the log of a MariaDB whom probes log in as: where they are told no name, as nobody that there is.
// A server may lock an account that exists after some logins without its password.
func TestMariaDBLogins(t *testing.T) {
	t.Parallel()
	c := newCage(t)
	logs := t.TempDir()
	if err := os.Chmod(logs, 0o777); err != nil { // the server is another user
		t.Fatal(err)
	}
	r := c.request(t, dial(zoo.MariaDB(t, c.web, c.root, "ALTER USER root@localhost IDENTIFIED BY 'a-password-of-a-test';",
		"--general-log=1", "--general-log-file="+logs+"/general")))
	r.Protocol = "mysql"
	expect(t, r, seen{Serial: c.web.Serial(), Version: "TLS 1.3"})
	r.ClientAuth = spec.ClientAuthRequired
	expect(t, r, seen{
		Serial: c.web.Serial(), Version: "TLS 1.3",
		ClientErr: noGood + "; a client without a certificate: nothing was learned: " + accessDenied("certwright-probe"),
	})
	r.ClientAuth, r.User = spec.ClientAuthNone, "named"
	expect(t, r, seen{Serial: c.web.Serial(), Version: "TLS 1.3"})

	log, err := os.ReadFile(logs + "/general")
	if err != nil {
		t.Fatal(err)
	}
	var users []string
	for _, m := range regexp.MustCompile("Access denied for user '([^']*)'").FindAllSubmatch(log, -1) {
		users = append(users, string(m[1]))
	}
	if d := cmp.Diff([]string{"certwright-probe", "certwright-probe", "named"}, users); d != "" {
		t.Errorf("logins (-want +got):\n%s\n%s", d, log)
	}
}

// TestMariaDBWithoutTLS probes one that has no TLS, and one that is full.
func TestMariaDBWithoutTLS(t *testing.T) {
	t.Parallel()
	c := newCage(t)
	r := c.request(t, dial(zoo.MariaDB(t, c.web, c.root, "", "--skip-ssl")))
	r.Protocol = "mysql"
	expect(t, r, seen{Err: "the server refuses TLS: it has no certificate, or ssl is off"})
	if s, _ := look(t, c.request(t, r.Dial)); !strings.Contains(s.Err, "not TLS") {
		t.Errorf("as plain TLS: %+v", s)
	}
}
