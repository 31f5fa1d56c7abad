package dockerd

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/certwright/certwright/reconcile"
)

// TestAdmits tells who is let in, and an engine from what is none.
func TestAdmits(t *testing.T) {
	t.Parallel()
	answer := func(server string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Server", server)
			if r.URL.Path != "/_ping" {
				w.WriteHeader(http.StatusNotFound)
			}
		})
	}
	for name, row := range map[string]struct {
		server string
		start  func(*httptest.Server)
		want   reconcile.Admission
	}{
		"plain":     {"Docker/20.10.24 (linux)", (*httptest.Server).Start, reconcile.Anybody},
		"TLS":       {"Docker/20.10.24 (linux)", (*httptest.Server).StartTLS, reconcile.AnyClient},
		"no engine": {"nginx", (*httptest.Server).Start, reconcile.Closed},
		"mutual": {"Docker/20.10.24 (linux)", func(s *httptest.Server) {
			s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
			s.StartTLS()
		}, reconcile.Guarded},
		"mutual, TLS 1.2": {"Docker/20.10.24 (linux)", func(s *httptest.Server) {
			s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12}
			s.StartTLS()
		}, reconcile.Guarded},
	} {
		s := httptest.NewUnstartedServer(answer(row.server))
		row.start(s)
		if got := (Machine{}).Admits(t.Context(), "local", s.Listener.Addr().String()); got != row.want {
			t.Errorf("%s: %d, want %d", name, got, row.want)
		}
		address := s.Listener.Addr().String()
		s.Close()
		if got := (Machine{}).Admits(t.Context(), "local", address); got != reconcile.Closed {
			t.Errorf("nobody: %d", got)
		}
	}
}
