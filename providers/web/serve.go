package web

import (
	"bytes"
	"context"
	"embed"
	"net"
	"net/http"
	"net/netip"
	"path"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"
)

// Bounds on what callers can take up. A browser opens six connections for a page, a stream is one of them.
const (
	maxConnections = 64
	maxStreams     = 16
	maxHeader      = 16 << 10
	patience       = 10 * time.Second // to send a request, and to take an answer
	idle           = 5 * time.Second  // for the next one: who has no more to ask leaves room
)

//go:embed page
var page embed.FS

// policy lets the page load what lies beside it, and nothing else: no text can become a script.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

// Serve answers at a listener until ctx ends; the listener is closed then.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler:           guard(l.Addr(), s.handler),
		ReadHeaderTimeout: patience, ReadTimeout: patience, WriteTimeout: patience, IdleTimeout: idle,
		MaxHeaderBytes:               maxHeader,
		DisableGeneralOptionsHandler: true,
		BaseContext:                  func(net.Listener) context.Context { return ctx },
	}
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = srv.Close()
		close(closed)
	})
	err := srv.Serve(netutil.LimitListener(l, maxConnections))
	if stop() { // it failed by itself
		return err
	}
	<-closed // the listener, and with it its socket
	return nil
}

func (s *Server) routes() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("/healthz", answer(s.alive))
	m.HandleFunc("/readyz", answer(s.ready))
	m.Handle("/metrics", promhttp.HandlerFor(s.registry(), promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, DisableCompression: true}))
	m.HandleFunc("/status.json", s.status)
	m.HandleFunc("/events", s.events)
	m.HandleFunc("/trust/{file}", s.trust)
	files, _ := page.ReadDir("page") // it is part of the program
	for _, f := range files {
		m.HandleFunc("/"+f.Name(), file(f.Name()))
	}
	m.HandleFunc("/{$}", file("index.html"))
	return m
}

// kinds are told by name, as the machine's own list of them may be another.
var kinds = map[string]string{".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

// file serves a file of the page.
func file(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", kinds[path.Ext(name)]+"; charset=utf-8")
		http.ServeFileFS(w, r, page, "page/"+name)
	}
}

// status serves the document.
func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	document, tag, _ := s.shown()
	if document == nil {
		http.Error(w, "no pass has ended yet", http.StatusServiceUnavailable)
		return
	}
	tagged(w, r, "application/json; charset=utf-8", tag, document)
}

// tagged serves data of a kind, unless the caller has what the tag stands for.
func tagged(w http.ResponseWriter, r *http.Request, kind, tag string, data []byte) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("ETag", tag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

// guard lets a request through that only reads, and that a browser sends to this address knowingly.
func guard(address net.Addr, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "everything here can only be read", http.StatusMethodNotAllowed)
		case loopback(address) && !here(r.Host):
			// A page from elsewhere can give its own name this address, and would then be asked as if it were this one.
			http.Error(w, "ask for localhost, 127.0.0.1 or [::1]", http.StatusMisdirectedRequest)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// here reports whether the Host of a request names this machine.
func here(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	if strings.EqualFold(name, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return err == nil && ip.IsLoopback()
}
