package reload

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/certwright/certwright/providers/command"
)

// redis makes Redis or Valkey read its files again: setting the paths it already has does that, for all or none
// of the three when they come in one command (redis.io, CONFIG SET, since 7.0). A pair that does not match is
// refused by the server and the old one stays.
func (t talk) redis(ctx context.Context, what string) error {
	conn, err := t.secure(ctx)
	if err != nil {
		return err
	}
	server := newRESP(conn)
	paths, err := server.enter(t.user, t.password)
	if err != nil && !errors.As(err, new(refusal)) && t.env.Client == nil {
		return fmt.Errorf("%w (no client certificate could be offered)", err)
	}
	if err != nil {
		return err
	}
	return t.Around.Do(what, func() error { return server.setPaths(paths) })
}

// resp speaks as much of Redis's protocol as reloading needs (redis.io, "Redis serialization protocol", RESP2).
type resp struct {
	w io.Writer
	r *bufio.Reader
}

// respMax bounds a line or a string of a reply; a path is shorter.
const respMax = 8 << 10

func newRESP(c net.Conn) resp { return resp{w: c, r: bufio.NewReaderSize(c, respMax)} }

// refusal is an error that the server answered.
type refusal string

func (r refusal) Error() string { return "the server refused " + string(r) }

// ask sends one command and returns the strings of the reply.
func (r resp) ask(words ...string) ([]string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, w := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
	}
	if _, err := io.WriteString(r.w, b.String()); err != nil {
		return nil, err
	}
	return r.reply(true)
}

func (r resp) reply(nest bool) ([]string, error) {
	line, err := r.r.ReadSlice('\n')
	if err != nil {
		return nil, fmt.Errorf("read its answer: %w", err)
	}
	kind, text := line[0], strings.TrimRight(string(line[1:]), "\r\n")
	n, numErr := strconv.Atoi(text)
	switch {
	case kind == '+' || kind == ':':
		return []string{text}, nil
	case kind == '-':
		said := command.First(maxSaid)
		_, _ = io.WriteString(said, text)
		return nil, refusal("it: " + said.String())
	case kind == '$' && numErr == nil && n >= 0 && n <= respMax:
		data := make([]byte, n+2)
		_, err := io.ReadFull(r.r, data)
		return []string{string(data[:n])}, err
	case kind == '*' && numErr == nil && nest && n >= 0 && n <= 64:
		var all []string
		for range n {
			one, err := r.reply(false)
			if err != nil {
				return nil, err
			}
			all = append(all, one...)
		}
		return all, nil
	}
	return nil, errors.New("its answer is not Redis's protocol")
}

// enter logs in and asks for the paths. In TLS 1.3 a client without a certificate is refused only here.
func (r resp) enter(user string, password []byte) (map[string]string, error) {
	if err := r.login(user, password); err != nil {
		return nil, err
	}
	return r.paths()
}

// login authenticates if there is a password. The server's words are not repeated: they can hold the arguments.
func (r resp) login(user string, password []byte) error {
	if password == nil {
		return nil
	}
	words := []string{"AUTH", string(password)}
	if user != "" {
		words = []string{"AUTH", user, string(password)}
	}
	_, err := r.ask(words...)
	if errors.As(err, new(refusal)) {
		return refusal("the username or password")
	}
	return err
}

// paths asks for the files the server was told to use. The pattern leaves out tls-key-file-pass.
func (r resp) paths() (map[string]string, error) {
	flat, err := r.ask("CONFIG", "GET", "tls-*-file")
	if err != nil {
		return nil, err
	}
	paths := map[string]string{}
	for i := 0; i+1 < len(flat); i += 2 {
		paths[flat[i]] = flat[i+1]
	}
	if paths["tls-cert-file"] == "" {
		return nil, errors.New("the server has no tls-cert-file")
	}
	return paths, nil
}

// setPaths sets them to what they are. Redis 6 takes one at a time, and reads all files again for any.
func (r resp) setPaths(paths map[string]string) error {
	words := []string{"CONFIG", "SET"}
	for _, name := range []string{"tls-cert-file", "tls-key-file", "tls-ca-cert-file"} {
		if paths[name] != "" {
			words = append(words, name, paths[name])
		}
	}
	_, err := r.ask(words...)
	var refused refusal
	if errors.As(err, &refused) && strings.Contains(strings.ToLower(string(refused)), "wrong number of arguments") {
		_, err = r.ask("CONFIG", "SET", "tls-cert-file", paths["tls-cert-file"])
	}
	return err
}
