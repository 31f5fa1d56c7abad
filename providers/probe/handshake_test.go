package probe_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/reconcile"
	"github.com/google/go-cmp/cmp"
)

// TestNoHandshake has everything that keeps a probe from a handshake.
func TestNoHandshake(t *testing.T) {
	c := newCage(t)
	old := serving(c.web.TLS())
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	nameless := &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, io.EOF }}
	swapped := c.web.TLS()
	swapped.PrivateKey = c.good.Signer
	says := func(s string) func(context.Context) (net.Conn, error) {
		return listen(t, func(conn net.Conn) { _, _ = io.WriteString(conn, s); hangs(conn) })
	}
	fails := func(err error) func(context.Context) (net.Conn, error) {
		return func(context.Context) (net.Conn, error) { return nil, err }
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	const short = 300 * time.Millisecond
	for name, row := range map[string]struct {
		dial     func(context.Context) (net.Conn, error)
		protocol string
		timeout  time.Duration
		want     string
	}{
		"plain HTTP":       {dial(plain.Listener.Addr().String()), "tls", 0, "the server speaks plain text, not TLS"},
		"plain banner":     {says("220 mail.example.com ESMTP\r\n"), "tls", 0, "the server speaks plain text, not TLS"},
		"another protocol": {says("\x4a\x00\x00\x00\x0a8.0.36\x00"), "tls", 0, "the server answers with something that is not TLS"},
		"closes at once":   {listen(t, func(conn net.Conn) { _, _ = conn.Read(make([]byte, 1<<16)) }), "tls", 0, "the server closed the connection"},
		"resets at once": {
			listen(t, func(conn net.Conn) { _ = conn.(*net.TCPConn).SetLinger(0) }), "tls", 0, "the server reset the connection",
		},
		"silent":        {listen(t, hangs), "tls", short, "no answer to the TLS handshake within 300ms"},
		"half a record": {says("\x16\x03\x03\x40\x00\x02"), "tls", short, "no answer to the TLS handshake within 300ms"},
		"drips":         {listen(t, drip), "tls", short, "no answer to the TLS handshake within 300ms"},
		"a huge record": {says("\x16\x03\x03\xff\xff"), "tls", 0, "the server answers with something that is not TLS"},
		"old versions":  {server(t, old, nil), "tls", 0, "the server speaks no TLS 1.2 or newer"},
		"old hello":     {says(oldHello), "tls", 0, "the server speaks no TLS 1.2 or newer"},
		"unknown name":  {says("\x15\x03\x03\x00\x02\x02\x70"), "tls", 0, "the server has no certificate for this name (alert: unrecognized name)"},
		"handshake fails": {
			server(t, nameless, nil), "tls", 0, "the server sent the alert: internal error",
		},
		"another's key":  {server(t, serving(swapped), nil), "tls", 0, "the server does not hold the key of the certificate it presents"},
		"no certificate": {server(t, serving(tls.Certificate{Certificate: [][]byte{[]byte("junk")}, PrivateKey: c.web.Signer}), nil), "tls", 0, "tls: failed to parse certificate from server: x509: malformed certificate"},
		"refused":        {dial(l.Addr().String()), "tls", 0, "connection refused: nothing listens there"},
		"no connection": {
			func(ctx context.Context) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }, "tls", short, "no connection within 300ms",
		},
		"dial error":            {fails(errors.New("container web has\nno address")), "tls", 0, "container web has no address"},
		"an unknown protocol":   {says(""), "pop3", 0, `no probe speaks the protocol "pop3": use one of amqp, imap, ldap, mqtt, mysql, nats, postgres, redis, smtp, tls`},
		"postgres without TLS":  {says("N"), "postgres", 0, "the server refuses TLS: ssl is off"},
		"postgres with error":   {says("Esorry, too many clients already\x00"), "postgres", 0, "the server answered the request for TLS with an error: see its log"},
		"postgres is HTTP":      {says("HTTP/1.1 400 Bad Request\r\n\r\n"), "postgres", 0, "the server does not speak PostgreSQL"},
		"postgres silent":       {listen(t, hangs), "postgres", short, "no answer to the request for TLS within 300ms"},
		"postgres closes":       {listen(t, func(conn net.Conn) { _, _ = conn.Read(make([]byte, 8)) }), "postgres", 0, "the server closed the connection"},
		"postgres stuffs bytes": {says("Splain text"), "postgres", 0, "the server speaks plain text, not TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := c.request(t, row.dial)
			r.Protocol = row.protocol
			if row.timeout != 0 {
				r.Timeout = row.timeout
			}
			expect(t, r, seen{Err: row.want})
		})
	}
}

// oldHello is a ServerHello that chooses TLS 1.1 (RFC 4346 section 7.4.1.3).
var oldHello = "\x16\x03\x02\x00\x2a\x02\x00\x00\x26\x03\x02" + strings.Repeat("r", 32) + "\x00\xc0\x13\x00"

// drip sends the start of a record and then a byte from time to time, as long as anyone listens.
func drip(conn net.Conn) {
	_, _ = io.WriteString(conn, "\x16\x03\x03\x40\x00\x02")
	for tick := time.NewTicker(20 * time.Millisecond); ; <-tick.C {
		if _, err := conn.Write([]byte{0}); err != nil {
			tick.Stop()
			return
		}
	}
}

// TestUnreachable tells what cannot be reached from here from what is broken.
func TestUnreachable(t *testing.T) {
	r := newCage(t).request(t, func(context.Context) (net.Conn, error) {
		return nil, fmt.Errorf("container web: %w", reconcile.ErrNotHere)
	})
	s := expect(t, r, seen{Err: "container web: out of reach"})
	if !s.Unreachable {
		t.Error("not said to be unreachable")
	}
	r.Dial = func(context.Context) (net.Conn, error) { return nil, io.EOF }
	if _, s := look(t, r); s.Unreachable {
		t.Error("said to be unreachable")
	}
}

// TestPipe probes over a connection that knows no deadlines, as a courier's may be.
func TestPipe(t *testing.T) {
	r := newCage(t).request(t, func(context.Context) (net.Conn, error) {
		here, there := net.Pipe()
		go hangs(there)
		return deaf{here}, nil
	})
	r.Timeout = 300 * time.Millisecond
	expect(t, r, seen{Err: "no answer to the TLS handshake within 300ms"})
	r.Protocol = "postgres"
	expect(t, r, seen{Err: "no answer to the request for TLS within 300ms"})
}

type deaf struct{ net.Conn }

func (deaf) SetDeadline(time.Time) error      { return errors.ErrUnsupported }
func (deaf) SetReadDeadline(time.Time) error  { return errors.ErrUnsupported }
func (deaf) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }

// TestCancel ends a probe whose context ends, long before its timeout.
func TestCancel(t *testing.T) {
	for _, protocol := range []string{"tls", "postgres"} {
		ctx, cancel := context.WithCancel(context.Background())
		r := newCage(t).request(t, listen(t, func(conn net.Conn) {
			_, _ = conn.Read(make([]byte, 1))
			cancel()
			hangs(conn)
		}))
		r.Timeout, r.Protocol = time.Hour, protocol
		s := prober.Probe(ctx, r)
		want := map[string]string{
			"tls":      "no answer to the TLS handshake: the probe was cancelled",
			"postgres": "no answer to the request for TLS: the probe was cancelled",
		}[protocol]
		if d := cmp.Diff(want, s.Err); d != "" {
			t.Errorf("-want +got:\n%s", d)
		}
	}
}
