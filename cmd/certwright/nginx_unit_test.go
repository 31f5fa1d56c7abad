package main

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/docker/docker/api/types/mount"
	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// unitControl is the control API of an Nginx Unit as its documentation has it, which Debian has no package of: a bundle is made
// once and never changed, and one that a listener uses is not deleted (unit.nginx.org, Certificates).
type unitControl struct {
	t       *testing.T
	mu      sync.Mutex
	bundles map[string][]byte
	uses    string // JSON: the certificate of the listener *:443
}

func (u *unitControl) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	defer u.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		u.t.Error(err)
	}
	name, isBundle := strings.CutPrefix(r.URL.Path, "/certificates/")
	status := http.StatusOK
	switch {
	case isBundle:
		status = u.bundle(r.Method, name, body)
	case r.URL.Path != "/config/listeners/*:443/tls/certificate":
		status = http.StatusNotFound
	case r.Method == http.MethodGet:
		_, _ = io.WriteString(w, u.uses+"\r\n")
		return
	case r.Method == http.MethodPut:
		var wanted string
		if json.Unmarshal(body, &wanted) != nil || u.bundles[wanted] == nil {
			status = http.StatusBadRequest
			break
		}
		u.uses = string(body)
	}
	w.WriteHeader(status)
	fmt.Fprintf(w, "{\"%d\": %q}\r\n", status, r.Method)
}

func (u *unitControl) bundle(method, name string, body []byte) (status int) {
	_, there := u.bundles[name]
	switch {
	case method == http.MethodPut && there, method == http.MethodDelete && u.uses == `"`+name+`"`:
		return http.StatusBadRequest
	case method == http.MethodPut:
		if block, _ := pem.Decode(body); block == nil || !strings.Contains(string(body), "PRIVATE KEY") {
			return http.StatusBadRequest
		}
		u.bundles[name] = body
	case !there:
		return http.StatusNotFound
	default:
		delete(u.bundles, name)
	}
	return http.StatusOK
}

// state is the bundles there are, the one that is used, and its leaf's serial.
func (u *unitControl) state() (names []string, used, serial string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	used = strings.Trim(u.uses, `"`)
	if block, _ := pem.Decode(u.bundles[used]); block != nil {
		serial = serialOf(u.t, block.Bytes)
	}
	return slices.Sorted(maps.Keys(u.bundles)), used, serial
}

// TestNginxUnit runs what the preset of Nginx Unit does, in a container with its control socket: two bundles take turns, the
// one of somebody else stays, and what a try left behind that was cut off is no obstacle.
func TestNginxUnit(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	unit := &unitControl{t: t, bundles: map[string][]byte{"by-hand": []byte("somebody else's")}, uses: `"by-hand"`}
	socket := filepath.Join(s.dir, "control.unit.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: unit}
	t.Cleanup(func() { _ = server.Close() })
	go func() { _ = server.Serve(listener) }()
	made := dockertest.Run(t, dockertest.Container{
		Name: "unit", Image: dockertest.Image(t, dockertest.Curl), User: "0", Mounts: []mount.Mount{
			bindMount(s.certs, "/certs"), bindMount(socket, "/var/run/control.unit.sock"),
		},
	})
	s.spec("container: "+made.Name, "directory: ./certs", "files: {combined.pem: combined}", "reload: unit")
	s.want(exitDone, "apply")
	dockertest.Start(t, made.ID)
	for round, want := range [][]string{{"by-hand", "certwright-a"}, {"by-hand", "certwright-b"}, {"by-hand", "certwright-a"}} {
		if round == 2 { // one was cut off after its first request
			unit.mu.Lock()
			unit.bundles["certwright-a"] = []byte("cut off")
			unit.mu.Unlock()
		}
		s.want(exitDone, "rotate", "identity/web")
		names, used, serial := unit.state()
		data, err := os.ReadFile(filepath.Join(s.certs, "combined.pem"))
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(data)
		if d := cmp.Diff(want, names); d != "" || used != want[1] || serial != serialOf(t, block.Bytes) {
			t.Errorf("round %d: uses %s with %s, of %v", round, used, serial, names)
		}
	}
	unit.mu.Lock()
	unit.uses = `["certwright-a", "by-hand"]`
	unit.mu.Unlock()
	s.says(s.want(exitPart, "rotate", "identity/web"), "several certificates")
}
