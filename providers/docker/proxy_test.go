package docker

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// engineSocket is where the engine of the tests listens; the proxy stands before it.
func engineSocket() string {
	if h := os.Getenv("DOCKER_HOST"); h != "" {
		return strings.TrimPrefix(h, "unix://")
	}
	return "/var/run/docker.sock"
}

// recorder passes requests on to the engine and remembers each as "METHOD /path" without the API version.
type recorder struct {
	socket  string // where it listens
	handler http.Handler
	mu      sync.Mutex
	seen    []string
}

var version = regexp.MustCompile(`^/v1\.\d+/`)

// proxy is the recorder of the whole test run: every Engine of a test that asks an engine goes through it.
var proxy *recorder

func newRecorder(dir string) (*recorder, error) {
	r := &recorder{socket: filepath.Join(dir, "proxy.sock")}
	l, err := net.Listen("unix", r.socket)
	if err != nil {
		return nil, err
	}
	dial := func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", engineSocket()) }
	forward := &httputil.ReverseProxy{
		Director:      func(q *http.Request) { q.URL.Scheme, q.URL.Host = "http", "engine" },
		Transport:     &http.Transport{DialContext: dial},
		FlushInterval: -1,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, err.Error(), http.StatusBadGateway)
		},
	}
	r.handler = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.mu.Lock()
		r.seen = append(r.seen, q.Method+" "+version.ReplaceAllString(q.URL.Path, "/"))
		r.mu.Unlock()
		forward.ServeHTTP(w, q)
	})
	go func() { _ = http.Serve(l, r.handler) }()
	return r, nil
}

// requests returns what was asked so far.
func (r *recorder) requests() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.seen...)
}

// pattern turns the path of a Call into an expression for whole requests.
func (c Call) pattern() *regexp.Regexp {
	path := regexp.QuoteMeta(c.Path)
	path = strings.ReplaceAll(path, `\{id\}`, `[a-zA-Z0-9_.-]+`)
	path = strings.ReplaceAll(path, `\{name\}`, `[a-zA-Z0-9_.:/-]+`)
	return regexp.MustCompile("^" + c.Method + " " + path + "$")
}

// unlisted compares what was asked of the engine with Calls, in both directions.
func unlisted(seen []string) (problems []string) {
	used := make([]bool, len(Calls))
	for _, q := range seen {
		known := false
		for i, c := range Calls {
			if c.pattern().MatchString(q) {
				known, used[i] = true, true
			}
		}
		if !known {
			problems = append(problems, q+" is not in Calls")
		}
	}
	for i, c := range Calls {
		if !used[i] {
			problems = append(problems, fmt.Sprintf("%s %s is in Calls and was never asked", c.Method, c.Path))
		}
	}
	return problems
}

func TestMain(m *testing.M) {
	switch os.Getenv("CERTWRIGHT_ROLE") { // of a process that a test started
	case "hire":
		hireAndHang()
	case "relay":
		relay()
		return
	}
	dir, err := os.MkdirTemp("", "certwright-docker")
	if err != nil {
		panic(err)
	}
	if proxy, err = newRecorder(dir); err != nil {
		panic(err)
	}
	code := m.Run()
	// Whether Calls is complete shows only when every test ran, against an engine.
	all := true
	for _, f := range os.Args {
		all = all && !strings.HasPrefix(f, "-test.run=") && !strings.HasPrefix(f, "-test.skip=")
	}
	if seen := proxy.requests(); code == 0 && all && len(seen) > 0 {
		for _, p := range unlisted(seen) {
			fmt.Fprintln(os.Stderr, "FAIL:", p)
			code = 1
		}
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

func TestUnlistedFindsBothDirections(t *testing.T) {
	var seen []string
	for _, c := range Calls[1:] {
		path := strings.ReplaceAll(c.Path, "{id}", "3f2a")
		seen = append(seen, c.Method+" "+strings.ReplaceAll(path, "{name}", "certwright-courier:0a"))
	}
	got := strings.Join(unlisted(append(seen, "POST /containers/3f2a/update", "PUT /containers/3f2a/archive")), "\n")
	want := "POST /containers/3f2a/update is not in Calls\nPUT /containers/3f2a/archive is not in Calls\n" +
		"HEAD /_ping is in Calls and was never asked"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
