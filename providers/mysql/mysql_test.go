package mysql

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	password = "correct horse"
	seed     = "!\"#$%&'()*+,-./01234" // twenty bytes, 0x21 and on

	// What proves the password with that seed, by Python alone:
	//
	//	from hashlib import sha1, sha256
	//	p, s = b"correct horse", bytes(range(0x21, 0x35))
	//	xor = lambda a, b: bytes(i ^ j for i, j in zip(a, b)).hex()
	//	xor(sha1(p).digest(), sha1(s + sha1(sha1(p).digest()).digest()).digest())
	//	xor(sha256(p).digest(), sha256(sha256(sha256(p).digest()).digest() + s).digest())
	nativeProof  = "5844e9d152ef53699c991004ce68beccaa51440a"
	cachingProof = "743c091ccf60a0480e3171e12beb54c8353dde7638baa0ed6f5c7776980352a2"
)

func TestScrambles(t *testing.T) {
	for name, row := range map[string]struct {
		scramble func([]byte, Seed) []byte
		want     string
	}{"mysql_native_password": {native, nativeProof}, "caching_sha2_password": {caching, cachingProof}} {
		if got := hex.EncodeToString(row.scramble([]byte(password), Seed(seed))); got != row.want {
			t.Errorf("%s: %s, want %s", name, got, row.want)
		}
		if got := row.scramble(nil, Seed(seed)); got != nil {
			t.Errorf("%s proves no password by %x", name, got)
		}
	}
}

// server is a connection on which a server says what is written down, whatever it hears, and which keeps that.
type server struct {
	io.Reader
	bytes.Buffer
}

func (s *server) Read(b []byte) (int, error) { return s.Reader.Read(b) }

func says(packets ...string) *server {
	return &server{Reader: strings.NewReader(strings.Join(packets, ""))}
}

// sent is one packet.
func sent(number byte, body string) string {
	return string([]byte{byte(len(body)), byte(len(body) >> 8), 0, number}) + body
}

func raw(proof string) string { b, _ := hex.DecodeString(proof); return string(b) }

// TestStartTLS reads a seed in both of its parts, and asks for TLS.
func TestStartTLS(t *testing.T) {
	s := says(sent(0, "\x0a8.0.36\x00\x01\x00\x00\x00"+seed[:8]+"\x00\x00\xff\x2d\x02\x00\xff\xdf\x15"+strings.Repeat("\x00", 10)+seed[8:]+"\x00"))
	got, err := StartTLS(s)
	if err != nil || string(got) != seed {
		t.Errorf("seed %q, %v", got, err)
	}
	if want := sent(1, "\x01\xaa\x08\x00\x00\x00\x01\x00\x2d"+strings.Repeat("\x00", 23)); s.String() != want {
		t.Errorf("asked by %q, want %q", s.String(), want)
	}
}

// TestLogin has every way in which a server has a password proved, and what it hears.
func TestLogin(t *testing.T) {
	const ok, other = "\x00\x00\x00\x02\x00\x00\x00", "....................\x00" // and a seed that is wrong
	first := sent(2, "\x01\xaa\x08\x00\x00\x00\x01\x00\x2d"+strings.Repeat("\x00", 23)+"app\x00\x14"+raw(nativeProof)+"mysql_native_password\x00")
	switches := sent(3, "\xfecaching_sha2_password\x00"+seed+"\x00")
	for name, row := range map[string]struct {
		says  []string
		hears string // after the first
		err   string
	}{
		"native":            {[]string{sent(3, ok)}, "", ""},
		"native, switched":  {[]string{sent(3, "\xfemysql_native_password\x00"+seed+"\x00"), sent(5, ok)}, sent(4, raw(nativeProof)), ""},
		"caching, known":    {[]string{switches, sent(5, "\x01\x03"), sent(6, ok)}, sent(4, raw(cachingProof)), ""},
		"caching, in full":  {[]string{switches, sent(5, "\x01\x04"), sent(7, ok)}, sent(4, raw(cachingProof)) + sent(6, password+"\x00"), ""},
		"caching, refused":  {[]string{switches, sent(5, "\x01\x04"), sent(7, "\xff\x15\x04#28000no")}, sent(4, raw(cachingProof)) + sent(6, password+"\x00"), "the server answered error 1045: no"},
		"caching, a key":    {[]string{switches, sent(5, "\x01\x02")}, sent(4, raw(cachingProof)), ErrProtocol.Error()},
		"clear":             {[]string{sent(3, "\xfemysql_clear_password\x00"), sent(5, ok)}, sent(4, password+"\x00"), ""},
		"unknown":           {[]string{sent(3, "\xfeauth_gssapi_client\x00"+other)}, "", `the account logs in by "auth_gssapi_client", which is not known here: give it a password`},
		"without SQLSTATE":  {[]string{sent(3, "\xff\x10\x04Too many connections")}, "", "the server answered error 1040: Too many connections"},
		"no more than that": {[]string{sent(3, "\x01\x03"), sent(4, "\x01\x03"), sent(5, "\x01\x03"), sent(6, "\x01\x03"), sent(7, ok)}, "", ErrProtocol.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			s := says(row.says...)
			_, err := Login(s, Account{User: "app", Password: []byte(password)}, Seed(seed))
			if got := message(err); got != row.err {
				t.Errorf("%q, want %q", got, row.err)
			}
			if d := cmp.Diff(first+row.hears, s.String()); d != "" {
				t.Errorf("heard (-want +got):\n%s", d)
			}
		})
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestRefusal has the code of an error without its SQLSTATE, which goes to nobody.
func TestRefusal(t *testing.T) {
	var no *Refusal
	if err := refusal([]byte("\xff\x15\x04#28000Access denied")); !errors.As(err, &no) {
		t.Fatal(err)
	}
	if d := cmp.Diff(Refusal{Code: 1045, Text: "Access denied"}, *no); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// TestDo sends one statement, and then goodbye, each counted anew.
func TestDo(t *testing.T) {
	s := says(sent(3, "\x00\x00\x00\x02\x00\x00\x00"), sent(1, "\x00\x00\x00\x02\x00\x00\x00"), sent(1, "\xff\xcb\x04#42000no RELOAD"))
	session, err := Login(s, Account{User: "app"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.Reset()
	if err := session.Do("FLUSH SSL"); err != nil {
		t.Error(err)
	}
	if err := session.Do("FLUSH SSL"); message(err) != "the server answered error 1227: no RELOAD" {
		t.Error(err)
	}
	session.Quit()
	if want := strings.Repeat(sent(0, "\x03FLUSH SSL"), 2) + sent(0, "\x01"); s.String() != want {
		t.Errorf("heard %q, want %q", s.String(), want)
	}
}
