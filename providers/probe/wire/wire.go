// Package wire speaks just enough of a protocol to reach TLS, and after the handshake to learn whether the server
// let the client in.
//
// In TLS 1.3 a client's handshake ends before the server has looked at its certificate (RFC 8446 section 4.4.2.4),
// and some servers refuse a client only over their own protocol. So a handshake alone says nothing about the
// client: StartTLS comes before it, Ask after it. Both read at most 64 KiB and leave deadlines to the caller, who
// closes the connection.
package wire

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	"github.com/certwright/certwright/reconcile"
)

// The protocols.
const (
	TLS      = "tls"
	Postgres = "postgres"
	MySQL    = "mysql"
	Redis    = "redis"
	SMTP     = "smtp"
	IMAP     = "imap"
	LDAP     = "ldap"
	MQTT     = "mqtt"
	NATS     = "nats"
	AMQP     = "amqp"
)

// limit bounds what is read of one server's answer, in bytes.
const limit = 64 << 10

// Question is what to say after the handshake.
type Question struct {
	Protocol string
	Host     string // for the HTTP request of TLS
	User     string // PostgreSQL's and MySQL's
	Database string // PostgreSQL's and MySQL's
	Silent   bool   // TLS only: say nothing and wait for the server
}

// speaker is how a protocol gets to TLS, where that does not begin at once, and what is asked after it.
type speaker struct {
	start func(net.Conn) error
	ask   func(net.Conn, Question) (reconcile.Answer, error)
}

var speakers = map[string]speaker{
	TLS:      {nil, askHTTP},
	Postgres: {startPostgres, askPostgres},
	MySQL:    {startMySQL, askMySQL},
	Redis:    {nil, askRedis},
	SMTP:     {startSMTP, askSMTP},
	IMAP:     {startIMAP, askIMAP},
	LDAP:     {startLDAP, askLDAP},
	MQTT:     {nil, askMQTT},
	NATS:     {startNATS, askNATS},
	AMQP:     {nil, askAMQP},
}

func unknown(protocol string) error {
	return fmt.Errorf("no probe speaks the protocol %q: use one of %s", protocol, strings.Join(slices.Sorted(maps.Keys(speakers)), ", "))
}

// StartTLS brings a fresh connection to the point where the TLS handshake begins. Of what the server says before it
// nothing is read that comes after its consent.
func StartTLS(conn net.Conn, protocol string) error {
	s, ok := speakers[protocol]
	switch {
	case !ok:
		return unknown(protocol)
	case s.start == nil:
		return nil
	}
	return s.start(conn)
}

// Ask says something over a connection whose handshake is done, and reads the answer. LetIn comes with a nil
// error; Refused with the server's words; NotAsked with why nothing was learned: what the read failed with, which
// Alert and Closed tell apart, or an answer that decides nothing.
func Ask(conn net.Conn, q Question) (reconcile.Answer, error) {
	s, ok := speakers[q.Protocol]
	if !ok {
		return reconcile.NotAsked, unknown(q.Protocol)
	}
	return s.ask(conn, q)
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
