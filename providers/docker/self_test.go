package docker

import (
	"context"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// TestTell has two names of an engine that lists what it has, and says which it is, late, never, or not at all.
func TestTell(t *testing.T) {
	for name, row := range map[string]struct {
		status int
		body   string
		never  bool
		self   string
		err    string // in Err
	}{
		"it says so":      {status: http.StatusOK, body: `{"ID": "cafe", "Name": "core", "DockerRootDir": "/docker"}`, self: "cafe\x00core\x00/docker"},
		"a proxy refuses": {status: http.StatusForbidden, body: "forbidden"},
		"it is broken":    {status: http.StatusInternalServerError, body: "no more files", err: "no more files"},
		"it hangs":        {never: true, err: "no answer in time"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := refuser(t, func(call string) (int, string) {
				if call != "GET /info" {
					return lists(call)
				}
				if row.never {
					<-t.Context().Done()
				}
				return row.status, row.body
			})
			limit := time.Minute
			if row.never {
				limit = 300 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			state := Engines{"local": e, "one": e}.List(ctx, "one")
			if state.Self != row.self || (state.Err == "") != (row.err == "") || !strings.Contains(state.Err, row.err) {
				t.Errorf("self %q, error %q", state.Self, state.Err)
			}
			if (state.Err == "") != (len(state.Volumes) == 1) {
				t.Errorf("%d volumes, error %q", len(state.Volumes), state.Err)
			}
		})
	}
}

// lists is what an engine with a volume answers.
func lists(call string) (int, string) {
	switch call {
	case "GET /containers/json":
		return http.StatusOK, "[]"
	case "GET /volumes":
		return http.StatusOK, `{"Volumes": [{"Name": "certs", "Driver": "local"}]}`
	}
	return 0, ""
}

// TestTellAfterHalfALook has an engine end in the middle of a look: who answers then may be another.
func TestTellAfterHalfALook(t *testing.T) {
	var down atomic.Bool
	var id atomic.Value
	id.Store("old")
	e := refuser(t, func(call string) (int, string) {
		switch {
		case call == "GET /info":
			return http.StatusOK, `{"ID": "` + id.Load().(string) + `"}`
		case call == "GET /volumes" && down.Load():
			return http.StatusInternalServerError, "it is shutting down"
		}
		return lists(call)
	})
	es := Engines{"local": e, "one": e}
	es.List(soon(t), "one")
	down.Store(true)
	if state := es.List(soon(t), "one"); state.Err == "" {
		t.Fatal("it answers while it is shutting down")
	}
	down.Store(false)
	id.Store("new")
	if self := es.List(soon(t), "one").Self; !strings.HasPrefix(self, "new") {
		t.Errorf("it is %q", self)
	}
}

// TestTellAnew has an engine given an ID of its own, and started again: who looked before asks which it is now, whether the engine was
// missed by a look or by whoever hears its events.
func TestTellAnew(t *testing.T) {
	for _, heard := range []bool{false, true} {
		t.Run(map[bool]string{false: "missed by a look", true: "missed by its events"}[heard], func(t *testing.T) {
			t.Parallel()
			socket := filepath.Join(t.TempDir(), "engine.sock")
			var hears atomic.Bool
			start := func(id string) *http.Server {
				l, err := net.Listen("unix", socket)
				if err != nil {
					t.Fatal(err)
				}
				server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Api-Version", "1.41")
					call := r.Method + " " + apiVersion.ReplaceAllString(r.URL.Path, "/")
					_, body := lists(call)
					switch call {
					case "GET /info":
						body = `{"ID": "` + id + `"}`
					case "GET /events":
						w.WriteHeader(http.StatusOK)
						_ = http.NewResponseController(w).Flush()
						hears.Store(true)
						<-r.Context().Done()
					}
					_, _ = w.Write([]byte(body))
				})}
				go func() { _ = server.Serve(l) }()
				t.Cleanup(func() { _ = server.Close() })
				return server
			}
			self := func(es Engines) string { return strings.Split(es.List(soon(t), "local").Self, "\x00")[0] }

			before := start("old")
			e := New("local", Options{Endpoint: "unix://" + socket})
			es := Engines{"local": e, "one": e}
			if got := self(es); got != "old" {
				t.Fatalf("it is %q", got)
			}
			if heard {
				listen(t, e)
				dockertest.Poll(t, 10*time.Second, "its events to be heard", func() error {
					if !hears.Load() {
						return errorf("nobody hears them")
					}
					return nil
				})
			}
			if err := before.Close(); err != nil {
				t.Fatal(err)
			}
			if !heard {
				if state := es.List(soon(t), "local"); state.Err == "" {
					t.Fatal("it answers while it is down")
				}
			}
			start("new")
			dockertest.Poll(t, 10*time.Second, "it to be another", func() error {
				if got := self(es); got != "new" {
					return errorf("it is %q", got)
				}
				return nil
			})
		})
	}
}
