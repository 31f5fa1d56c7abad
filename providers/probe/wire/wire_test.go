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

// packet is one packet of MySQL.
func packet(number byte, body string) string {
	return string([]byte{byte(len(body)), byte(len(body) >> 8), byte(len(body) >> 16), number}) + body
}

// greeting is the first packet of a MySQL that has TLS, or has none.
func greeting(tls bool) string {
	capabilities := "\x00\xff"
	if !tls {
		capabilities = "\x00\xf7"
	}
	return packet(0, "\x0a8.0.36\x00\x01\x00\x00\x0012345678\x00"+capabilities+"\x2d\x02\x00\xff\xdf\x15"+strings.Repeat("\x00", 10)+"123456789012\x00")
}

// TestStartTLS has every way to TLS, whole and byte by byte. What comes after the server's consent in clear is never read: here
// it is one more byte.
func TestStartTLS(t *testing.T) {
	const extended = "\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00"
	for name, row := range map[string]struct{ protocol, says, words string }{
		"tls":                {wire.TLS, "", ""},
		"postgres":           {wire.Postgres, "S", ""},
		"postgres, off":      {wire.Postgres, "N", "the server refuses TLS: ssl is off"},
		"mysql":              {wire.MySQL, greeting(true), ""},
		"mysql, off":         {wire.MySQL, greeting(false), "the server refuses TLS: it has no certificate, or ssl is off"},
		"mysql is full":      {wire.MySQL, packet(0, "\xff\x10\x04Too many\x1b connections"), "the server answered error 1040: Too many  connections"},
		"mysql, empty error": {wire.MySQL, packet(0, "\xff"), "the server does not speak MySQL"},
		"mysql, no version":  {wire.MySQL, packet(0, "\x0a8.0"), "the server does not speak MySQL"},
		"mysql, cut short":   {wire.MySQL, greeting(true)[:20], "the server closed the connection"},
		"mysql is smtp":      {wire.MySQL, "220 mail ESMTP\r\n", "the server does not speak MySQL"},
		"smtp":               {wire.SMTP, "220 mail\r\n250-mail\r\n250-starttls\r\n250 SIZE 10\r\n220 2.0.0 go on\r\n", ""},
		"smtp has none":      {wire.SMTP, "220 mail\r\n250-mail\r\n250 XSTARTTLS\r\n", "the server refuses TLS: it offers no STARTTLS"},
		"smtp cannot":        {wire.SMTP, "220 mail\r\n250-mail\r\n250 STARTTLS\r\n454 4.7.0 not \x1bnow\r\n", "the server refuses TLS: 454 4.7.0 not  now"},
		"smtp is full":       {wire.SMTP, "421 too busy\r\n", "the server answered 421 too busy"},
		"imap":               {wire.IMAP, "* OK [CAPABILITY IMAP4rev1] ready\r\na OK begin\r\n", ""},
		"imap has none":      {wire.IMAP, "* OK ready\r\na BAD no such command\r\n", "the server refuses TLS: BAD no such command"},
		"imap is full":       {wire.IMAP, "* BYE too many\r\n", "the server answered * BYE too many"},
		"imap is http":       {wire.IMAP, "HTTP/1.1 400 Bad Request\r\n", "the server does not speak IMAP"},
		"ldap":               {wire.LDAP, extended, ""},
		"ldap has none":      {wire.LDAP, "\x30\x0e\x02\x01\x01\x78\x09\x0a\x01\x02\x04\x00\x04\x02no", "the server refuses TLS: result 2: no"},
		"ldap, of a bind":    {wire.LDAP, strings.Replace(extended, "\x78", "\x61", 1), "the server does not speak LDAP"},
		"nats":               {wire.NATS, "INFO {\"tls_required\":true}\r\n", ""},
		"nats has none":      {wire.NATS, "INFO {\"version\":\"2\"}\r\n", "the server refuses TLS: it has none configured"},
		"nats is http":       {wire.NATS, "HTTP/1.1 400 Bad Request\r\n", "the server does not speak NATS"},
		"unknown":            {"pop3", "", `no probe speaks the protocol "pop3": use one of amqp, imap, ldap, mqtt, mysql, nats, postgres, redis, smtp, tls`},
	} {
		t.Run(name, func(t *testing.T) {
			for _, wrap := range []func(io.Reader) io.Reader{func(r io.Reader) io.Reader { return r }, iotest.OneByteReader} {
				says := strings.NewReader(row.says)
				if row.words == "" {
					says = strings.NewReader(row.says + "!")
				}
				err := wire.StartTLS(&script{says: wrap(says)}, row.protocol)
				words := ""
				if err != nil {
					words = wire.Words(err)
				}
				if words != row.words {
					t.Errorf("got %q, want %q", words, row.words)
				}
				if err == nil && says.Len() != 1 {
					t.Errorf("%d bytes are left, want the one in clear", says.Len())
				}
			}
		})
	}
}

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
		"unknown":             {"pop3", "+OK hello", none, `no probe speaks the protocol "pop3": use one of amqp, imap, ldap, mqtt, mysql, nats, postgres, redis, smtp, tls`},

		"mysql lets in":           {wire.MySQL, packet(2, "\x00\x00\x00\x02\x00\x00\x00"), in, ""},
		"mysql denies":            {wire.MySQL, packet(2, "\xff\x15\x04#28000Access denied"), out, "the server answered error 1045: Access denied; the probe needs a user who logs in without a password"},
		"mysql, no database":      {wire.MySQL, packet(2, "\xff\x19\x04#42000Unknown database"), in, ""},
		"mysql is full":           {wire.MySQL, packet(2, "\xff\x10\x04#08004Too many connections"), none, "the server answered error 1040: Too many connections"},
		"mysql switches":          {wire.MySQL, packet(2, "\xfemysql_native_password\x0012345678901234567890\x00") + packet(4, "\x00\x00\x00"), in, ""},
		"mysql switches for ever": {wire.MySQL, strings.Repeat(packet(2, "\xfecaching_sha2_password\x0012345678901234567890\x00"), 9), none, "the server does not speak MySQL"},
		"mysql switches to this":  {wire.MySQL, packet(2, "\xfeauth_\x1bgssapi\x00"), none, `the account logs in by "auth_\x1bgssapi", which is not known here: give it a password`},
		"mysql wants old":         {wire.MySQL, packet(2, "\xfe"), none, "the account wants a password as MySQL before 4.1 had it"},
		"mysql, evil words":       {wire.MySQL, packet(2, "\xff\x10\x04#08004a\x1b[2J\r\nb"), none, "the server answered error 1040: a [2J  b"},
		"mysql, cut short":        {wire.MySQL, packet(2, "\xff\x15\x04#28000no")[:9], none, "the server closed the connection"},
		"mysql, nothing in it":    {wire.MySQL, "\x00\x00\x00\x02", none, "the server does not speak MySQL"},
		"mysql, too long":         {wire.MySQL, "\xff\xff\xff\x02", none, "the server does not speak MySQL"},
		"mysql is http":           {wire.MySQL, "HTTP/1.1 400 Bad Request\r\n\r\n", none, "the server does not speak MySQL"},

		"smtp hello":           {wire.SMTP, "250-mail\r\n250 SIZE\r\n", in, ""},
		"smtp bare":            {wire.SMTP, "250\n", in, ""},
		"smtp no certificate":  {wire.SMTP, "421 4.7.1 mail Error: No client certificate presented\r\n", out, "the server answered 421 4.7.1 mail Error: No client certificate presented"},
		"smtp is busy":         {wire.SMTP, "421 4.3.2 too busy\r\n", none, "the server answered 421 4.3.2 too busy"},
		"smtp evil words":      {wire.SMTP, "550 \x1b[2Jcertificate\r\n", out, "the server answered 550  [2Jcertificate"},
		"smtp never ends":      {wire.SMTP, strings.Repeat("250-more\r\n", 7000), none, "the server does not stop talking"},
		"smtp is http":         {wire.SMTP, "HTTP/1.1 400 Bad Request\r\n\r\n", none, "the server does not speak SMTP"},
		"smtp is short":        {wire.SMTP, "25\r\n", none, "the server does not speak SMTP"},
		"imap asks for a name": {wire.IMAP, "* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\na OK done\r\n+ \r\n", in, ""},
		"imap no certificate":  {wire.IMAP, "* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\na OK done\r\na NO [ALERT] Client didn't present valid SSL certificate\r\n", out, "the server answered NO [ALERT] Client didn't present valid SSL certificate"},
		"imap says no":         {wire.IMAP, "* CAPABILITY AUTH=X\r\na OK done\r\na NO later\r\n", none, "the server answered NO later"},
		"imap has no way":      {wire.IMAP, "* CAPABILITY IMAP4rev1 LOGINDISABLED\r\na OK done\r\n", in, ""},
		"imap goes":            {wire.IMAP, "* BYE too many\r\n", none, "the server answered BYE too many"},
		"imap is smtp":         {wire.IMAP, "220 mail\r\n", none, "the server does not speak IMAP"},
		"ldap binds":           {wire.LDAP, "\x30\x0c\x02\x01\x02\x61\x07\x0a\x01\x00\x04\x00\x04\x00", in, ""},
		"ldap in long lengths": {wire.LDAP, "\x30\x84\x00\x00\x00\x10\x02\x01\x02\x61\x84\x00\x00\x00\x07\x0a\x01\x30\x04\x00\x04\x00", in, ""},
		"ldap is busy":         {wire.LDAP, "\x30\x0c\x02\x01\x02\x61\x07\x0a\x01\x33\x04\x00\x04\x00", none, "the server answered result 51:"},
		"ldap goes":            {wire.LDAP, "\x30\x0d\x02\x01\x00\x78\x08\x0a\x01\x34\x04\x00\x04\x01\x1b", none, "the server answered result 52:"},
		"ldap too long":        {wire.LDAP, "\x30\x84\xff\xff\xff\xff", none, "the server does not speak LDAP"},
		"ldap without length":  {wire.LDAP, "\x30\x80", none, "the server does not speak LDAP"},
		"ldap cut short":       {wire.LDAP, "\x30\x0c\x02\x01\x02\x61", none, "the server closed the connection"},
		"ldap lies":            {wire.LDAP, "\x30\x05\x02\x01\x02\x61\x07", none, "the server does not speak LDAP"},
		"ldap is http":         {wire.LDAP, "HTTP/1.1 400 Bad Request\r\n\r\n", none, "the server does not speak LDAP"},
		"mqtt":                 {wire.MQTT, "\x20\x02\x00\x05", in, ""},
		"mqtt is http":         {wire.MQTT, "HTTP/1.1", none, "the server does not speak MQTT"},
		"nats":                 {wire.NATS, "INFO {}\r\nPONG\r\n", in, ""},
		"nats wants a login":   {wire.NATS, "-ERR 'Authorization Violation'\r\n", in, ""},
		"nats is http":         {wire.NATS, "HTTP/1.1 400 Bad Request\r\n\r\n", none, "the server does not speak NATS"},
		"amqp":                 {wire.AMQP, "\x01\x00\x00\x00\x00\x01\xff\x00\x0a\x00\x0a\x00\x09", in, ""},
		"amqp of another kind": {wire.AMQP, "AMQP\x03\x01\x00\x00", in, ""},
		"amqp is http":         {wire.AMQP, "HTTP/1.1 400 Bad Request\r\n\r\n", none, "the server does not speak AMQP 0-9-1"},
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
		wire.MySQL:    {"", packet(2, "\xfemysql_native_password\x00")},
		wire.SMTP:     {"", "250-x\r\n"},
		wire.IMAP:     {"", "* x\r\n"},
		wire.LDAP:     {"\x30\x84\x00\x00\xff\xff", "x"},
		wire.MQTT:     {"\x20", "x"},
		wire.NATS:     {"", "INFO {\r\n"},
		wire.AMQP:     {"\x01", "x"},
	} {
		for name, f := range map[string]func(net.Conn){
			"ask":   func(c net.Conn) { _, _ = wire.Ask(c, wire.Question{Protocol: protocol}) },
			"start": func(c net.Conn) { _ = wire.StartTLS(c, protocol) },
		} {
			one := *e
			s := &script{says: &one}
			f(s)
			if s.read > 64<<10+8 {
				t.Errorf("%s, %s: read %d bytes", protocol, name, s.read)
			}
		}
	}
}

// FuzzAsk looks for answers that break the reading of answers, or get into a report as they are.
func FuzzAsk(f *testing.F) {
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\nThe SSL certificate error"))
	f.Add([]byte(message('E', fields("28000", "no"))))
	f.Add([]byte("+PONG\r\n"))
	f.Add([]byte(greeting(true)))
	f.Add([]byte(packet(2, "\xff\x15\x04#28000Access denied")))
	f.Add([]byte("220 mail\r\n250-mail\r\n250 STARTTLS\r\n454 no certificate\r\n"))
	f.Add([]byte("* CAPABILITY AUTH=PLAIN\r\na OK done\r\na NO certificate\r\n"))
	f.Add([]byte("\x30\x0c\x02\x01\x02\x61\x07\x0a\x01\x33\x04\x00\x04\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, protocol := range []string{
			wire.TLS, wire.Postgres, wire.Redis, wire.MySQL, wire.SMTP, wire.IMAP, wire.LDAP, wire.MQTT, wire.NATS, wire.AMQP,
		} {
			if err := wire.StartTLS(&script{says: strings.NewReader(string(data))}, protocol); err != nil {
				fit(t, protocol, err)
			}
			s := &script{says: strings.NewReader(string(data))}
			answer, err := wire.Ask(s, wire.Question{Protocol: protocol})
			if (answer == reconcile.LetIn) != (err == nil) {
				t.Errorf("%s: answer %d with error %v", protocol, answer, err)
			}
			if err == nil {
				continue
			}
			fit(t, protocol, err)
		}
	})
}

// fit fails the test unless an error can stand in a report.
func fit(t *testing.T, protocol string, err error) {
	t.Helper()
	if words := wire.Words(err); words == "" || strings.ContainsAny(words, "\x00\x1b\r\n") || len(words) > 4*501+100 {
		t.Errorf("%s: unfit for a report: %q", protocol, words)
	}
}
