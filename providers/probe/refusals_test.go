package probe_test

import (
	"context"
	"crypto/tls"
	"errors"
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
	none := mtls
	none.Accepted = reconcile.Refused
	none.ClientErr = "the client certificate that must be accepted was refused: the server answered HTTP 400: The SSL certificate error"
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
		"never speaks HTTP":    {func(conn net.Conn) { _, _ = conn.Read(make([]byte, 1)) }, open},
		"words for everyone":   {answers("HTTP/1.1 400 Bad Request\r\n\r\nThe SSL certificate error"), none},
		"waits for more":       {knownElse(hangs), open},
		"speaks HTTP/2 alone":  {agreed(known), mtls},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := serving(c.web.TLS())
			config.ClientAuth, config.NextProtos = tls.RequestClientCert, []string{"h2"}
			r := c.request(t, server(t, config, row.talk))
			r.Timeout = 8 * time.Second // a quarter of it is a silence
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

// agreed is a server that ends every connection that did not agree on HTTP/2, and speaks first on the others.
func agreed(known func(net.Conn) bool) func(net.Conn) {
	return func(conn net.Conn) {
		if conn.(*tls.Conn).ConnectionState().NegotiatedProtocol == "h2" && known(conn) {
			_, _ = io.WriteString(conn, "\x00\x00\x00\x04\x00\x00\x00\x00\x00") // SETTINGS
			hangs(conn)
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

// TestNotRequested has a server that asks nobody for a certificate and speaks no HTTP: that is no refusal.
func TestNotRequested(t *testing.T) {
	c := newCage(t)
	r := c.request(t, server(t, serving(c.web.TLS()), func(net.Conn) {}))
	c.clients(t, &r, spec.ClientAuthRequired)
	const none = " was let in: the server asks for none"
	expect(t, r, seen{
		Serial: c.web.Serial(), Version: "TLS 1.3", Without: reconcile.LetIn, Foreign: reconcile.LetIn, Accepted: reconcile.LetIn,
		ClientErr: "a client without a certificate" + none + "; a foreign client certificate" + none,
	})
}

// TestUndecided has servers that fail in the middle of the checks: that is no refusal either.
func TestUndecided(t *testing.T) {
	c := newCage(t)
	config := serving(c.web.TLS())
	config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, c.root.Pool()
	healthy := server(t, config, nil)
	closing := listen(t, func(conn net.Conn) { _, _ = conn.Read(make([]byte, 1<<16)) })
	dials := 0
	r := c.request(t, func(ctx context.Context) (net.Conn, error) {
		if dials++; dials > 1 {
			return closing(ctx)
		}
		return healthy(ctx)
	})
	c.clients(t, &r, spec.ClientAuthRequired)
	expect(t, r, seen{
		Serial: c.web.Serial(), Version: "TLS 1.3", Accepted: reconcile.LetIn,
		ClientErr: "a client without a certificate: nothing was learned: the server closed the connection; " +
			"a foreign client certificate: nothing was learned: the server closed the connection",
	})

	// This one never looks at the client certificate it asked for.
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	stuck := config.Clone()
	stuck.MaxVersion = tls.VersionTLS12
	stuck.VerifyConnection = func(tls.ConnectionState) error { <-stop; return nil }
	r.Dial, r.Timeout = server(t, stuck, nil), 300*time.Millisecond
	expect(t, r, seen{Err: "no answer to the TLS handshake within 300ms"})

	// And this one lets the client in and then never answers, on a connection that ends like one of the server's.
	silent := server(t, config.Clone(), hangs)
	r.Dial = func(ctx context.Context) (net.Conn, error) {
		conn, err := silent(ctx)
		return ending{conn}, err
	}
	r.Protocol, r.Timeout = "redis", 3*time.Second
	expect(t, r, seen{
		Serial: c.web.Serial(), Version: "TLS 1.3", Without: reconcile.Refused, Foreign: reconcile.Refused,
		ClientErr: "the client certificate that must be accepted: nothing was learned: no answer after the handshake within 3s",
	})
}

// ending is a connection that reports its own end as the server's.
type ending struct{ net.Conn }

func (c ending) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if errors.Is(err, net.ErrClosed) {
		err = io.EOF
	}
	return n, err
}
