package wire

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/certwright/certwright/reconcile"
)

var errNotIMAP = errors.New("the server does not speak IMAP")

// startIMAP asks for TLS as RFC 9051 section 6.2.1 has it.
func startIMAP(conn net.Conn) error {
	l := newLines(conn)
	greeting, err := l.next()
	switch {
	case err != nil:
		return err
	case strings.HasPrefix(greeting, "* BYE "):
		return fmt.Errorf("the server answered %s", Printable(greeting))
	case !strings.HasPrefix(greeting, "* OK "):
		return errNotIMAP
	}
	status, text, _, err := l.command("STARTTLS")
	switch {
	case err != nil:
		return err
	case status != "OK":
		return fmt.Errorf("the server refuses TLS: %s %s", status, Printable(text))
	}
	return nil
}

// askIMAP begins to log in, by the first way the server has (RFC 9051 section 6.2.2), and goes no further than to be asked
// for the credentials. Dovecot answers a client that has no certificate, and should, only here (sasl-server.c). A
// server that has no way to log in has let everyone in that it answers.
func askIMAP(conn net.Conn, _ Question) (reconcile.Answer, error) {
	l := newLines(conn)
	status, text, said, err := l.command("CAPABILITY")
	switch {
	case err != nil:
		return reconcile.NotAsked, err
	case status != "OK":
		return judge(status + " " + text)
	}
	for _, word := range strings.Fields(said) {
		way, ok := strings.CutPrefix(strings.ToUpper(word), "AUTH=")
		if !ok || way == "" {
			continue
		}
		status, text, _, err := l.command("AUTHENTICATE " + way)
		switch {
		case err != nil:
			return reconcile.NotAsked, err
		case status == "+":
			_ = l.say("*") // RFC 9051 section 6.2.2: the client takes it back
			return reconcile.LetIn, nil
		}
		return judge(status + " " + text)
	}
	_ = l.say("q LOGOUT")
	return reconcile.LetIn, nil
}

// command sends a command and reads to the end of the answer: its status (OK, NO, BAD, or + when more is wanted), the text
// behind it, and what came before it.
func (l *lines) command(text string) (status, words, before string, err error) {
	_ = l.say("a " + text)
	var all []string
	for {
		line, err := l.next()
		if err != nil {
			return "", "", "", err
		}
		tag, rest, _ := strings.Cut(line, " ")
		switch tag {
		case "*":
			if strings.HasPrefix(rest, "BYE ") {
				return "BYE", rest[4:], "", nil
			}
			all = append(all, rest)
		case "+":
			return "+", rest, "", nil
		case "a":
			status, words, _ = strings.Cut(rest, " ")
			return strings.ToUpper(status), words, strings.Join(all, " "), nil
		default:
			return "", "", "", errNotIMAP
		}
	}
}
