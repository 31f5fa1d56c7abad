package wire_test

import (
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/certwright/certwright/providers/probe/wire"
	"github.com/certwright/certwright/reconcile"
)

// script is a connection on which the server says what is written down, and hears nothing.
type script struct {
	net.Conn
	says io.Reader
	read int
}

func (s *script) Read(b []byte) (int, error) {
	n, err := s.says.Read(b)
	s.read += n
	return n, err
}
func (*script) Write(b []byte) (int, error) { return len(b), nil }

// message is one message of PostgreSQL.
func message(kind byte, body string) string {
	return string(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body)+4))) + body
}

func fields(code, text string) string { return "SFATAL\x00C" + code + "\x00M" + text + "\x00\x00" }

// TestAsk has every answer, whole and byte by byte.
func TestAsk(t *testing.T) {
	const (
		none = reconcile.NotAsked
		in   = reconcile.LetIn
		out  = reconcile.Refused
	)
	for name, row := range map[string]struct {
		protocol, says string
		want           reconcile.Answer
		words          string
	}{
		"http 200":            {wire.TLS, "HTTP/1.1 200 OK\r\n\r\n", in, ""},
		"http 403":            {wire.TLS, "HTTP/1.1 403 Forbidden\r\n\r\nThe SSL certificate error", in, ""},
		"http 400":            {wire.TLS, "HTTP/1.1 400 Bad Request\r\n\r\nno Host", in, ""},
		"http 400 of nginx":   {wire.TLS, "HTTP/1.1 400 Bad Request\r\n\r\n<h1>The SSL certificate error", out, "the server answered HTTP 400: The SSL certificate error"},
		"http 1.0":            {wire.TLS, "HTTP/1.0 400 Bad Request\r\n\r\nNo required SSL certificate was sent", out, "the server answered HTTP 400: No required SSL certificate was sent"},
		"http 495":            {wire.TLS, "HTTP/1.1 495 SSL Certificate Error\r\n", out, "the server answered HTTP 495"},
		"http cut short":      {wire.TLS, "HTTP/1.", in, ""},
		"no http":             {wire.TLS, "\x00\x00\x12\x04", in, ""},
		"http nothing":        {wire.TLS, "", none, "the server closed the connection"},
		"redis pong":          {wire.Redis, "+PONG\r\n", in, ""},
		"redis wants a login": {wire.Redis, "-NOAUTH Authentication required.\r\n", in, ""},
		"redis is http":       {wire.Redis, "HTTP/1.1 400 Bad Request\r\n", none, "the server does not speak Redis"},
		"redis nothing":       {wire.Redis, "", none, "the server closed the connection"},
		"let in":              {wire.Postgres, message('R', "\x00\x00\x00\x00"), in, ""},
		"a password wanted":   {wire.Postgres, message('R', "\x00\x00\x00\x0aSCRAM-SHA-256\x00\x00"), in, ""},
		"after a notice":      {wire.Postgres, message('N', fields("00000", "hello")) + message('R', "\x00\x00\x00\x00"), in, ""},
		"too many notices":    {wire.Postgres, strings.Repeat(message('N', fields("00000", "hello")), 9), none, "the server does not speak PostgreSQL"},
		"refused":             {wire.Postgres, message('E', fields("28000", "Verbindung benötigt ein gültiges Client-Zertifikat")), out, "the server answered error 28000: Verbindung benötigt ein gültiges Client-Zertifikat"},
		"hba in German":       {wire.Postgres, message('E', fields("28000", "kein pg_hba.conf-Eintrag für Host")), none, "the server answered error 28000: kein pg_hba.conf-Eintrag für Host; set user and database of the probe to ones pg_hba.conf has"},
		"starting up":         {wire.Postgres, message('E', fields("57P03", "the database system is starting up")), none, "the server answered error 57P03: the database system is starting up"},
		"an evil message":     {wire.Postgres, message('E', fields("28000", "a\x1b[2J\r\n"+strings.Repeat("b", 1000))), out, "the server answered error 28000: a [2J  " + strings.Repeat("b", 460) + "…"},
		"an empty error":      {wire.Postgres, message('E', ""), none, "the server answered error :"},
		"too long":            {wire.Postgres, "E\xff\xff\xff\xff", none, "the server does not speak PostgreSQL"},
		"too short":           {wire.Postgres, "R\x00\x00\x00\x03", none, "the server does not speak PostgreSQL"},
		"cut short":           {wire.Postgres, message('R', "\x00\x00\x00\x00")[:7], none, "the server closed the connection"},
		"http":                {wire.Postgres, "HTTP/1.1 400 Bad Request\r\n\r\n", none, "the server does not speak PostgreSQL"},
		"unknown":             {"smtp", "220 hello", none, `no probe speaks the protocol "smtp": use tls, postgres or redis`},
	} {
		t.Run(name, func(t *testing.T) {
			for _, says := range []io.Reader{strings.NewReader(row.says), iotest.OneByteReader(strings.NewReader(row.says))} {
				got, err := wire.Ask(&script{says: says}, wire.Question{Protocol: row.protocol, Host: "web", User: "app", Database: "app"})
				words := ""
				if err != nil {
					words = wire.Words(err)
				}
				if got != row.want || words != row.words {
					t.Errorf("got %d %q, want %d %q", got, words, row.want, row.words)
				}
			}
		})
	}
}

type endless struct{ start, rest string }

func (e *endless) Read(b []byte) (int, error) {
	if e.start != "" {
		n := copy(b, e.start)
		e.start = e.start[n:]
		return n, nil
	}
	for i := range b {
		b[i] = e.rest[i%len(e.rest)]
	}
	return len(b), nil
}

// TestBounded has servers that never stop talking.
func TestBounded(t *testing.T) {
	for protocol, e := range map[string]*endless{
		wire.TLS:      {"HTTP/1.1 400 Bad Request\r\n", "x"},
		wire.Redis:    {"+", "x"},
		wire.Postgres: {"", message('N', "")},
	} {
		s := &script{says: e}
		_, _ = wire.Ask(s, wire.Question{Protocol: protocol})
		if s.read > 64<<10 {
			t.Errorf("%s: read %d bytes", protocol, s.read)
		}
	}
}

// FuzzAsk looks for answers that break the reading of answers, or get into a report as they are.
func FuzzAsk(f *testing.F) {
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\nThe SSL certificate error"))
	f.Add([]byte(message('E', fields("28000", "no"))))
	f.Add([]byte("+PONG\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, protocol := range []string{wire.TLS, wire.Postgres, wire.Redis} {
			s := &script{says: strings.NewReader(string(data))}
			answer, err := wire.Ask(s, wire.Question{Protocol: protocol})
			if (answer == reconcile.LetIn) != (err == nil) {
				t.Errorf("%s: answer %d with error %v", protocol, answer, err)
			}
			if err == nil {
				continue
			}
			if words := wire.Words(err); words == "" || strings.ContainsAny(words, "\x00\x1b\r\n") || len(words) > 4*501 {
				t.Errorf("%s: unfit for a report: %q", protocol, words)
			}
		}
	})
}
