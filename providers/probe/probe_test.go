package probe_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/providers/probe"
	"github.com/certwright/certwright/providers/probe/zoo"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
	"github.com/google/go-cmp/cmp"
)

var prober probe.Prober

// now is the time of every probe of the zoo.
var now = time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)

// cage is the CA of a test, a server of it, and the two clients.
type cage struct {
	root, sub, web zoo.Cert
	good, foreign  zoo.Cert
}

func newCage(t *testing.T) cage {
	root := zoo.Root(t, "Root")
	sub := root.CA(t, "Sub")
	return cage{
		root: root, sub: sub, web: sub.Leaf(t, "web"),
		good: sub.Leaf(t, "app"), foreign: zoo.Root(t, "Foreign").Leaf(t, "app"),
	}
}

// request is a probe of web that trusts root and checks no clients.
func (c cage) request(t *testing.T, dial func(context.Context) (net.Conn, error)) reconcile.ProbeRequest {
	return reconcile.ProbeRequest{
		Dial: dial, Address: "web:443", Protocol: "tls", ServerName: "web", Roots: [][]byte{c.root.Raw},
		ClientAuth: spec.ClientAuthNone, Timeout: 10 * time.Second, Now: now,
	}
}

// clients adds the checks of clients to a request.
func (c cage) clients(t *testing.T, r *reconcile.ProbeRequest, auth spec.ClientAuth) {
	r.ClientAuth, r.Good, r.Foreign = auth, c.good.Issued(t), c.foreign.Issued(t)
}

// seen is what a test compares of a Served.
type seen struct {
	Serial, Version, Untrusted, Err, ClientErr string
	Without, Foreign, Accepted                 reconcile.Answer
}

func look(t *testing.T, r reconcile.ProbeRequest) (seen, reconcile.Served) {
	t.Helper()
	s := prober.Probe(context.Background(), r)
	return seen{s.Serial, s.Version, s.Untrusted, s.Err, s.ClientErr, s.Without, s.Foreign, s.Accepted}, s
}

func expect(t *testing.T, r reconcile.ProbeRequest, want seen) reconcile.Served {
	t.Helper()
	got, s := look(t, r)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("served (-want +got):\n%s", d)
	}
	return s
}

// listen serves every connection with f, and returns how to dial it.
func listen(t *testing.T, f func(net.Conn)) func(context.Context) (net.Conn, error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
				defer func() { _ = conn.Close() }()
				f(conn)
			}()
		}
	}()
	return dial(l.Addr().String())
}

func dial(address string) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	}
}

// server is a crypto/tls server at the time of the zoo; after the handshake it speaks talk, or HTTP when that is nil.
func server(t *testing.T, c *tls.Config, talk func(net.Conn)) func(context.Context) (net.Conn, error) {
	t.Helper()
	if talk == nil {
		talk = answers("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	}
	c.Time = func() time.Time { return now }
	return listen(t, func(raw net.Conn) {
		conn := tls.Server(raw, c)
		if conn.Handshake() == nil {
			talk(conn)
			_ = conn.Close()
		}
	})
}

// answers reads a request and says something.
func answers(say string) func(net.Conn) {
	return func(conn net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			_, _ = io.WriteString(conn, say)
		}
	}
}

// hangs reads until the other end is tired of it.
func hangs(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// serving is the configuration of a server of one certificate.
func serving(c tls.Certificate) *tls.Config { return &tls.Config{Certificates: []tls.Certificate{c}} }

// TestClients asks servers of both versions about clients, with every kind of clientAuth on both sides.
func TestClients(t *testing.T) {
	const (
		no, in, out = reconcile.NotAsked, reconcile.LetIn, reconcile.Refused
		alertNone13 = "the server sent the alert: certificate required"
		alertNone12 = "the server sent the alert: handshake failure"
		anyone      = "a client without a certificate was let in: the server asks for none; a foreign client certificate was let in: the server asks for none"
	)
	c := newCage(t)
	for _, row := range []struct {
		server                     tls.ClientAuthType
		probe                      spec.ClientAuth
		without, foreign, accepted reconcile.Answer
		err13, err12               string
	}{
		{tls.NoClientCert, spec.ClientAuthNone, no, no, no, "", ""},
		{tls.VerifyClientCertIfGiven, spec.ClientAuthNone, no, no, no, "", ""},
		{tls.RequireAndVerifyClientCert, spec.ClientAuthNone, no, no, no, "", ""},
		{tls.NoClientCert, spec.ClientAuthOptional, in, in, in, "a foreign client certificate was let in: the server asks for none", "a foreign client certificate was let in: the server asks for none"},
		{tls.VerifyClientCertIfGiven, spec.ClientAuthOptional, in, out, in, "", ""},
		{
			tls.RequireAndVerifyClientCert, spec.ClientAuthOptional, out, out, in,
			"a client without a certificate was refused: " + alertNone13, "a client without a certificate was refused: " + alertNone12,
		},
		{tls.NoClientCert, spec.ClientAuthRequired, in, in, in, anyone, anyone},
		{tls.VerifyClientCertIfGiven, spec.ClientAuthRequired, in, out, in, "a client without a certificate was let in", "a client without a certificate was let in"},
		{tls.RequireAndVerifyClientCert, spec.ClientAuthRequired, out, out, in, "", ""},
		{tls.RequireAnyClientCert, spec.ClientAuthRequired, out, in, in, "a foreign client certificate was let in", "a foreign client certificate was let in"},
	} {
		for version, name := range map[uint16]string{tls.VersionTLS12: "TLS 1.2", tls.VersionTLS13: "TLS 1.3"} {
			t.Run(fmt.Sprintf("%s/%s/%s", name, row.server, row.probe), func(t *testing.T) {
				t.Parallel()
				config := serving(c.web.TLS())
				config.MaxVersion, config.ClientAuth, config.ClientCAs = version, row.server, c.root.Pool()
				r := c.request(t, server(t, config, nil))
				c.clients(t, &r, row.probe)
				want := seen{c.web.Serial(), name, "", "", row.err13, row.without, row.foreign, row.accepted}
				if version == tls.VersionTLS12 {
					want.ClientErr = row.err12
				}
				s := expect(t, r, want)
				var names [][]byte
				if row.server != tls.NoClientCert {
					names = [][]byte{c.root.RawSubject}
				}
				if d := cmp.Diff(names, s.CANames); d != "" {
					t.Errorf("acceptable CAs (-want +got):\n%s", d)
				}
			})
		}
	}
}

// TestClientsWithout has no good client, or one that cannot be used.
func TestClientsWithout(t *testing.T) {
	c := newCage(t)
	for version, name := range map[uint16]string{tls.VersionTLS12: "TLS 1.2", tls.VersionTLS13: "TLS 1.3"} {
		config := serving(c.web.TLS())
		config.MaxVersion, config.ClientAuth, config.ClientCAs = version, tls.RequireAndVerifyClientCert, c.root.Pool()
		address := server(t, config, nil)
		want := seen{
			Serial: c.web.Serial(), Version: name, Without: reconcile.Refused, Foreign: reconcile.Refused,
			ClientErr: "the client certificate that must be accepted: there is none: only refusal was checked",
		}
		r := c.request(t, address)
		c.clients(t, &r, spec.ClientAuthRequired)
		r.Good = nil
		expect(t, r, want)

		r.Good = c.good.Issued(t)
		r.Good.Key = reconcile.NewPrivateKey([]byte("a secret that is no key"))
		want.ClientErr = "the client certificate that must be accepted: its key cannot be read"
		expect(t, r, want)

		// A server that requires what clientAuth none does not mention is seen all the same.
		expect(t, c.request(t, address), seen{Serial: c.web.Serial(), Version: name})
	}
}

// TestChain reports the chain as it was presented.
func TestChain(t *testing.T) {
	c := newCage(t)
	both := c.web.TLS()
	both.Certificate = append(both.Certificate, c.root.Raw)
	s := expect(t, c.request(t, server(t, serving(both), nil)), seen{Serial: c.web.Serial(), Version: "TLS 1.3"})
	if d := cmp.Diff([][]byte{c.web.Raw, c.sub.Raw, c.root.Raw}, s.Chain); d != "" {
		t.Errorf("chain (-want +got):\n%s", d)
	}
	if !s.At.Equal(now) || s.Address != "web:443" {
		t.Errorf("probed %s at %s", s.Address, s.At)
	}
}

// TestNothingResumed makes sure that every handshake is a full one.
func TestNothingResumed(t *testing.T) {
	c := newCage(t)
	config := serving(c.web.TLS())
	config.ClientAuth, config.ClientCAs = tls.VerifyClientCertIfGiven, c.root.Pool()
	resumed := make(chan bool, 16)
	config.VerifyConnection = func(s tls.ConnectionState) error { resumed <- s.DidResume; return nil }
	r := c.request(t, server(t, config, nil))
	c.clients(t, &r, spec.ClientAuthOptional)
	for range 2 {
		look(t, r)
	}
	if len(resumed) != 4 { // the foreign client does not get that far
		t.Errorf("%d handshakes, want 4", len(resumed))
	}
	close(resumed)
	for r := range resumed {
		if r {
			t.Error("a session was resumed")
		}
	}
}

// TestServerName sends a DNS name to the server (RFC 6066 section 3), and never an address.
func TestServerName(t *testing.T) {
	c := newCage(t)
	config := serving(c.web.TLS())
	other := c.sub.Leaf(t, "db").TLS()
	config.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if hello.ServerName == "db" {
			return &other, nil
		}
		return nil, nil
	}
	config.Certificates = []tls.Certificate{c.web.TLS()}
	r := c.request(t, server(t, config, nil))
	for name, want := range map[string]tls.Certificate{"db": other, "web": c.web.TLS(), "127.0.0.1": c.web.TLS()} {
		r.ServerName = name
		expect(t, r, seen{Serial: zoo.Cert{Certificate: want.Leaf}.Serial(), Version: "TLS 1.3"})
	}
}

// TestNoKeys looks for the clients' keys in everything a probe says, also of keys it cannot use.
func TestNoKeys(t *testing.T) {
	c := newCage(t)
	config := serving(c.web.TLS())
	config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, c.root.Pool()
	r := c.request(t, server(t, config, nil))
	c.clients(t, &r, spec.ClientAuthRequired)
	secret := []byte("secret")
	for _, der := range [][]byte{r.Good.Key.PKCS8(), secret, r.Good.Key.PKCS8()[:40], c.web.Issued(t).Key.PKCS8()} {
		r.Good.Key = reconcile.NewPrivateKey(der)
		_, s := look(t, r)
		said := fmt.Sprintf("%+v", s) + s.Err + s.ClientErr + s.Untrusted
		for _, form := range []string{string(der), hex.EncodeToString(der), base64.StdEncoding.EncodeToString(der), fmt.Sprint(der)} {
			if strings.Contains(said, form) {
				t.Error("a key is in what the probe says")
			}
		}
	}
}
