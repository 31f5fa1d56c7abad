package wire

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/certwright/certwright/reconcile"
)

// mqttConnect is a CONNECT of MQTT 3.1.1 with a clean session and no client identifier (OASIS MQTT 3.1.1, section 3.1).
var mqttConnect = []byte("\x10\x0c\x00\x04MQTT\x04\x02\x00\x0a\x00\x00")

// askMQTT connects. Any CONNACK means let in, also one that wants a password (section 3.2): TLS is judged before it.
func askMQTT(conn net.Conn, _ Question) (reconcile.Answer, error) {
	_, _ = conn.Write(mqttConnect) // as in askHTTP, the answer tells
	var head [2]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return reconcile.NotAsked, err
	}
	if head[0] != 0x20 || head[1] < 2 {
		return reconcile.NotAsked, errors.New("the server does not speak MQTT")
	}
	_, _ = conn.Write([]byte{0xe0, 0}) // DISCONNECT
	return reconcile.LetIn, nil
}

var errNotNATS = errors.New("the server does not speak NATS")

// startNATS reads the INFO that a server begins with in clear; TLS comes after it (docs.nats.io, "Client Protocol").
func startNATS(conn net.Conn) error {
	info, err := newLines(conn).next()
	switch {
	case err != nil:
		return err
	case !strings.HasPrefix(info, "INFO {"):
		return errNotNATS
	case !strings.Contains(info, `"tls_required":true`) && !strings.Contains(info, `"tls_available":true`):
		return errors.New("the server refuses TLS: it has none configured")
	}
	return nil
}

// askNATS connects and pings. A PONG means let in, and so does an error about who one is: it comes after TLS.
func askNATS(conn net.Conn, _ Question) (reconcile.Answer, error) {
	l := newLines(conn)
	_ = l.say(`CONNECT {"verbose":false,"pedantic":false,"tls_required":true,"name":"certwright","lang":"go","version":"1"}` + "\r\nPING")
	for {
		line, err := l.next()
		switch word, _, _ := strings.Cut(line, " "); {
		case err != nil:
			return reconcile.NotAsked, err
		case word == "PONG", word == "-ERR":
			return reconcile.LetIn, nil
		case word != "INFO" && word != "+OK" && word != "PING":
			return reconcile.NotAsked, errNotNATS
		}
	}
}

// askAMQP sends the header of AMQP 0-9-1 (section 4.2.2). Connection.Start, or the header that the server would rather have,
// means let in: both come after TLS.
func askAMQP(conn net.Conn, _ Question) (reconcile.Answer, error) {
	_, _ = conn.Write([]byte("AMQP\x00\x00\x09\x01")) // as in askHTTP, the answer tells
	var head [11]byte
	if _, err := io.ReadFull(conn, head[:8]); err != nil {
		return reconcile.NotAsked, err
	}
	if string(head[:4]) == "AMQP" {
		return reconcile.LetIn, nil
	}
	if _, err := io.ReadFull(conn, head[8:]); err != nil {
		return reconcile.NotAsked, err
	}
	// A method frame of channel 0; class 10 is the connection, method 10 its start.
	if head[0] != 1 || head[1] != 0 || head[2] != 0 || binary.BigEndian.Uint32(head[7:]) != 10<<16|10 {
		return reconcile.NotAsked, errors.New("the server does not speak AMQP 0-9-1")
	}
	return reconcile.LetIn, nil
}
