package web_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/reconcile"
)

// TestGuard sends what is not to be answered, and looks at the headers of what is.
func TestGuard(t *testing.T) {
	s := newSite(t)
	s.pass(reconcile.Status{}, "{}")
	for _, path := range []string{"/", "/healthz", "/readyz", "/metrics", "/status.json", "/events", "/page.js", "/nothing"} {
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"} {
			if resp, _ := s.ask(method, path, nil); resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: %s, allows %q", method, path, resp.Status, resp.Header.Get("Allow"))
			}
		}
		resp, body := s.ask(http.MethodHead, path, nil)
		want := map[string]string{"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Cross-Origin-Resource-Policy": "same-origin", "Referrer-Policy": "no-referrer"}
		for name, value := range want {
			if got := resp.Header.Get(name); got != value {
				t.Errorf("%s: %s is %q, want %q", path, name, got, value)
			}
		}
		if csp := resp.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; script-src 'self'; ") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: the policy is %q", path, csp)
		}
		if body != "" || resp.StatusCode != http.StatusOK && path != "/nothing" {
			t.Errorf("HEAD %s: %s %q", path, resp.Status, body)
		}
	}
	for host, want := range map[string]int{
		"localhost": 200, "LOCALHOST:9000": 200, "127.0.0.1": 200, "127.0.0.1:80": 200, "[::1]:9000": 200, "[::1]": 200,
		"rebound.example": 421, "localhost.example": 421, "localhost:80:80": 421, "192.0.2.1": 421, "": 400,
	} {
		code := s.raw("GET /status.json HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n")
		if host == "" {
			code = s.raw("GET /status.json HTTP/1.1\r\nConnection: close\r\n\r\n")
		}
		if !strings.HasPrefix(code, fmt.Sprintf("HTTP/1.1 %d ", want)) {
			t.Errorf("Host %q: %q, want %d", host, code, want)
		}
	}
	if code := s.raw("GET / HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n"); !strings.Contains(code, " 431 ") {
		t.Errorf("a large header: %q", code)
	}
	s.says("/../../etc/passwd", 404, "")
}

// open sends a request, and leaves the answer open.
func (s *site) open(path string) *http.Response {
	s.t.Helper()
	resp, err := http.Get("http://" + s.address + path)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp
}

// raw sends bytes and returns the first line of the answer.
func (s *site) raw(request string) string {
	s.t.Helper()
	c, err := net.Dial("tcp", s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	go func() { _, _ = io.WriteString(c, request) }()
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		s.t.Fatal(err)
	}
	return line
}

// TestConnections opens as many connections as there may be: one more is answered when one of them goes.
func TestConnections(t *testing.T) {
	s := newSite(t)
	var all []net.Conn
	for range 64 {
		c, err := net.Dial("tcp", s.address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		all = append(all, c)
		if _, err := io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.Contains(line, " 200 ") {
			t.Fatalf("%q, %v", line, err)
		}
	}
	more, err := net.Dial("tcp", s.address) // the kernel takes it, the server does not
	if err != nil {
		t.Fatal(err)
	}
	defer more.Close()
	if _, err := io.WriteString(more, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	_ = more.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	var late net.Error
	if _, err := more.Read(make([]byte, 1)); !errors.As(err, &late) || !late.Timeout() {
		t.Fatalf("one more is answered: %v", err)
	}
	_ = all[0].Close()
	_ = more.SetReadDeadline(time.Now().Add(30 * time.Second))
	if line, err := bufio.NewReader(more).ReadString('\n'); err != nil || !strings.Contains(line, " 200 ") {
		t.Fatalf("%q, %v", line, err)
	}
}
