package reload

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// TestRequestIsDiscreet makes requests that fail, by a URL with a token in it: nobody is told the token, nor control characters
// of the server's.
func TestRequestIsDiscreet(t *testing.T) {
	says := func(answer string) func(context.Context, int) (net.Conn, error) {
		return func(context.Context, int) (net.Conn, error) {
			here, there := net.Pipe()
			go func() {
				defer there.Close()
				if _, err := http.ReadRequest(bufio.NewReader(there)); err == nil {
					_, _ = there.Write([]byte(answer))
				}
			}()
			return here, nil
		}
	}
	for name, c := range map[string]struct {
		url, want string
		dial      func(context.Context, int) (net.Conn, error)
	}{
		"nobody is there": {"http://x/reload?token=S3CRET", "POST on port 80: nobody is there", func(context.Context, int) (net.Conn, error) { return nil, errors.New("nobody is there") }},
		"it hangs up":     {"http://x:81/reload?token=S3CRET", "POST on port 81: EOF", says("")},
		"it refuses":      {"http://x/reload?token=S3CRET", "the server answered 500 Internal Server Error: no [2J way", says("HTTP/1.1 500 \x1b[2Jevil\r\nContent-Length: 11\r\n\r\nno \x1b[2J way")},
		"no URL":          {"http://x/\x7f?token=S3CRET", "net/url: invalid control character in URL", nil},
		"no server":       {"ftp://x/?token=S3CRET", `the URL has scheme "ftp", not http or https`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := Server{Dial: c.dial, Now: time.Now}
			err := s.HTTP(t.Context(), spec.Reload{HTTP: &spec.HTTPReload{URL: c.url}}, reconcile.ReloadEnv{})
			if err == nil || strings.TrimSpace(err.Error()) != c.want {
				t.Errorf("%q, want %q", err, c.want)
			}
		})
	}
}
