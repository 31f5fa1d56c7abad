package mysql

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// limit bounds one packet, in bytes. A greeting or an error is far below it.
const limit = 64 << 10

// ErrProtocol means that the other end is no MySQL server, or breaks the protocol.
var ErrProtocol = errors.New("the server does not speak MySQL")

// conn is a connection with the number of its next packet: the server counts along.
type conn struct {
	io.ReadWriter
	next byte
}

// packet is a payload in the making.
type packet []byte

func (p packet) uint32(n uint32) packet { return binary.LittleEndian.AppendUint32(p, n) }
func (p packet) zeroed(s string) packet { return append(append(p, s...), 0) }

// write sends a packet: three bytes of length, one of the number, the payload.
func (c *conn) write(payload packet) error {
	head := []byte{byte(len(payload)), byte(len(payload) >> 8), byte(len(payload) >> 16), c.next}
	c.next++
	_, err := c.Write(append(head, payload...))
	return err
}

// read reads exactly one packet, and never more than limit.
func (c *conn) read() ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return nil, err
	}
	length := int(head[0]) | int(head[1])<<8 | int(head[2])<<16
	if length == 0 || length > limit {
		return nil, ErrProtocol
	}
	c.next = head[3] + 1
	body := make([]byte, length)
	_, err := io.ReadFull(c, body)
	return body, err
}

// Refusal is an error that the server answered.
type Refusal struct {
	Code uint16 // 1045 and so on
	Text string // as the server sent it, not fit for a terminal
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("the server answered error %d: %s", r.Code, r.Text)
}

// refusal reads an ERR packet; before the login there is no SQLSTATE in it.
func refusal(body []byte) error {
	if len(body) < 3 {
		return ErrProtocol
	}
	r := &Refusal{Code: binary.LittleEndian.Uint16(body[1:]), Text: string(body[3:])}
	if strings.HasPrefix(r.Text, "#") && len(r.Text) >= 6 {
		r.Text = r.Text[6:]
	}
	return r
}
