package probe_test

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/providers/probe/zoo"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
	"github.com/google/go-cmp/cmp"
)

// TestRefusals has servers that let a handshake succeed and refuse, or accept, in ways of their own.
func TestRefusals(t *testing.T) {
	c := newCage(t)
	known := func(conn net.Conn) bool {
		peers := conn.(*tls.Conn).ConnectionState().PeerCertificates
		return len(peers) > 0 && peers[0].Equal(c.good.Certificate)
	}
	// knownElse speaks HTTP with the good client and does something else with the others.
	knownElse := func(other func(net.Conn)) func(net.Conn) {
		return func(conn net.Conn) {
			if !known(conn) {
				other(conn)
				return
			}
			answers("HTTP/1.1 404 Not Found\r\n\r\n")(conn)
		}
	}
	mtls := seen{Serial: c.web.Serial(), Version: "TLS 1.3", Without: reconcile.Refused, Foreign: reconcile.Refused, Accepted: reconcile.LetIn}
	open := mtls
	open.Without, open.Foreign = reconcile.LetIn, reconcile.LetIn
	open.ClientErr = "a client without a certificate was let in; a foreign client certificate was let in"
	for name, row := range map[string]struct {
		talk func(net.Conn)
		want seen
	}{
		"nginx's words":        {knownElse(answers("HTTP/1.1 400 Bad Request\r\n\r\n<center>No required SSL certificate was sent</center>")), mtls},
		"nginx's other words":  {knownElse(answers("HTTP/1.1 400 Bad Request\r\n\r\n<center>The SSL certificate error</center>")), mtls},
		"nginx's numbers":      {knownElse(answers("HTTP/1.1 496 \r\n\r\n")), mtls},
		"another 400":          {knownElse(answers("HTTP/1.1 400 Bad Request\r\n\r\nno Host")), open},
		"400 without end":      {knownElse(answers("HTTP/1.1 400 Bad Request\r\n\r\n" + strings.Repeat("x", 1<<20))), open},
		"words of another 200": {knownElse(answers("HTTP/1.1 200 OK\r\n\r\nNo required SSL certificate was sent")), open},
		"closes at once":       {knownElse(func(net.Conn) {}), mtls},
		"resets":               {knownElse(reset), mtls},
		"closes on HTTP":       {knownElse(answers("")), mtls},
		"speaks no HTTP":       {closesOn(known), mtls},
		"speaks first":         {knownElse(func(conn net.Conn) { _, _ = io.WriteString(conn, "220 mail\r\n"); hangs(conn) }), open},
		"waits for more":       {knownElse(hangs), open},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := serving(c.web.TLS())
			config.ClientAuth = tls.RequestClientCert
			r := c.request(t, server(t, config, row.talk))
			r.Timeout = 4 * time.Second // a quarter of it is a silence
			c.clients(t, &r, spec.ClientAuthRequired)
			expect(t, r, row.want)
		})
	}
}

// closesOn is a server of another protocol: whoever sends it HTTP is cut off, and whoever is not known is at once.
func closesOn(known func(net.Conn) bool) func(net.Conn) {
	return func(conn net.Conn) {
		if known(conn) {
			_, _ = conn.Read(make([]byte, 1))
		}
	}
}

// reset ends a connection with RST.
func reset(conn net.Conn) {
	raw := conn.(*tls.Conn).NetConn().(*net.TCPConn)
	_ = raw.SetLinger(0)
	_ = raw.Close()
}

// TestRefusedGood has servers that refuse the client they must accept, and says how.
func TestRefusedGood(t *testing.T) {
	c := newCage(t)
	other := zoo.Root(t, "Another")
	for version, alert := range map[uint16]string{tls.VersionTLS12: "unknown certificate authority", tls.VersionTLS13: "unknown certificate authority"} {
		config := serving(c.web.TLS())
		config.MaxVersion, config.ClientAuth, config.ClientCAs = version, tls.RequireAndVerifyClientCert, other.Pool()
		r := c.request(t, server(t, config, nil))
		c.clients(t, &r, spec.ClientAuthRequired)
		s := expect(t, r, seen{
			Serial: c.web.Serial(), Version: tls.VersionName(version),
			Without: reconcile.Refused, Foreign: reconcile.Refused, Accepted: reconcile.Refused,
			ClientErr: "the client certificate that must be accepted was refused: the server sent the alert: " + alert,
		})
		if d := cmp.Diff([][]byte{other.RawSubject}, s.CANames); d != "" {
			t.Errorf("acceptable CAs (-want +got):\n%s", d)
		}
	}
}
