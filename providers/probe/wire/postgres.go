package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/certwright/certwright/reconcile"
)

// The numbers a PostgreSQL client begins with (PostgreSQL documentation, "Message Formats").
const (
	sslRequestCode  = 80877103
	protocolVersion = 3 << 16
)

var errNotPostgres = errors.New("the server does not speak PostgreSQL")

// startPostgres asks for TLS ("SSL Session Encryption" in PostgreSQL's documentation). It reads exactly one byte:
// bytes that came with it in clear text would otherwise be taken for encrypted ones (CVE-2021-23222).
func startPostgres(conn net.Conn) error {
	request := binary.BigEndian.AppendUint32(nil, 8)
	request = binary.BigEndian.AppendUint32(request, sslRequestCode)
	if _, err := conn.Write(request); err != nil {
		return err
	}
	var answer [1]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return err
	}
	switch answer[0] {
	case 'S':
		return nil
	case 'N':
		return errors.New("the server refuses TLS: ssl is off")
	case 'E':
		// Its text is not shown: before TLS anyone could have written it (CVE-2024-10977).
		return errors.New("the server answered the request for TLS with an error: see its log")
	}
	return errNotPostgres
}

// askPostgres sends the start-up message and reads what the server makes of it.
//
// Any authentication request means let in, be it "ok" or one for a password: the server checks the client
// certificate that pg_hba.conf demands before it asks for anything else. An error of class 28 (invalid
// authorization) means refused, unless it is about pg_hba.conf itself: an entry is chosen by address, user and
// database and never by certificate, so its lack says nothing about one. Every other error decides nothing
// (starting up, too many clients).
func askPostgres(conn net.Conn, q Question) (reconcile.Answer, error) {
	startup, err := startupMessage(q.User, q.Database)
	if err != nil {
		return reconcile.NotAsked, err
	}
	_, _ = conn.Write(startup) // as in askHTTP, the answer tells
	for range 8 {              // notices may come first
		kind, body, err := readMessage(conn)
		if err != nil {
			return reconcile.NotAsked, err
		}
		switch kind {
		case 'R':
			_, _ = conn.Write([]byte{'X', 0, 0, 0, 4}) // Terminate: a goodbye keeps the server's log quiet
			return reconcile.LetIn, nil
		case 'E':
			return postgresError(body)
		case 'N', 'v': // NoticeResponse, NegotiateProtocolVersion
		default:
			return reconcile.NotAsked, errNotPostgres
		}
	}
	return reconcile.NotAsked, errNotPostgres
}

func startupMessage(user, database string) ([]byte, error) {
	if strings.ContainsRune(user+database, 0) {
		return nil, errors.New("the PostgreSQL user or database contains a zero byte")
	}
	m := binary.BigEndian.AppendUint32(make([]byte, 4), protocolVersion)
	for _, s := range []string{"user", user, "database", database, "application_name", "certwright", ""} {
		m = append(append(m, s...), 0)
	}
	binary.BigEndian.PutUint32(m, uint32(len(m)))
	return m, nil
}

// readMessage reads one message: a byte of kind, the length with itself but without the kind, the body.
func readMessage(conn net.Conn) (kind byte, body []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return 0, nil, err
	}
	length := binary.BigEndian.Uint32(head[1:])
	if length < 4 || length > limit {
		return 0, nil, errNotPostgres
	}
	body = make([]byte, length-4)
	_, err = io.ReadFull(conn, body)
	return head[0], body, err
}

// postgresError judges an ErrorResponse: fields of one letter and a string, a zero byte at the end.
func postgresError(body []byte) (reconcile.Answer, error) {
	fields := map[byte]string{}
	for _, f := range strings.Split(string(body), "\x00") {
		if f != "" {
			fields[f[0]] = f[1:]
		}
	}
	code, message := Printable(fields['C']), Printable(fields['M'])
	err := fmt.Errorf("the server answered error %s: %s", code, message)
	switch {
	case !strings.HasPrefix(code, "28"):
		return reconcile.NotAsked, err
	case strings.Contains(message, "pg_hba.conf"): // the same in every language
		return reconcile.NotAsked, fmt.Errorf("%w; set user and database of the probe to ones pg_hba.conf has", err)
	}
	return reconcile.Refused, err
}
