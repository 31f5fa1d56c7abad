// Package wire speaks just enough of a protocol to reach TLS, and after the handshake to learn whether the server
// let the client in.
//
// In TLS 1.3 a client's handshake ends before the server has looked at its certificate (RFC 8446 section 4.4.2.4),
// and some servers refuse a client only over their own protocol. So a handshake alone says nothing about the
// client: StartTLS comes before it, Ask after it. Both read at most 64 KiB and leave deadlines to the caller, who
// closes the connection.
package wire

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/certwright/certwright/reconcile"
)

// The protocols.
const (
	TLS      = "tls"
	Postgres = "postgres"
	Redis    = "redis"
)

// limit bounds what is read of one server's answer, in bytes.
const limit = 64 << 10

// Question is what to say after the handshake.
type Question struct {
	Protocol string
	Host     string // for the HTTP request of TLS
	User     string // PostgreSQL's
	Database string // PostgreSQL's
	Silent   bool   // TLS only: say nothing and wait for the server
}

// StartTLS brings a fresh connection to the point where the TLS handshake begins.
func StartTLS(conn net.Conn, protocol string) error {
	switch protocol {
	case TLS, Redis:
		return nil
	case Postgres:
		return startPostgres(conn)
	}
	return fmt.Errorf("no probe speaks the protocol %q: use tls, postgres or redis", protocol)
}

// Ask says something over a connection whose handshake is done, and reads the answer. LetIn comes with a nil
// error; Refused with the server's words; NotAsked with why nothing was learned: what the read failed with, which
// Alert and Closed tell apart, or an answer that decides nothing.
func Ask(conn net.Conn, q Question) (reconcile.Answer, error) {
	switch q.Protocol {
	case TLS:
		return askHTTP(conn, q)
	case Redis:
		return askRedis(conn)
	case Postgres:
		return askPostgres(conn, q)
	}
	return reconcile.NotAsked, fmt.Errorf("no probe speaks the protocol %q: use tls, postgres or redis", q.Protocol)
}

// refusals are the words nginx puts into its answer 400 when it refuses a client certificate after a handshake
// that it let succeed (ngx_http_special_response.c, pages of 495 and 496).
var refusals = []string{"No required SSL certificate was sent", "The SSL certificate error"}

// askHTTP sends a request that every HTTP server answers. Any bytes that are no refusal mean let in.
func askHTTP(conn net.Conn, q Question) (reconcile.Answer, error) {
	if !q.Silent {
		// A refused client may not get this out any more; what the server said first is still there to read.
		_, _ = fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nUser-Agent: certwright\r\nConnection: close\r\n\r\n", q.Host)
	}
	var got []byte
	buf := make([]byte, 4096)
	for len(got) < limit {
		n, err := conn.Read(buf[:min(len(buf), limit-len(got))])
		got = append(got, buf[:n]...)
		if len(got) == 0 && err != nil {
			return reconcile.NotAsked, err
		}
		refused, more := httpRefusal(got)
		if refused != "" {
			return reconcile.Refused, errors.New("the server answered " + refused)
		}
		if !more || err != nil {
			break
		}
	}
	return reconcile.LetIn, nil
}

// httpRefusal returns the words of a refusal in the start of an answer, and whether more of it could hold one.
func httpRefusal(got []byte) (words string, more bool) {
	const version = "HTTP/1.1 "
	if len(got) < len(version)+3 {
		return "", bytes.HasPrefix([]byte(version), got[:min(len(got), 7)])
	}
	if !bytes.HasPrefix(got, []byte("HTTP/1.")) {
		return "", false
	}
	switch status := string(got[len(version) : len(version)+3]); status {
	case "495", "496": // nginx's own numbers, when an error_page passes them on
		return "HTTP " + status, false
	case "400":
		for _, r := range refusals {
			if bytes.Contains(got, []byte(r)) {
				return "HTTP 400: " + r, false
			}
		}
		return "", true
	}
	return "", false
}

// askRedis sends PING. Redis answers +PONG, or an error such as -NOAUTH; both come after the TLS layer let the
// client in (redis.io, RESP protocol).
func askRedis(conn net.Conn) (reconcile.Answer, error) {
	_, _ = conn.Write([]byte("PING\r\n"))
	buf := make([]byte, 64)
	n, err := conn.Read(buf)
	switch {
	case n == 0:
		return reconcile.NotAsked, err
	case buf[0] == '+', buf[0] == '-':
		return reconcile.LetIn, nil
	}
	return reconcile.NotAsked, errors.New("the server does not speak Redis")
}

// Printable makes text that came from a server fit for a report: one line, nothing unprintable, 500 characters.
func Printable(s string) string {
	var b strings.Builder
	for i, r := range []rune(s) {
		if i == 500 {
			b.WriteString("…")
			break
		}
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) || r == 0xfffd {
			r = ' '
		}
		b.WriteRune(r)
	}
	return strings.TrimSpace(b.String())
}
