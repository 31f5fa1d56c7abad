package web

import (
	"fmt"
	"net/http"
	"time"
)

// beat is how often a stream says something, so that either end sees when the other is gone.
const beat = 20 * time.Second

// events is a stream of server-sent events: the tag of the document, now and whenever a pass ends. There are at most
// maxStreams; who gets none asks again and again.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		w.Header().Set("Retry-After", "10")
		http.Error(w, "too many streams are open", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	if r.Method == http.MethodHead {
		return
	}
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Time{}) // the request has been read; both can be set on a connection
	for {
		_, tag, changed := s.shown()
		_ = c.SetWriteDeadline(time.Now().Add(patience))
		if _, err := fmt.Fprintf(w, "event: status\ndata: %s\n\n", tag); err != nil || c.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-changed:
		case <-time.After(beat):
		}
	}
}
