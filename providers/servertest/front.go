package servertest

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
)

// Front is a server that shows own, before one at an address that transport reaches. hook sees each request first; what it
// reports true of it has answered. It ends TLS, as some proxies do: the real server sees no certificates of clients.
func Front(t testing.TB, address string, transport http.RoundTripper, own tls.Certificate, hook func(http.ResponseWriter, *http.Request) bool) string {
	t.Helper()
	to, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.Transport = transport
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !hook(w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	front.Config.ErrorLog = log.New(io.Discard, "", 0) // clients hang up, as they should
	front.TLS = &tls.Config{Certificates: []tls.Certificate{own}}
	front.StartTLS()
	t.Cleanup(front.Close)
	return front.URL
}

// Answer always answers the same, with a Retry-After unless that is "".
func Answer(status int, retryAfter, body string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}
