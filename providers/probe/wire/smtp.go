package wire

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/certwright/certwright/reconcile"
)

var errNotSMTP = errors.New("the server does not speak SMTP")

// hello is what the probe says its name is. RFC 5321 section 4.1.3 has an address stand for a client without a name.
const hello = "EHLO [127.0.0.1]"

// startSMTP asks for TLS as RFC 3207 section 4 has it, if the server says that it has it.
func startSMTP(conn net.Conn) error {
	l := newLines(conn)
	if code, text, err := l.reply(); err != nil {
		return err
	} else if code != "220" {
		return fmt.Errorf("the server answered %s %s", code, Printable(text))
	}
	if err := l.say(hello); err != nil {
		return err
	}
	code, text, err := l.reply()
	switch {
	case err != nil:
		return err
	case code != "250":
		return fmt.Errorf("the server answered %s %s", code, Printable(text))
	case !strings.Contains("\n"+strings.ToUpper(text)+"\n", "\nSTARTTLS\n"):
		return errors.New("the server refuses TLS: it offers no STARTTLS")
	}
	if err := l.say("STARTTLS"); err != nil {
		return err
	}
	if code, text, err := l.reply(); err != nil {
		return err
	} else if code != "220" {
		return fmt.Errorf("the server refuses TLS: %s %s", code, Printable(text))
	}
	return nil
}

// askSMTP says hello again: after TLS a session begins anew (RFC 3207 section 4.2). Postfix answers a client whose certificate
// it wants and does not trust only here, with 421 4.7.1 and words about the certificate (smtpd.c).
func askSMTP(conn net.Conn, _ Question) (reconcile.Answer, error) {
	l := newLines(conn)
	_ = l.say(hello) // as in askHTTP, the answer tells
	code, text, err := l.reply()
	switch {
	case err != nil:
		return reconcile.NotAsked, err
	case code == "250":
		_ = l.say("QUIT")
		return reconcile.LetIn, nil
	}
	return judge(code + " " + text)
}

// reply reads one reply of any number of lines: its code and, line by line, its texts (RFC 5321 section 4.2).
func (l *lines) reply() (code, text string, err error) {
	var texts []string
	for {
		line, err := l.next()
		if err != nil {
			return "", "", err
		}
		if len(line) < 3 || strings.Trim(line[:3], "0123456789") != "" || len(line) > 3 && line[3] != ' ' && line[3] != '-' {
			return "", "", errNotSMTP
		}
		texts = append(texts, strings.TrimSpace(line[min(len(line), 4):]))
		if len(line) == 3 || line[3] == ' ' {
			return line[:3], strings.Join(texts, "\n"), nil
		}
	}
}
