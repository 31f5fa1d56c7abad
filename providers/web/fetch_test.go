package web_test

import (
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/certwright/certwright/providers/web"
)

// serving is a server, over TLS or not, that counts who asks.
type serving struct {
	*httptest.Server
	asked atomic.Int32
}

func serve(t *testing.T, secure bool, answer http.HandlerFunc) *serving {
	t.Helper()
	s := &serving{}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		answer(w, r)
	})
	start := httptest.NewServer
	if secure {
		start = httptest.NewTLSServer
	}
	s.Server = start(handler)
	t.Cleanup(s.Close)
	return s
}

func saying(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
}

// fetches wants an error that says something, or none, and then the text.
func fetches(t *testing.T, url, text, says string) {
	t.Helper()
	data, err := web.Fetch(t.Context(), url, sha256.Sum256([]byte(text)), nil)
	switch {
	case says == "" && (err != nil || string(data) != text):
		t.Errorf("%s: %d bytes, %v", url, len(data), err)
	case says != "" && (err == nil || data != nil || !strings.Contains(err.Error(), says)):
		t.Errorf("%s: %d bytes, %v, want %q", url, len(data), err, says)
	}
}

// TestFetch takes what has the fingerprint, from whoever serves it, and nothing else.
func TestFetch(t *testing.T) {
	const text = "-----BEGIN CERTIFICATE-----\n"
	for _, secure := range []bool{false, true} { // the certificate is one that nobody trusts
		s := serve(t, secure, saying(text))
		fetches(t, s.URL+"/trust/internal.pem", text, "")
		for _, other := range []string{text + "\n", text[1:], ""} {
			_, err := web.Fetch(t.Context(), s.URL+"/trust/internal.pem?token=swordfish", sha256.Sum256([]byte(other)), nil)
			want := fmt.Sprintf("%s/trust/internal.pem has another fingerprint than the one that is pinned: it is %x, not %x",
				s.URL, sha256.Sum256([]byte(text)), sha256.Sum256([]byte(other)))
			if !errors.Is(err, web.ErrFingerprint) || err.Error() != want {
				t.Errorf("%v, want %s", err, want)
			}
		}
	}
}

// TestFetchBounds meets answers that are too large, too long on their way, or none.
func TestFetchBounds(t *testing.T) {
	full := strings.Repeat("x", web.MaxBundle)
	fetches(t, serve(t, false, saying(full)).URL, full, "")
	fetches(t, serve(t, false, saying(full+"x")).URL, full+"x", "it is larger than 1048576 bytes")
	fetches(t, serve(t, false, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = io.WriteString(z, full+"x")
		_, _ = z.Flush(), http.NewResponseController(w).Flush()
		<-r.Context().Done() // there may be more, for which nobody waits
	}).URL, full, "it is larger than 1048576 bytes")
	fetches(t, serve(t, false, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X", strings.Repeat("x", 64<<10))
	}).URL, "", "headers exceeded")
	fetches(t, serve(t, false, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "9")
		_, _ = io.WriteString(w, "half")
	}).URL, "half", "unexpected EOF")
	fetches(t, serve(t, false, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "text", http.StatusNotFound) }).URL, "text\n", "the answer is 404 Not Found")
	fetches(t, serve(t, false, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }).URL, "", "the answer is 204 No Content")
	gone := serve(t, false, saying(""))
	gone.Close()
	fetches(t, gone.URL, "", "connection refused")
}

// TestFetchTakesItsTime meets one that sends a byte now and then, for ever.
func TestFetchTakesItsTime(t *testing.T) {
	t.Parallel()
	s := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			if _, err := io.WriteString(w, "x"); err != nil || http.NewResponseController(w).Flush() != nil {
				return
			}
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			}
		}
	})
	began := time.Now()
	fetches(t, s.URL, "", "no whole answer within 10s")
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
}

// TestFetchRedirects follows them within a scheme, and not for ever.
func TestFetchRedirects(t *testing.T) {
	to := func(url string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, url, http.StatusFound) }
	}
	for _, secure := range []bool{false, true} {
		here, there := serve(t, secure, saying("roots")), serve(t, !secure, saying("roots"))
		fetches(t, serve(t, secure, to(here.URL)).URL, "roots", "")
		fetches(t, serve(t, secure, to(there.URL)).URL, "roots", ": give the URL it leads to")
		fetches(t, serve(t, secure, to("file:///etc/hostname")).URL, "roots", "to file: give the URL it leads to")
		if there.asked.Load() != 0 {
			t.Error("the other scheme was asked")
		}
		round := serve(t, secure, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) })
		fetches(t, round.URL, "roots", "it leads on and on: 6 redirects")
		if asked := round.asked.Load(); asked != 6 {
			t.Errorf("it was asked %d times", asked)
		}
	}
}

// TestFetchAsks asks nobody where the URL is none, where a password would be sent, or where the effect is refused.
func TestFetchAsks(t *testing.T) {
	s := serve(t, false, saying("roots"))
	host := strings.TrimPrefix(s.URL, "http://")
	for _, url := range []string{"", host, "unix:socket", "file:///etc/hostname", "ftp://" + host, "http:" + host, "http:///trust", "http://" + host + "/\x7f", "http://[::1"} {
		fetches(t, url, "roots", "the URL of a bundle is http://HOST/trust/CA.pem, or https")
	}
	_, err := web.Fetch(t.Context(), "http://ops:swordfish@"+host, sha256.Sum256([]byte("roots")), nil)
	if err == nil || !strings.Contains(err.Error(), "the URL has a user") || strings.Contains(err.Error(), "swordfish") {
		t.Errorf("with a password: %v", err)
	}
	broken := errors.New("broken")
	effect := ""
	_, err = web.Fetch(t.Context(), s.URL+"/roots?token=swordfish", sha256.Sum256([]byte("roots")), func(what string, _ func() error) error {
		effect = what
		return broken
	})
	if !errors.Is(err, broken) || effect != "GET "+s.URL+"/roots" || strings.Contains(err.Error(), "swordfish") {
		t.Errorf("refused %q: %v", effect, err)
	}
	if asked := s.asked.Load(); asked != 0 {
		t.Errorf("it was asked %d times", asked)
	}
}
