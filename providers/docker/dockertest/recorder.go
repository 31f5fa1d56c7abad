package dockertest

import (
	"context"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
)

// EngineSocket is the path of the unix socket at which the engine of the environment listens.
func EngineSocket() string {
	if h := os.Getenv("DOCKER_HOST"); h != "" {
		return strings.TrimPrefix(h, "unix://")
	}
	return "/var/run/docker.sock"
}

// Recorder stands before an engine: it passes requests on and remembers each as
// "METHOD /path" without the API version.
type Recorder struct {
	Socket  string       // the path of the unix socket at which it listens
	Handler http.Handler // what it does with a request, for another listener

	listener net.Listener
	mu       sync.Mutex
	seen     []string
}

// NewRecorder lets a Recorder before the engine at a unix socket listen in dir until it is closed.
func NewRecorder(dir, engine string) (*Recorder, error) {
	r := &Recorder{Socket: filepath.Join(dir, "proxy.sock")}
	var err error
	if r.listener, err = net.Listen("unix", r.Socket); err != nil {
		return nil, err
	}
	dial := func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", engine) }
	forward := &httputil.ReverseProxy{
		Rewrite:       func(q *httputil.ProxyRequest) { q.Out.URL.Scheme, q.Out.URL.Host = "http", "engine" },
		Transport:     &http.Transport{DialContext: dial},
		FlushInterval: -1,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, err.Error(), http.StatusBadGateway)
		},
	}
	r.Handler = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.mu.Lock()
		r.seen = append(r.seen, q.Method+" "+version.ReplaceAllString(q.URL.Path, "/"))
		r.mu.Unlock()
		forward.ServeHTTP(w, q)
	})
	go func() { _ = http.Serve(r.listener, r.Handler) }()
	return r, nil
}

var version = regexp.MustCompile(`^/v1\.\d+/`)

// Close ends the listening; what is under way goes on.
func (r *Recorder) Close() error { return r.listener.Close() }

// Requests returns what was asked so far.
func (r *Recorder) Requests() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.seen...)
}

// Request matches what a Recorder remembers of a method and a path in which {id} and {name} stand for one name.
func Request(method, path string) *regexp.Regexp {
	path = regexp.QuoteMeta(path)
	path = strings.ReplaceAll(path, `\{id\}`, `[a-zA-Z0-9_.-]+`)
	path = strings.ReplaceAll(path, `\{name\}`, `[a-zA-Z0-9_.:/-]+`)
	return regexp.MustCompile("^" + method + " " + path + "$")
}
