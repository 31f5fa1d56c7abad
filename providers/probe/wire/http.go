package wire

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/certwright/certwright/reconcile"
)

// refusals are the words nginx puts into its answer 400 when it refuses a client certificate after a handshake
// that it let succeed (ngx_http_special_response.c, pages of 495 and 496).
var refusals = []string{"No required SSL certificate was sent", "The SSL certificate error"}

// askHTTP sends a request that every HTTP server answers. Any bytes that are no refusal mean let in.
func askHTTP(conn net.Conn, q Question) (reconcile.Answer, error) {
	if !q.Silent {
		// A refused client may not get this out any more; what the server said first is still there to read.
		_, _ = fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nUser-Agent: certwright\r\nConnection: close\r\n\r\n", hostHeader(q.Host))
	}
	var got []byte
	buf := make([]byte, 4096)
	for len(got) < limit {
		n, err := conn.Read(buf[:min(len(buf), limit-len(got))])
		got = append(got, buf[:n]...)
		if len(got) == 0 && err != nil {
			return reconcile.NotAsked, err
		}
		refused, more := httpRefusal(got)
		if refused != "" {
			return reconcile.Refused, errors.New("the server answered " + refused)
		}
		if !more || err != nil {
			break
		}
	}
	return reconcile.LetIn, nil
}

// hostHeader is a name as a Host header has it (RFC 9110 section 7.2, RFC 3986 section 3.2.2): IPv6 in brackets, and never
// nothing. nginx answers a plain 400 to a malformed one before it looks at the client's certificate, which would pass for
// having let it in.
func hostHeader(name string) string {
	if name == "" {
		return "localhost"
	}
	if ip, err := netip.ParseAddr(name); err == nil && ip.Is6() {
		return "[" + name + "]"
	}
	return name
}

// httpRefusal returns the words of a refusal in the start of an answer, and whether more of it could hold one.
func httpRefusal(got []byte) (words string, more bool) {
	const version = "HTTP/1.1 "
	if len(got) < len(version)+3 {
		return "", bytes.HasPrefix([]byte(version), got[:min(len(got), 7)])
	}
	if !bytes.HasPrefix(got, []byte("HTTP/1.")) {
		return "", false
	}
	switch status := string(got[len(version) : len(version)+3]); status {
	case "495", "496": // nginx's own numbers, when an error_page passes them on
		return "HTTP " + status, false
	case "400":
		for _, r := range refusals {
			if bytes.Contains(got, []byte(r)) {
				return "HTTP 400: " + r, false
			}
		}
		return "", true
	}
	return "", false
}
