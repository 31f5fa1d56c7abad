package vaulttest

import (
	"net/http"
	"testing"
	"time"

	"github.com/certwright/certwright/providers/servertest"
)

// Front is a server of the same root before the real one (servertest.Front).
func (s *Server) Front(t testing.TB, hook func(w http.ResponseWriter, r *http.Request) bool) (address string) {
	t.Helper()
	return servertest.Front(t, s.Address, s.transport(), s.own.Leaf(t, "front", time.Now().Add(24*time.Hour)).TLS(), hook)
}
