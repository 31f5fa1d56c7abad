package web_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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

	// A pass that goes on lives as long as its steps move.
	s.Begin()
	s.later(35 * time.Minute)
	s.says("/healthz", 200, "alive")
	s.Step(reconcile.Event{Step: reconcile.Step{Action: reconcile.Issue{Identity: "web"}}, Said: "so far"})
	s.later(35 * time.Minute)
	s.says("/healthz", 200, "alive")
	s.later(time.Second)
	s.says("/healthz", 503, "stuck: nothing has moved for 35m1s, which is more than 35m0s")
	s.End(web.Pass{Trouble: web.SpecTrouble, Status: &reconcile.Status{}, Document: []byte("{}")})
	s.says("/healthz", 200, "alive")
	s.says("/readyz", 200, "tls.yaml cannot be used")
}

// TestGuard sends what is not to be answered, and looks at the headers of what is.
func TestGuard(t *testing.T) {
	s := newSite(t)
	s.pass(reconcile.Status{}, "{}")
	for _, path := range []string{"/", "/healthz", "/readyz", "/metrics", "/status.json", "/events", "/page.js", "/nothing"} {
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"} {
			if resp, _ := s.ask(method, path, nil); resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: %s, allows %q", method, path, resp.Status, resp.Header.Get("Allow"))
			}
		}
		resp, body := s.ask(http.MethodHead, path, nil)
		want := map[string]string{"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Cross-Origin-Resource-Policy": "same-origin", "Referrer-Policy": "no-referrer"}
		for name, value := range want {
			if got := resp.Header.Get(name); got != value {
				t.Errorf("%s: %s is %q, want %q", path, name, got, value)
			}
		}
		if csp := resp.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; script-src 'self'; ") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: the policy is %q", path, csp)
		}
		if body != "" || resp.StatusCode != http.StatusOK && path != "/nothing" {
			t.Errorf("HEAD %s: %s %q", path, resp.Status, body)
		}
	}
	for host, want := range map[string]int{
		"localhost": 200, "LOCALHOST:9000": 200, "127.0.0.1": 200, "127.0.0.1:80": 200, "[::1]:9000": 200, "[::1]": 200,
		"rebound.example": 421, "localhost.example": 421, "localhost:80:80": 421, "192.0.2.1": 421, "": 400,
	} {
		code := s.raw("GET /status.json HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n")
		if host == "" {
			code = s.raw("GET /status.json HTTP/1.1\r\nConnection: close\r\n\r\n")
		}
		if !strings.HasPrefix(code, fmt.Sprintf("HTTP/1.1 %d ", want)) {
			t.Errorf("Host %q: %q, want %d", host, code, want)
		}
	}
	if code := s.raw("GET / HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n"); !strings.Contains(code, " 431 ") {
		t.Errorf("a large header: %q", code)
	}
	s.says("/../../etc/passwd", 404, "")
}

// open sends a request, and leaves the answer open.
func (s *site) open(path string) *http.Response {
	s.t.Helper()
	resp, err := http.Get("http://" + s.address + path)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp
}

// raw sends bytes and returns the first line of the answer.
func (s *site) raw(request string) string {
	s.t.Helper()
	c, err := net.Dial("tcp", s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	go func() { _, _ = io.WriteString(c, request) }()
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		s.t.Fatal(err)
	}
	return line
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

// TestConnections opens as many connections as there may be: one more is answered when one of them goes.
func TestConnections(t *testing.T) {
	s := newSite(t)
	var all []net.Conn
	for range 64 {
		c, err := net.Dial("tcp", s.address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		all = append(all, c)
		if _, err := io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.Contains(line, " 200 ") {
			t.Fatalf("%q, %v", line, err)
		}
	}
	more, err := net.Dial("tcp", s.address) // the kernel takes it, the server does not
	if err != nil {
		t.Fatal(err)
	}
	defer more.Close()
	if _, err := io.WriteString(more, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	_ = more.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	var late net.Error
	if _, err := more.Read(make([]byte, 1)); !errors.As(err, &late) || !late.Timeout() {
		t.Fatalf("one more is answered: %v", err)
	}
	_ = all[0].Close()
	_ = more.SetReadDeadline(time.Now().Add(30 * time.Second))
	if line, err := bufio.NewReader(more).ReadString('\n'); err != nil || !strings.Contains(line, " 200 ") {
		t.Fatalf("%q, %v", line, err)
	}
}

// TestListen is about addresses: who can reach them, and what is at a path already.
func TestListen(t *testing.T) {
	for _, address := range []string{":0", "0.0.0.0:0", "[::]:0", "192.0.2.1:0"} {
		if _, err := web.Listen(address, false); !errors.Is(err, web.ErrPublic) {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, address := range []string{"", "127.0.0.1", "9000", "127.0.0.1:99999", "unix:", "unix:@certwright"} {
		if l, err := web.Listen(address, true); err == nil {
			t.Errorf("%q: listens at %s", address, l.Addr())
		}
	}
	for _, address := range []string{"127.0.0.1:0", "localhost:0"} {
		l, err := web.Listen(address, false)
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
	}
	l, err := web.Listen("0.0.0.0:0", true)
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()

	path := filepath.Join(t.TempDir(), "socket")
	first, err := web.Listen("unix:"+path, false)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if _, err := web.Listen("unix:"+path, false); err == nil || !strings.Contains(err.Error(), "somebody else listens") {
		t.Errorf("beside another one: %v", err)
	}
	first.(*net.UnixListener).SetUnlinkOnClose(false) // as a process that is killed
	_ = first.Close()
	next, err := web.Listen("unix:"+path, false)
	if err != nil {
		t.Fatal(err)
	}
	_ = next.Close()
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := web.Listen("unix:"+path, false); err == nil || !strings.Contains(err.Error(), "is no socket") {
		t.Errorf("over a file: %v", err)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "mine" {
		t.Errorf("the file holds %q, %v", data, err)
	}
}

// TestAsk asks one that lives, one that is stuck, and nobody.
func TestAsk(t *testing.T) {
	s := newSite(t)
	if said, err := web.Ask(t.Context(), s.address); err != nil || said != "alive: something moved 0s ago" {
		t.Errorf("%q, %v", said, err)
	}
	s.later(time.Hour)
	if said, err := web.Ask(t.Context(), s.address); err == nil || !strings.HasPrefix(err.Error(), "stuck: ") {
		t.Errorf("%q, %v", said, err)
	}
	for _, address := range []string{"unix:" + filepath.Join(t.TempDir(), "none"), "127.0.0.1:1", "no address", ""} {
		if said, err := web.Ask(t.Context(), address); err == nil {
			t.Errorf("%q: %q", address, said)
		}
	}
}

// TestMetrics compares all that is shown of a status that has a bit of everything.
func TestMetrics(t *testing.T) {
	s := newSite(t)
	end := func(days int) time.Time { return time.Unix(0, 0).AddDate(0, 0, days) }
	s.Begin()
	s.Step(reconcile.Event{Step: reconcile.Step{Action: reconcile.Issue{}}})
	s.Step(reconcile.Event{Step: reconcile.Step{Action: reconcile.Issue{}}, Done: true})
	s.Step(reconcile.Event{Step: reconcile.Step{Action: reconcile.Place{}}, Done: true, Err: errors.New("secret words")})
	s.Step(reconcile.Event{Step: reconcile.Step{Action: reconcile.Place{}}, Done: true, Err: reconcile.ErrChanged})
	s.later(2 * time.Second)
	s.End(web.Pass{Trouble: web.StepsTrouble, Document: []byte("{}"), Status: &reconcile.Status{
		CAs: []reconcile.CAStatus{{Name: "internal", Generations: []reconcile.Generation{
			{ID: 1, State: reconcile.GenerationRetiring, NotAfter: end(1)}, {ID: 2, State: reconcile.GenerationActive, NotAfter: end(2)},
		}}},
		Identities: []reconcile.IdentityStatus{
			{Name: "web", RenewAt: end(3), Issued: &reconcile.Issued{NotAfter: end(4), Chain: [][]byte{{1}}, Root: []byte{2}}},
			{Name: "none"},
		},
		Bindings: []reconcile.BindingStatus{
			{Name: `a"b` + "\n", State: reconcile.Stale, Reason: "secret words", Targets: []reconcile.TargetStatus{
				{Host: "local", Name: "shop-web-1", ServedSerial: "aa", WantedSerial: "bb", NotAfter: end(5), ChainNotAfter: end(4)},
				{Host: "local", Name: "shop-web-2", ServedSerial: "bb", WantedSerial: "bb", NotAfter: end(6), ChainNotAfter: end(6)},
				{Host: "local", Name: "shop-web-3", WantedSerial: "bb", Problem: "secret words"},
			}},
		},
	}})
	resp, body := s.ask(http.MethodGet, "/metrics", nil)
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Errorf("it is %q", resp.Header.Get("Content-Type"))
	}
	var got []string
	for line := range strings.Lines(body) {
		if !strings.HasPrefix(line, "#") && !strings.Contains(line, "_bucket{") && !strings.Contains(line, "build_info") {
			got = append(got, strings.TrimSuffix(strings.TrimPrefix(line, "certwright_"), "\n"))
		}
	}
	want := []string{
		`binding_state{binding="a\"b\n",state="Stale"} 1`,
		`ca_not_after_timestamp_seconds{ca="internal",generation="1",state="retiring"} 86400`,
		`ca_not_after_timestamp_seconds{ca="internal",generation="2",state="active"} 172800`,
		`certificate_not_after_timestamp_seconds{identity="web",member="leaf"} 345600`,
		`converged 0`,
		`identity_renewal_timestamp_seconds{identity="web"} 259200`,
		`interval_seconds 300`,
		`last_pass_trouble{cause="pass"} 0`,
		`last_pass_trouble{cause="spec"} 0`,
		`last_pass_trouble{cause="steps"} 1`,
		`last_success_timestamp_seconds 1.795608002e+09`,
		`pass_duration_seconds_sum 2`,
		`pass_duration_seconds_count 1`,
		`pass_errors_total{cause="pass"} 0`,
		`pass_errors_total{cause="spec"} 0`,
		`pass_errors_total{cause="steps"} 1`,
		`passes_total 1`,
		`served_not_after_timestamp_seconds{binding="a\"b\n",host="local",member="chain",replica="1"} 345600`,
		`served_not_after_timestamp_seconds{binding="a\"b\n",host="local",member="chain",replica="2"} 518400`,
		`served_not_after_timestamp_seconds{binding="a\"b\n",host="local",member="leaf",replica="1"} 432000`,
		`served_not_after_timestamp_seconds{binding="a\"b\n",host="local",member="leaf",replica="2"} 518400`,
		`served_wanted{binding="a\"b\n",host="local",replica="1"} 0`,
		`served_wanted{binding="a\"b\n",host="local",replica="2"} 1`,
		`steps_total{kind="issue",result="done"} 1`,
		`steps_total{kind="place",result="failed"} 1`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if strings.Contains(body, "secret words") || strings.Contains(body, "shop-web") {
		t.Errorf("it holds texts of errors or names of containers:\n%s", body)
	}

	// What a pass did not see, it does not take away.
	s.Begin()
	s.End(web.Pass{Trouble: web.PassTrouble, Document: []byte("{}")})
	if _, after := s.ask(http.MethodGet, "/metrics", nil); !strings.Contains(after, `certwright_served_wanted{`) || !strings.Contains(after, `certwright_pass_errors_total{cause="pass"} 1`) {
		t.Errorf("after a pass that saw nothing:\n%s", after)
	}
}
