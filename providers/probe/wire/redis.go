package wire

import (
	"errors"
	"net"

	"github.com/certwright/certwright/reconcile"
)

// askRedis sends PING. Redis answers +PONG, or an error such as -NOAUTH; both come after the TLS layer let the
// client in (redis.io, RESP protocol).
func askRedis(conn net.Conn, _ Question) (reconcile.Answer, error) {
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
