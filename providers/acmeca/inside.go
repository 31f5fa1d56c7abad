package acmeca

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

const (
	// maxMessage bounds what a courier and certwright say to each other at once: some thousand challenges.
	maxMessage = 1 << 20
	// answerTimeout is how long a courier may take to answer in another way.
	answerTimeout = 10 * time.Second
)

// courier answers challenges in the network of a container: a process there that Listen runs in. Messages are lines of JSON:
// a reply when it listens, and one to each list of all challenges that are to be answered.
type courier struct {
	net.Conn
	replies *bufio.Scanner
}

// reply says whether what was wanted is so now.
type reply struct {
	Error string
}

func (l listener) listenInside(ctx context.Context) (answers, error) {
	if l.Courier == nil {
		return nil, fmt.Errorf("names are proved in the network of container %s by a courier, and this command makes none", l.at.Container)
	}
	conn, err := l.Courier(ctx, l.at.Container, "listen", l.kind, strconv.Itoa(l.at.Port))
	if err != nil {
		return nil, err
	}
	c := courier{conn, lines(conn)}
	if err := c.heed(); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("in the network of container %s: %w", l.at.Container, err)
	}
	return c, nil
}

func (c courier) give(all []acme.Challenge) error {
	plain := make([]acme.Challenge, len(all))
	for i, each := range all {
		plain[i] = acme.Challenge{Type: each.Type, Token: each.Token, KeyAuthorization: each.KeyAuthorization, Identifier: each.Identifier}
	}
	line, err := json.Marshal(plain)
	if err != nil {
		return err
	}
	if len(line) >= maxMessage {
		return fmt.Errorf("%d challenges at once are more than a courier takes", len(all))
	}
	_ = c.SetWriteDeadline(time.Now().Add(answerTimeout))
	if _, err := c.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("courier: %w", err)
	}
	return c.heed()
}

// heed reads a reply.
func (c courier) heed() error {
	_ = c.SetReadDeadline(time.Now().Add(answerTimeout))
	var r reply
	err := next(c.replies, &r)
	switch {
	case errors.Is(err, io.EOF):
		return errors.New("the courier ended before it answered")
	case err != nil:
		return fmt.Errorf("courier: %w", err)
	case r.Error != "":
		return errors.New(r.Error)
	}
	return nil
}

// Listen is the courier's side: it listens at a port for servers that want names proved in a way (http-01 or tls-alpn-01), and
// answers the challenges of the last message on stdin, until that ends. The keys of certificates that answer are made here.
// It is what `certwright courier listen KIND PORT` runs.
func Listen(kind, port string, stdin io.Reader, stdout io.Writer) error {
	say := func(err error) error {
		var r reply
		if err != nil {
			r.Error = err.Error()
		}
		return json.NewEncoder(stdout).Encode(r)
	}
	ln, err := net.Listen("tcp", ":"+port)
	if err != nil {
		return say(err)
	}
	l, err := answer(kind, ln)
	if err != nil {
		return say(err)
	}
	defer l.Close()
	var wrong error
	for messages := lines(stdin); ; {
		if err := say(wrong); err != nil {
			return err
		}
		var all []acme.Challenge
		err := next(messages, &all)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("message: %w", err)
		}
		wrong = l.give(all)
	}
}

func lines(r io.Reader) *bufio.Scanner {
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxMessage)
	return s
}

// next reads a message. It is io.EOF where there is none.
func next(s *bufio.Scanner, message any) error {
	if !s.Scan() {
		if err := s.Err(); err != nil {
			return err
		}
		return io.EOF
	}
	return json.Unmarshal(s.Bytes(), message)
}
