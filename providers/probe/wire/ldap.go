package wire

import (
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/certwright/certwright/reconcile"
)

// Tags of LDAP's messages (RFC 4511 appendix B, BER of X.690).
const (
	berInteger       = 0x02
	berOctets        = 0x04
	berEnumerated    = 0x0a
	berSequence      = 0x30
	ldapBindResponse = 0x61
	ldapExtResponse  = 0x78
)

// The two requests: StartTLS (RFC 4511 section 4.14.1), with its OID, and an anonymous Bind of version 3 (section 4.2).
var (
	ldapStartTLS = append([]byte{berSequence, 29, berInteger, 1, 1, 0x77, 24, 0x80, 22}, "1.3.6.1.4.1.1466.20037"...)
	ldapBind     = []byte{berSequence, 12, berInteger, 1, 2, 0x60, 7, berInteger, 1, 3, berOctets, 0, 0x80, 0}
)

// Result codes that say nothing about who asked (RFC 4511 appendix A).
const (
	ldapBusy        = 51
	ldapUnavailable = 52
)

var errNotLDAP = errors.New("the server does not speak LDAP")

func startLDAP(conn net.Conn) error {
	if _, err := conn.Write(ldapStartTLS); err != nil {
		return err
	}
	kind, code, text, err := readLDAP(conn)
	switch {
	case err != nil:
		return err
	case kind != ldapExtResponse:
		return errNotLDAP
	case code != 0:
		return fmt.Errorf("the server refuses TLS: result %d: %s", code, Printable(text))
	}
	return nil
}

// askLDAP binds as nobody. A server that wants a certificate refuses in the handshake, or closes right after it: whatever it
// answers to a Bind, also that it wants a name, it has let the client in.
func askLDAP(conn net.Conn, _ Question) (reconcile.Answer, error) {
	_, _ = conn.Write(ldapBind) // as in askHTTP, the answer tells
	kind, code, text, err := readLDAP(conn)
	switch {
	case err != nil:
		return reconcile.NotAsked, err
	case kind == ldapExtResponse, code == ldapBusy, code == ldapUnavailable: // a Notice of Disconnection, section 4.4.1
		return judge(fmt.Sprintf("result %d: %s", code, text))
	case kind != ldapBindResponse:
		return reconcile.NotAsked, errNotLDAP
	}
	_, _ = conn.Write([]byte{berSequence, 5, berInteger, 1, 3, 0x42, 0}) // Unbind
	return reconcile.LetIn, nil
}

// readLDAP reads exactly one message, and of its LDAPResult (RFC 4511 section 4.1.9) the code and the text.
func readLDAP(conn net.Conn) (kind byte, code int, text string, err error) {
	head := make([]byte, 2, 6)
	if _, err := io.ReadFull(conn, head); err != nil {
		return 0, 0, "", err
	}
	if n := int(head[1]) - 0x80; n > 0 && n <= 4 {
		head = head[:2+n]
		if _, err := io.ReadFull(conn, head[2:]); err != nil {
			return 0, 0, "", err
		}
	}
	length, used := berLength(head[1:])
	if head[0] != berSequence || used == 0 || length > limit {
		return 0, 0, "", errNotLDAP
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(conn, body); err != nil {
		return 0, 0, "", err
	}
	id, rest, ok := element(body)
	if !ok || id.tag != berInteger {
		return 0, 0, "", errNotLDAP
	}
	message, _, ok := element(rest)
	result, rest, coded := element(message.data)
	_, rest, named := element(rest) // the DN
	words, _, told := element(rest)
	if !ok || !coded || !named || !told || result.tag != berEnumerated || len(result.data) != 1 || words.tag != berOctets {
		return 0, 0, "", errNotLDAP
	}
	return message.tag, int(result.data[0]), string(words.data), nil
}

// ber is one element: its tag of one byte and what is in it.
type ber struct {
	tag  byte
	data []byte
}

// element cuts the first element off.
func element(b []byte) (e ber, rest []byte, ok bool) {
	if len(b) < 2 {
		return e, nil, false
	}
	length, used := berLength(b[1:])
	if used == 0 || length > len(b)-1-used {
		return e, nil, false
	}
	data := b[1+used:]
	return ber{b[0], data[:length]}, data[length:], true
}

// berLength reads a length in its short or its long form, and says how many bytes that took, 0 for none that counts.
// Servers write four bytes also where one would do.
func berLength(b []byte) (length, used int) {
	if b[0] < 0x80 {
		return int(b[0]), 1
	}
	n := int(b[0]) - 0x80
	if n == 0 || n > 4 || n >= len(b) {
		return 0, 0
	}
	for _, c := range b[1 : 1+n] {
		if length = length<<8 | int(c); length > limit {
			return 0, 0
		}
	}
	return length, 1 + n
}
