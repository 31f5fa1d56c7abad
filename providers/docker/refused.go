package docker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// AllowIt is what to do about a call that is refused.
const AllowIt = "allow it in the proxy before the engine; docs/security.md lists all that certwright asks"

const ping = "HEAD /_ping"

// Refused are the calls, as Calls has them, that were refused the last time: by a proxy before the engine, mostly. Some do not show in
// any other way, since what they are for is done without them.
func (e *Engine) Refused() []string {
	e.refused.mu.Lock()
	defer e.refused.mu.Unlock()
	return slices.Sorted(maps.Keys(e.refused.calls))
}

// refusals are the calls that were refused.
type refusals struct {
	mu    sync.Mutex
	calls map[string]bool
}

// note remembers a refused call, and says in a sentence that it is.
func (r *refusals) note(call, status string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.calls == nil {
		r.calls = map[string]bool{}
	}
	r.calls[call] = true
	return fmt.Sprintf("%s is refused (%s): %s", call, status, AllowIt)
}

// allowed forgets that a call was refused.
func (r *refusals) allowed(method, path string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.calls) > 0 {
		delete(r.calls, callOf(method, path))
	}
}

// isRefusal reports whether a status is what proxies answer: some refuse a method with 405, of which an engine makes no use.
func isRefusal(status int) bool {
	return status == http.StatusForbidden || status == http.StatusMethodNotAllowed
}

// refusing is a transport that puts the name of a call into the answer that refuses it: what a proxy says there is for a
// browser.
type refusing struct {
	http.RoundTripper
	*refusals
}

// RoundTrip implements http.RoundTripper.
func (f refusing) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := f.RoundTripper.RoundTrip(r)
	switch {
	case err != nil:
		return answer, err
	case !isRefusal(answer.StatusCode):
		f.allowed(r.Method, r.URL.Path)
		return answer, nil
	}
	var plugin struct{ Message string } // an engine's own says more (authorization plugins)
	_ = json.NewDecoder(io.LimitReader(answer.Body, 1<<16)).Decode(&plugin)
	_ = answer.Body.Close()
	status := answer.Status
	if plugin.Message != "" {
		status += ", " + plugin.Message
	}
	body, err := json.Marshal(map[string]string{"message": f.note(callOf(r.Method, r.URL.Path), status)})
	if err != nil {
		return nil, err
	}
	answer.StatusCode, answer.Body, answer.ContentLength = http.StatusForbidden, io.NopCloser(bytes.NewReader(body)), int64(len(body))
	answer.Header = http.Header{"Content-Type": {"application/json"}}
	return answer, nil
}

var (
	apiVersion = regexp.MustCompile(`^/v1\.\d+/`)
	// upgradeRefused is what the client says of a stream that it was not given.
	upgradeRefused = regexp.MustCompile(`unable to upgrade to tcp, received (403|405)$`)
)

// streamRefused is the error of a call for a stream: those do not go through the transport.
func (r *refusals) streamRefused(call string, err error) error {
	if err == nil {
		return nil
	}
	m := upgradeRefused.FindStringSubmatch(err.Error())
	if m == nil {
		return err
	}
	return errors.New(r.note(call, m[1]))
}

// callOf finds the call of Calls that a request is. The client asks for /_ping with GET as well where HEAD is refused.
func callOf(method, path string) string {
	path = apiVersion.ReplaceAllString(path, "/")
	for _, c := range Calls {
		if (c.Method == method || c.Path == "/_ping") && c.is(path) {
			return c.Method + " " + c.Path
		}
	}
	return method + " " + path
}

// is reports whether a path is one of the call's.
func (c Call) is(path string) bool {
	one := strings.NewReplacer(`\{id\}`, `[^/]+`, `\{name\}`, `.+`).Replace(regexp.QuoteMeta(c.Path))
	return regexp.MustCompile("^" + one + "$").MatchString(path)
}
