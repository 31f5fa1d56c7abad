package docker

import (
	"encoding/json"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/providers/docker/dockertest"
	"github.com/certwright/certwright/spec"
)

// refuser is a proxy before an engine that has nothing: it refuses what refuse answers with a status for.
func refuser(t *testing.T, refuse func(call string) (status int, body string)) *Engine {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "proxy.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.41")
		if status, body := refuse(r.Method + " " + apiVersion.ReplaceAllString(r.URL.Path, "/")); status != 0 {
			http.Error(w, body, status)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "/create") || strings.HasSuffix(r.URL.Path, "/exec") {
			w.WriteHeader(http.StatusCreated)
		}
		_, _ = w.Write([]byte(`{"Id":"3f2a"}`))
	})}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return New("local", Options{Endpoint: "unix://" + socket, Project: "shop"})
}

// sample is a request that a call stands for.
func sample(c Call) string {
	return c.Method + " " + strings.NewReplacer("{id}", "3f2a", "{name}", "certwright-courier:0a").Replace(c.Path)
}

// TestRefused has every call refused by a proxy that lets all others through: it is named as docs/security.md has it.
func TestRefused(t *testing.T) {
	for _, c := range Calls {
		t.Run(c.Method+strings.ReplaceAll(c.Path, "/", " "), func(t *testing.T) {
			t.Parallel()
			call := c.Method + " " + c.Path
			want := call + " is refused (403 Forbidden): " + AllowIt
			e := refuser(t, func(asked string) (int, string) {
				if asked == sample(c) || c.Path == "/_ping" && strings.HasSuffix(asked, " /_ping") {
					return http.StatusForbidden, "<html><body><h1>403 Forbidden</h1>\nRequest forbidden by administrative rules.\n</body></html>"
				}
				return 0, ""
			})
			var err error
			switch call {
			case "POST /containers/{id}/attach": // a stream
				_, err = e.start(soon(t), "3f2a", "image", job{})
				want = strings.Replace(want, " Forbidden", "", 1)
			case "POST /exec/{id}/start":
				err = e.exec(soon(t), "3f2a", spec.Reload{Exec: []string{"true"}})
				want = strings.Replace(want, " Forbidden", "", 1)
			case "HEAD /_ping": // the head of an answer says nothing, and the client asks again with GET
				_, err = e.cli.Ping(soon(t))
			default:
				method, path, _ := strings.Cut(sample(c), " ")
				r, _ := http.NewRequestWithContext(soon(t), method, "http://engine/v1.41"+path, nil)
				answer, failed := e.cli.HTTPClient().Do(r)
				if failed != nil {
					t.Fatal(failed)
				}
				defer answer.Body.Close()
				var said struct{ Message string }
				if err := json.NewDecoder(answer.Body).Decode(&said); err != nil {
					t.Fatal(err)
				}
				err = errorf("%s", said.Message)
			}
			if err == nil || strings.TrimPrefix(err.Error(), "Error response from daemon: ") != want {
				t.Errorf("%v, want %s", err, want)
			}
			if got := e.Refused(); !slices.Equal(got, []string{call}) {
				t.Errorf("refused were %q", got)
			}
		})
	}
}

// TestRefusedOtherwise has a proxy that refuses a method, a plugin that gives its reason, and an engine that refuses nothing.
func TestRefusedOtherwise(t *testing.T) {
	for _, row := range []struct {
		status     int
		body, want string
	}{
		{http.StatusMethodNotAllowed, "Method Not Allowed", "engine local at ADDRESS: GET /containers/json is refused (405 Method Not Allowed): " + AllowIt},
		{http.StatusForbidden, `{"message":"authorization denied by plugin opa"}`, "engine local at ADDRESS: GET /containers/json is refused (403 Forbidden, authorization denied by plugin opa): " + AllowIt},
		{http.StatusInternalServerError, "no", "engine local at ADDRESS does not answer: Error response from daemon: no; start it, or name another with --host, --context or DOCKER_HOST"},
	} {
		e := refuser(t, func(asked string) (int, string) {
			if asked == "GET /containers/json" {
				return row.status, row.body
			}
			return 0, ""
		})
		if got := strings.ReplaceAll(e.List(soon(t)).Err, e.end.address, "ADDRESS"); got != row.want {
			t.Errorf("got  %s\nwant %s", got, row.want)
		}
		if refused := len(e.Refused()) > 0; refused != isRefusal(row.status) {
			t.Errorf("%d: refused were %q", row.status, e.Refused())
		}
	}
}

// TestEventsRefused takes a refusal for what it is: it does not ask again and again, and nobody is told that the engine is
// back.
func TestEventsRefused(t *testing.T) {
	asked := make(chan string, 16)
	e := refuser(t, func(call string) (int, string) {
		if call == "GET /events" {
			asked <- call
			return http.StatusForbidden, "Forbidden"
		}
		return 0, ""
	})
	w := listen(t, e)
	dockertest.Poll(t, 30*time.Second, "the refusal", func() error {
		if got := e.Refused(); !slices.Equal(got, []string{"GET /events"}) {
			return errorf("refused were %q", got)
		}
		return nil
	})
	<-asked
	select {
	case <-asked:
		t.Error("it asks again at once")
	case <-time.After(3 * time.Second): // after a second it would, if it took the engine for gone
	}
	if said := w.all(); len(said) > 0 {
		t.Errorf("it said %q", said)
	}
}

// TestAllowedAgain forgets a refusal once the call is let through.
func TestAllowedAgain(t *testing.T) {
	refuse := true
	e := refuser(t, func(asked string) (int, string) {
		if refuse && asked == "GET /containers/json" {
			return http.StatusForbidden, "Forbidden"
		}
		return http.StatusOK, "[]"
	})
	_ = e.List(soon(t))
	before := e.Refused()
	refuse = false
	_ = e.List(soon(t))
	if after := e.Refused(); len(before) != 1 || len(after) != 0 {
		t.Errorf("refused were %q, and are %q", before, after)
	}
}
