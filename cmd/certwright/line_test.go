package main

import (
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// line leads to a server, or to another one that is put in its place, and knows when somebody called.
type line struct {
	address, first string // https://…: its own, and that of whom it leads to at first

	mu    sync.Mutex
	to    string // nobody if it is "": that one hangs up
	calls []time.Time
}

func newLine(t testing.TB, to string) *line {
	t.Helper()
	in, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close() })
	l := &line{address: "https://" + in.Addr().String(), first: to, to: to}
	go func() {
		for {
			conn, err := in.Accept()
			if err != nil {
				return
			}
			go l.connect(conn)
		}
	}()
	return l
}

// lead has it lead somewhere from now on. Nobody has called yet.
func (l *line) lead(to string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.to, l.calls = to, nil
}

func (l *line) connect(conn net.Conn) {
	defer conn.Close()
	l.mu.Lock()
	to := l.to
	l.calls = append(l.calls, time.Now())
	l.mu.Unlock()
	if to == "" {
		_, _ = conn.Read(make([]byte, 64<<10)) // what is unread would be a reset
		return
	}
	server, err := net.Dial("tcp", strings.TrimPrefix(to, "https://"))
	if err != nil {
		return
	}
	go func() {
		defer server.Close()
		_, _ = io.Copy(server, conn)
	}()
	_, _ = io.Copy(conn, server)
}

var failedIssue = regexp.MustCompile(`(?m)^time=(\S+) level=ERROR msg=step action="issue `)

// tries are the calls, as what watch has said so far tells one try from the next: when each began, and how many calls the longest was.
func (l *line) tries(said string) (began []time.Time, most int) {
	var ends []time.Time
	for _, m := range failedIssue.FindAllStringSubmatch(said, -1) {
		if at, err := time.Parse(time.RFC3339Nano, m[1]); err == nil {
			ends = append(ends, at.Add(time.Millisecond)) // the log cuts off what is less
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	calls, over := 0, 0
	for i, at := range l.calls {
		before := over
		for over < len(ends) && ends[over].Before(at) {
			over++
		}
		if i == 0 || over > before {
			began, calls = append(began, at), 0
		}
		calls++
		most = max(most, calls)
	}
	return began, most
}
