package web_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certwright/certwright/providers/web"
	"github.com/certwright/certwright/reconcile"
)

// site is a server that listens, with a clock of its own.
type site struct {
	*web.Server
	t       *testing.T
	address string
	stop    func()

	mu  sync.Mutex
	now time.Time
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, now: time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)}
	s.Server = web.New(web.Options{Version: "v1.2.3", Interval: 5 * time.Minute, Now: func() time.Time {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.now
	}})
	l, err := web.Listen("127.0.0.1:0", false)
	if err != nil {
		t.Fatal(err)
	}
	s.address = l.Addr().String()
	ctx, stop := context.WithCancel(t.Context())
	s.stop = stop
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *site) later(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

// pass makes a pass that saw a status.
func (s *site) pass(status reconcile.Status, document string) {
	s.Begin()
	s.End(web.Pass{Status: &status, Document: []byte(document)})
}

// ask sends a request; change may be nil.
func (s *site) ask(method, path string, change func(*http.Request)) (*http.Response, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.address+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if change != nil {
		change(req)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp, string(body)
}

// says ends the test unless a path answers with a code and a text.
func (s *site) says(path string, code int, text string) {
	s.t.Helper()
	if resp, body := s.ask(http.MethodGet, path, nil); resp.StatusCode != code || !strings.Contains(body, text) {
		s.t.Fatalf("%s: %d %q, want %d %q", path, resp.StatusCode, body, code, text)
	}
}

// TestHealth takes a watch through its life by the clock.
func TestHealth(t *testing.T) {
	s := newSite(t)
	s.says("/healthz", 200, "alive")
	s.says("/readyz", 503, "no pass has looked at everything yet")
	s.Begin()
	s.End(web.Pass{Trouble: web.PassTrouble, Document: []byte("{}")})
	s.says("/readyz", 503, "the last one could not look at everything")

	s.pass(reconcile.Status{}, "{}")
	s.later(11 * time.Minute)
	s.says("/readyz", 200, "ready: the last full pass ended 11m0s ago")
	s.later(time.Second)
	s.says("/readyz", 503, "not ready: the last full pass ended 11m1s ago, which is more than 11m0s")
	s.says("/healthz", 200, "alive: something moved 11m1s ago")

	// A pass that goes on lives as long as it moves, and as it said that it may be silent.
	s.Begin()
	s.later(35 * time.Minute)
	s.says("/healthz", 200, "alive")
	s.Moved(2 * time.Hour)
	s.later(2*time.Hour + 5*time.Minute)
	s.says("/healthz", 200, "alive")
	s.Moved(15 * time.Minute)
	s.later(35 * time.Minute)
	s.says("/healthz", 200, "alive")
	s.later(time.Second)
	s.says("/healthz", 503, "stuck: nothing has moved for 35m1s, which is more than 35m0s")
	s.End(web.Pass{Trouble: web.SpecTrouble, Status: &reconcile.Status{}, Document: []byte("{}")})
	s.says("/healthz", 200, "alive")
	s.says("/readyz", 200, "tls.yaml cannot be used")
}

// TestStatus gives the document as it is, once.
func TestStatus(t *testing.T) {
	s := newSite(t)
	s.says("/status.json", 503, "no pass has ended yet")
	s.pass(reconcile.Status{}, `{"project":"<shop>"}`)
	resp, body := s.ask(http.MethodGet, "/status.json", nil)
	if body != `{"project":"<shop>"}` || resp.Header.Get("Content-Type") != "application/json; charset=utf-8" {
		t.Errorf("%v: %s", resp.Header, body)
	}
	again := func(r *http.Request) { r.Header.Set("If-None-Match", resp.Header.Get("ETag")) }
	if resp, body := s.ask(http.MethodGet, "/status.json", again); resp.StatusCode != http.StatusNotModified || body != "" {
		t.Errorf("again: %s %q", resp.Status, body)
	}
	s.pass(reconcile.Status{}, "{}")
	if resp, body := s.ask(http.MethodGet, "/status.json", again); resp.StatusCode != http.StatusOK || body != "{}" {
		t.Errorf("another: %s %q", resp.Status, body)
	}
}

// TestEvents opens as many streams as there may be. Each hears of a pass, and one that ends makes room.
func TestEvents(t *testing.T) {
	s := newSite(t)
	s.pass(reconcile.Status{}, "{}")
	var streams []*bufio.Scanner
	var close func() error
	for range 16 {
		resp := s.open("/events")
		if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
			t.Fatalf("%v", resp)
		}
		defer resp.Body.Close()
		close = resp.Body.Close
		streams = append(streams, bufio.NewScanner(resp.Body))
	}
	first := make([]string, len(streams))
	for i, lines := range streams {
		first[i] = event(t, lines)
	}
	s.says("/events", 503, "too many streams")
	s.says("/healthz", 200, "alive")
	s.pass(reconcile.Status{}, `{"project":"shop"}`)
	for i, lines := range streams {
		if got := event(t, lines); got == first[i] || got == "" {
			t.Errorf("stream %d says %q after %q", i, got, first[i])
		}
	}
	if err := close(); err != nil {
		t.Fatal(err)
	}
	poll(t, "room for another stream", func() bool {
		resp := s.open("/events")
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// event returns the data of the next event of a stream.
func event(t *testing.T, lines *bufio.Scanner) string {
	t.Helper()
	for lines.Scan() {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			return data
		}
	}
	t.Fatalf("the stream ended: %v", lines.Err())
	return ""
}

// poll waits until something is so.
func poll(t *testing.T, what string, is func() bool) {
	t.Helper()
	end := time.NewTimer(30 * time.Second)
	defer end.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-end.C:
			t.Fatalf("waited for %s", what)
		case <-tick.C:
		}
	}
}
