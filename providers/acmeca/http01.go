package acmeca

import (
	"io"
	"log"
	"net"
	"net/http"
	"time"
)

// serveHTTP says nothing but what the server looks for: anybody may ask.
func (l *listening) serveHTTP(ln net.Listener) (end func() error) {
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			answer, ok := l.asked(r.URL.Path).(string)
			if !ok || (r.Method != http.MethodGet && r.Method != http.MethodHead) {
				http.NotFound(w, r)
				return
			}
			w.Header().Set("Content-Type", "application/octet-stream")
			_, _ = io.WriteString(w, answer)
		}),
		ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second, IdleTimeout: 5 * time.Second, MaxHeaderBytes: 8 << 10,
		ErrorLog: log.New(io.Discard, "", 0),
	}
	go func() { _ = srv.Serve(ln) }()
	return srv.Close
}
