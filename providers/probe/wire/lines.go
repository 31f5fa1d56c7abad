package wire

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/certwright/certwright/reconcile"
)

// lines are what a server says line by line.
type lines struct {
	conn net.Conn
	left int
}

func newLines(conn net.Conn) *lines { return &lines{conn: conn, left: limit} }

var errEndless = errors.New("the server does not stop talking")

// next reads one line, byte by byte: what came behind it in clear text stays there, where TLS refuses it, and is never
// taken for encrypted (CVE-2011-0411, and 40 more of 2021).
func (l *lines) next() (string, error) {
	var line []byte
	for one := make([]byte, 1); l.left > 0; {
		l.left--
		switch n, err := l.conn.Read(one); {
		case n == 0 && err != nil:
			return "", err
		case n > 0 && one[0] == '\n':
			return strings.TrimSuffix(string(line), "\r"), nil
		case n > 0:
			line = append(line, one[0])
		}
	}
	return "", errEndless
}

func (l *lines) say(text string) error {
	_, err := l.conn.Write([]byte(text + "\r\n"))
	return err
}

// judge makes an answer to a client out of a server's no. That it is about the certificate shows only in its words.
func judge(words string) (reconcile.Answer, error) {
	err := fmt.Errorf("the server answered %s", Printable(words))
	if strings.Contains(strings.ToLower(words), "certificate") {
		return reconcile.Refused, err
	}
	return reconcile.NotAsked, err
}
