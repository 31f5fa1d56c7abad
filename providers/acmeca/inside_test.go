package acmeca

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"

	"github.com/certwright/certwright/spec"
)

// inside has Listen run where a courier would, and says how it ended.
func inside(t *testing.T) (c *CA, ended chan error) {
	ended = make(chan error, 1)
	return &CA{Courier: func(_ context.Context, container string, args ...string) (net.Conn, error) {
		if container != "web" || len(args) != 3 || args[0] != "listen" {
			t.Errorf("asked for %q in %s", args, container)
		}
		here, there := net.Pipe()
		go func() {
			err := Listen(args[1], args[2], there, there)
			ended <- errors.Join(err, there.Close())
		}()
		return here, nil
	}}, ended
}

// at is a port in the network of a container, which here is this machine's.
func at(t *testing.T) (where spec.Listener, address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return spec.Listener{Container: "web", Port: ln.Addr().(*net.TCPAddr).Port}, ln.Addr().String()
}

func end(t *testing.T, ended chan error) {
	t.Helper()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("the courier ends with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the courier does not end")
	}
}

// TestInsideHTTP has two orders prove names in the network of a container by one courier, which ends with the last of them.
func TestInsideHTTP(t *testing.T) {
	c, ended := inside(t)
	where, address := at(t)
	l := listener{&signing{CA: c}, stand{acme.ChallengeTypeHTTP01, where}}
	first := acme.Challenge{Type: l.kind, Token: "one", KeyAuthorization: "one.key", Identifier: acme.Identifier{Type: "dns", Value: "a.test"}}
	second := acme.Challenge{Type: l.kind, Token: "two", KeyAuthorization: "two.key", Identifier: acme.Identifier{Type: "dns", Value: "b.test"}}
	says := func(token, want string) {
		t.Helper()
		r, err := http.Get("http://" + address + "/.well-known/acme-challenge/" + token)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(body); r.StatusCode == http.StatusOK && got != want || r.StatusCode != http.StatusOK && want != "" {
			t.Errorf("%s: %d %q, want %q", token, r.StatusCode, got, want)
		}
	}
	for _, each := range []acme.Challenge{first, second, first} { // two orders share the first
		if err := l.set(t.Context(), each); err != nil {
			t.Fatal(err)
		}
	}
	says("one", "one.key")
	says("two", "two.key")
	says("three", "")
	for _, each := range []acme.Challenge{first, second} {
		if err := l.unset(t.Context(), each); err != nil {
			t.Fatal(err)
		}
	}
	says("one", "one.key")
	says("two", "")
	if err := l.unset(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	end(t, ended)
	if conn, err := net.Dial("tcp", address); err == nil {
		_ = conn.Close()
		t.Error("somebody still listens")
	}
	http.DefaultClient.CloseIdleConnections()
}

// TestInsideTLS has the courier make the certificate that answers: no key reaches it.
func TestInsideTLS(t *testing.T) {
	c, ended := inside(t)
	where, address := at(t)
	l := listener{&signing{CA: c}, stand{acme.ChallengeTypeTLSALPN01, where}}
	challenge := acme.Challenge{Type: l.kind, Token: "one", KeyAuthorization: "one.key", Identifier: acme.Identifier{Type: "dns", Value: "a.test"}}
	if err := l.set(t.Context(), challenge); err != nil {
		t.Fatal(err)
	}
	conn, err := tls.Dial("tcp", address, &tls.Config{ServerName: "a.test", NextProtos: []string{acmez.ACMETLS1Protocol}, InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	if names := conn.ConnectionState().PeerCertificates[0].DNSNames; len(names) != 1 || names[0] != "a.test" {
		t.Errorf("a certificate of %q", names)
	}
	_ = conn.Close()
	if err := l.unset(t.Context(), challenge); err != nil {
		t.Fatal(err)
	}
	end(t, ended)
}

// TestInsideFails wants a reason for each that cannot be, and nobody left listening.
func TestInsideFails(t *testing.T) {
	challenge := acme.Challenge{Token: "one", Identifier: acme.Identifier{Type: "dns", Value: "a.test"}}
	for _, row := range []struct {
		name, kind, want string
		change           func(*CA, *spec.Listener, *acme.Challenge)
	}{
		{"the port is taken", acme.ChallengeTypeHTTP01, "address already in use", func(_ *CA, at *spec.Listener, _ *acme.Challenge) {
			ln, err := net.Listen("tcp", ":0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = ln.Close() })
			at.Port = ln.Addr().(*net.TCPAddr).Port
		}},
		{"no such kind", "dns-01", `no listener proves names by "dns-01"`, func(*CA, *spec.Listener, *acme.Challenge) {}},
		{"no such name", acme.ChallengeTypeTLSALPN01, "unsupported identifier type", func(_ *CA, _ *spec.Listener, c *acme.Challenge) { c.Identifier.Type = "x" }},
		{"too much", acme.ChallengeTypeHTTP01, "more than a courier takes", func(_ *CA, _ *spec.Listener, c *acme.Challenge) {
			c.KeyAuthorization = strings.Repeat("a", maxMessage)
		}},
		{"no couriers", acme.ChallengeTypeHTTP01, "this command makes none", func(c *CA, _ *spec.Listener, _ *acme.Challenge) { c.Courier = nil }},
	} {
		t.Run(row.name, func(t *testing.T) {
			c, ended := inside(t)
			where, _ := at(t)
			of := challenge
			of.Type = row.kind
			row.change(c, &where, &of)
			l := listener{&signing{CA: c}, stand{row.kind, where}}
			if err := l.set(t.Context(), of); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("%v, want %q", err, row.want)
			}
			if len(c.desk.open) > 0 {
				t.Error("it counts as open")
			}
			if c.Courier != nil {
				end(t, ended)
			}
		})
	}
}
