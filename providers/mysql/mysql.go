// Package mysql speaks as much of MySQL's protocol as it takes to reach TLS, to log in and to send one statement: for
// MySQL and MariaDB alike (MySQL Source Code Documentation, "Client/Server Protocol"; MariaDB, "Clientserver
// Protocol").
//
// The login comes after TLS always, so a password is never sent in clear. Deadlines are left to the caller, who closes
// the connection.
package mysql

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// The capabilities a client says it has ("Capabilities Flags").
const (
	longPassword   = 1 << 0
	connectWithDB  = 1 << 3
	protocol41     = 1 << 9
	startTLS       = 1 << 11
	transactions   = 1 << 13
	secureConn     = 1 << 15
	pluginAuth     = 1 << 19
	capabilities   = longPassword | protocol41 | startTLS | transactions | secureConn | pluginAuth
	characters     = 45 // utf8mb4_general_ci, which both know
	nativePassword = "mysql_native_password"
)

// Seed is what the server gave a client to prove its password with.
type Seed []byte

// StartTLS reads the server's greeting and asks for TLS. The handshake begins right after it. An error that wraps
// *Refusal is the server's own, such as "too many connections".
func StartTLS(rw io.ReadWriter) (Seed, error) {
	c := conn{ReadWriter: rw}
	greeting, err := c.read()
	if err != nil {
		return nil, err
	}
	seed, tls, err := greet(greeting)
	if err != nil {
		return nil, err
	}
	if !tls {
		return nil, errors.New("the server refuses TLS: it has no certificate, or ssl is off")
	}
	return seed, c.write(head(0))
}

// greet reads a greeting ("Protocol::HandshakeV10"): the version, the thread, the seed in two parts and the
// capabilities in two halves between them.
func greet(b []byte) (seed Seed, tls bool, err error) {
	if b[0] == 0xff {
		return nil, false, refusal(b)
	}
	version := bytes.IndexByte(b, 0)
	if b[0] != 10 || version < 0 || len(b) < version+1+4+8+1+2 {
		return nil, false, ErrProtocol
	}
	b = b[version+1+4:]
	seed = append(seed, b[:8]...)
	tls = b[8+1+1]&(startTLS>>8) != 0 // the second byte of the lower half
	if rest := b[8+1+2:]; len(rest) >= 1+2+2+1+10+12 {
		seed = append(seed, rest[1+2+2+1+10:][:12]...)
	}
	return seed, tls, nil
}

// head is how both requests of a client begin: the one for TLS ("Protocol::SSLRequest") has nothing else.
func head(more uint32) packet {
	p := packet{}.uint32(capabilities | more).uint32(limit)
	return append(append(p, characters), make([]byte, 23)...)
}

// Account is who logs in. A database is not wanted if it is "".
type Account struct {
	User, Database string
	Password       []byte // nil for none
}

// Session is a login that succeeded.
type Session struct{ c conn }

// Login logs in over TLS ("Protocol::HandshakeResponse41"). An error that wraps *Refusal is the server's no.
func Login(rw io.ReadWriter, a Account, s Seed) (*Session, error) {
	if strings.ContainsRune(a.User+a.Database, 0) {
		return nil, errors.New("the user or database of MySQL contains a zero byte")
	}
	c := conn{ReadWriter: rw, next: 2} // greeting and request for TLS came before
	more := uint32(0)
	if a.Database != "" {
		more = connectWithDB
	}
	proof := native(a.Password, s)
	response := append(append(head(more).zeroed(a.User), byte(len(proof))), proof...)
	if a.Database != "" {
		response = response.zeroed(a.Database)
	}
	// A refused client may not get this out any more; what the server said first is still there to read.
	_ = c.write(response.zeroed(nativePassword))
	if err := c.proven(a.Password); err != nil {
		return nil, err
	}
	return &Session{c}, nil
}

// proven goes through what the server asks until it says yes or no.
func (c *conn) proven(password []byte) error {
	for range 4 { // to switch, to prove, to be asked for the password itself, and yes
		answer, err := c.read()
		if err != nil {
			return err
		}
		switch answer[0] {
		case 0x00:
			return nil
		case 0xff:
			return refusal(answer)
		case 0xfe: // Protocol::AuthSwitchRequest
			err = c.switched(answer[1:], password)
		case 0x01: // Protocol::AuthMoreData, of caching_sha2_password: 3 that the proof did, 4 that the password is wanted
			if len(answer) != 2 || answer[1] != 3 && answer[1] != 4 {
				return ErrProtocol
			}
			if answer[1] == 4 {
				err = c.write(clearly(password))
			}
		default:
			return ErrProtocol
		}
		if err != nil {
			return err
		}
	}
	return ErrProtocol
}

// switched proves the password in the way the account wants.
func (c *conn) switched(request, password []byte) error {
	plugin, seed, named := bytes.Cut(request, []byte{0})
	if !named {
		return errors.New("the account wants a password as MySQL before 4.1 had it")
	}
	seed = bytes.TrimSuffix(seed, []byte{0})
	switch string(plugin) {
	case nativePassword:
		return c.write(packet(native(password, seed)))
	case "caching_sha2_password":
		return c.write(packet(caching(password, seed)))
	case "mysql_clear_password": // PAM and LDAP; TLS is there
		return c.write(clearly(password))
	}
	return fmt.Errorf("the account logs in by %q, which is not known here: give it a password", plugin)
}

// clearly is a password as it is, with a zero byte behind it.
func clearly(password []byte) packet { return append(append(packet{}, password...), 0) }

// Do sends one statement that returns no rows (COM_QUERY).
func (s *Session) Do(statement string) error {
	s.c.next = 0
	if err := s.c.write(append(packet{3}, statement...)); err != nil {
		return err
	}
	answer, err := s.c.read()
	switch {
	case err != nil:
		return err
	case answer[0] == 0xff:
		return refusal(answer)
	case answer[0] != 0:
		return ErrProtocol
	}
	return nil
}

// Quit says goodbye (COM_QUIT); a server that misses it logs an aborted connection.
func (s *Session) Quit() {
	s.c.next = 0
	_ = s.c.write(packet{1})
}
