package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/mount"

	"github.com/certwright/certwright/providers/docker"
	"github.com/certwright/certwright/providers/docker/dockertest"
)

// allowing is a proxy before an engine that lets the documented calls through, and refuses one of them if it is told so.
type allowing struct {
	*dockertest.Recorder
	socket string

	mu     sync.Mutex
	refuse docker.Call
}

func newAllowing(t *testing.T, engine string) *allowing {
	t.Helper()
	dir := t.TempDir()
	recorder, err := dockertest.NewRecorder(dir, engine)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = recorder.Close() })
	p := &allowing{Recorder: recorder, socket: filepath.Join(dir, "allowing.sock")}
	l, err := net.Listen("unix", p.socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: p}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return p
}

func (p *allowing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	refuse := p.refuse
	p.mu.Unlock()
	path := r.URL.Path
	if _, rest, ok := strings.Cut(strings.TrimPrefix(path, "/v1."), "/"); ok && strings.HasPrefix(path, "/v1.") {
		path = "/" + rest
	}
	is := func(c docker.Call) bool {
		return dockertest.Request(c.Method, c.Path).MatchString(r.Method + " " + path)
	}
	if !slices.ContainsFunc(docker.Calls, is) || refuse.Method != "" && is(refuse) {
		http.Error(w, "Forbidden", http.StatusForbidden)
		return
	}
	p.Handler.ServeHTTP(w, r)
}

func (p *allowing) refuses(c docker.Call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = c
}

// watch runs watch until it has said what is waited for, and returns all that it said.
func (c command) watch(until func(said string) error) string {
	c.t.Helper()
	ctx, cancel := context.WithCancel(c.t.Context())
	said := &watched{}
	ended := make(chan int, 1)
	getenv := func(name string) string {
		if v, ok := c.vars[name]; ok {
			return v
		}
		return os.Getenv(name)
	}
	go func() {
		ended <- run(ctx, slices.Concat([]string{"-f", c.dir + "/tls.yaml"}, c.args, []string{"watch"}), env{
			in: strings.NewReader(""), out: said, err: said, getenv: getenv, now: time.Now, settle: c.settle, couriers: c.couriers,
		})
	}()
	defer func() {
		cancel()
		if code := <-ended; code != exitDone {
			c.t.Errorf("watch exits with %d", code)
		}
		note(said.text())
		if c.t.Failed() {
			c.t.Logf("watch said\n%s", said.text())
		}
	}()
	dockertest.Poll(c.t, time.Minute, "what watch is to say", func() error { return until(said.text()) })
	return said.text()
}

// TestWatchBehindAProxy has a proxy before the engine that allows the documented calls alone: all goes well. Then it refuses
// one of them after the other: watch goes on, and says which.
func TestWatchBehindAProxy(t *testing.T) {
	t.Parallel()
	cli := dockertest.Engine(t)
	p := newAllowing(t, dockertest.EngineSocket())
	s := newScene(t)
	volume := dockertest.Volume(t)
	// One that watch was about to make when it was ended is its next pass's to remove.
	tidy := func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		left, err := cli.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", "certwright.project="+volume))})
		for _, c := range left {
			_ = cli.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true})
		}
		return err
	}
	t.Cleanup(func() { // the engine may make one even now
		dockertest.Poll(t, time.Minute, "the last courier to be gone", func() error {
			return errors.Join(tidy(), cli.VolumeRemove(context.Background(), volume, true))
		})
	})
	// It takes SIGHUP and loads nothing: every rung of the ladder is tried.
	server := s.server(dockertest.Container{StopSignal: "SIGKILL", Mounts: []mount.Mount{{Type: mount.TypeVolume, Source: volume, Target: "/certs"}}}, "-reload", "lying")
	s.spec("volume: "+volume, "container: "+server.Name, "owner: root", "probe: {port: 8443}", "limits: {restartsPerHour: 100}",
		"reload: [{exec: [/tlsserver, -check, 'http://127.0.0.1:8080/']}, {signal: HUP}, restart]")
	s.write("tls.yaml", strings.Replace(s.read("tls.yaml"), "project: scene", "project: "+volume, 1))
	s.up(server)

	// An image of its own: others' are not to be removed.
	binary, err := os.ReadFile(staticBinary(t))
	if err != nil {
		t.Fatal(err)
	}
	binary = append(binary, s.dir...)
	if err := os.WriteFile(filepath.Join(s.dir, "courier"), binary, 0o755); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(binary)
	courier := "certwright-courier:" + hex.EncodeToString(sum[:6])
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_, _ = cli.ImageRemove(ctx, courier, image.RemoveOptions{Force: true})
	})
	behind := s.command
	behind.settle = 500 * time.Millisecond
	behind.couriers, behind.args = true, []string{"--courier-binary", filepath.Join(s.dir, "courier")}
	behind.vars = map[string]string{"DOCKER_HOST": "unix://" + p.socket}

	due := func() { s.want(exitDone, "rotate", "identity/web", "--defer") }
	due()
	said := behind.watch(func(said string) error {
		if !strings.Contains(said, "state=Ready") {
			return errors.New("web is not Ready")
		}
		return nil
	})
	if strings.Contains(said, "refused") {
		t.Fatalf("behind a proxy that allows what is documented it says\n%s", said)
	}
	// TestRefused has every call. These are those that come to light in different ways.
	used := slices.DeleteFunc(kinds(t, p.Requests()), func(call string) bool {
		return !slices.Contains([]string{
			"GET /containers/json", "GET /events", "GET /images/json", "GET /volumes", "HEAD /_ping",
			"POST /containers/create", "POST /containers/{id}/attach", "POST /containers/{id}/kill", "POST /images/create",
		}, call)
	})
	more := []string{"GET /containers/{id}/archive", "POST /volumes/create"} // what rows below give a reason for
	quiet := []string{"GET /events", "GET /images/json"}                     // done without
	rows := slices.Concat(slices.Compact(used), more)
	if len(rows) != 11 {
		t.Errorf("only %d calls are used: %v", len(rows), rows)
	}
	spec := s.read("tls.yaml")
	for _, call := range rows {
		if err := tidy(); err != nil {
			t.Fatal(err)
		}
		method, path, _ := strings.Cut(call, " ")
		text := spec
		switch {
		case strings.HasPrefix(path, "/images"):
			if _, err := cli.ImageRemove(t.Context(), courier, image.RemoveOptions{Force: true}); err != nil && !errdefs.IsNotFound(err) {
				t.Fatal(err)
			}
		case call == more[0]: // a user that was not asked for before
			text = strings.Replace(spec, "owner: root", "owner: nobody", 1)
		case call == more[1]:
			absent := volume + "-absent"
			text += "  absent: {identity: web, volume: " + absent + "}\n"
			t.Cleanup(func() { _ = cli.VolumeRemove(context.Background(), absent, true) })
		}
		s.write("tls.yaml", text)
		due()
		p.refuses(docker.Call{Method: method, Path: path})
		began := time.Now()
		name := call + " is refused ("
		switch {
		case slices.Contains(quiet, call):
			name = `"` + call + ` is refused"`
		case call == "HEAD /_ping": // its answer has no body
			name = "sock: " + call + " is refused: "
		}
		said := behind.watch(func(said string) error {
			if !strings.Contains(said, name) {
				return errors.New("it does not name " + call)
			}
			return nil
		})
		if !strings.Contains(said, docker.AllowIt) {
			t.Errorf("%s: it does not say what to do", call)
		}
		t.Logf("%s was named in %s", call, time.Since(began).Round(100*time.Millisecond))
		p.refuses(docker.Call{})
	}
}

func (s scene) read(name string) string {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(data)
}

// TestWatchBehindAProxyOfASwarm refuses what a service, the store in the Swarm and the Swarm's own CA take, in the order in
// which a first pass comes to it: what was refused was not done.
func TestWatchBehindAProxyOfASwarm(t *testing.T) {
	t.Parallel()
	s := newSwarmScene(t, nil)
	p := newAllowing(t, s.m.Socket)
	text := `version: 1
project: shop
store: {swarm: {}, passphrase: {env: CERTWRIGHT_PASSPHRASE}}
cas:
  internal: {local: {lifetime: 10y}}
identities:
  api: {ca: internal, names: [api.test]}
bindings:
  api: {identity: api, service: ` + s.name + `, secret: {}}
`
	wanted := func(text string) {
		if err := os.WriteFile(filepath.Join(s.dir, "tls.yaml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	wanted(text)
	behind := command{t: t, dir: s.dir, vars: map[string]string{"DOCKER_HOST": "unix://" + p.socket, "CERTWRIGHT_PASSPHRASE": swarmPassphrase}}
	for _, call := range []string{
		"GET /services", "GET /tasks", "GET /secrets", "GET /configs", "POST /configs/create", "POST /secrets/create",
		"GET /services/{id}", "POST /services/{id}/update", "POST /swarm/update", "GET /nodes", "GET /swarm",
	} {
		method, path, _ := strings.Cut(call, " ")
		if call == "POST /swarm/update" { // nothing waits for it, so it is not asked for before
			wanted(text + "swarm: {nodeCertLifetime: 720h}\n")
		}
		p.refuses(docker.Call{Method: method, Path: path})
		behind.watch(func(said string) error {
			name := call + " is refused (403"
			if call == "GET /nodes" || call == "GET /swarm" { // watch says nothing of the Swarm's own CA but what it does to it
				name = `"` + call + ` is refused"`
			}
			if !strings.Contains(said, name) {
				return errors.New("it does not name " + call)
			}
			return nil
		})
	}
	p.refuses(docker.Call{})
	behind.watch(func(said string) error {
		if !strings.Contains(said, "let the Swarm's node certificates live 30d") {
			return errors.New("it has not set the life of node certificates")
		}
		return nil
	})
}

// TestWatchDeaf hears of no event, and finds out all the same, at the next interval.
func TestWatchDeaf(t *testing.T) {
	t.Parallel()
	p := newAllowing(t, dockertest.EngineSocket())
	p.refuses(docker.Call{Method: "GET", Path: "/events"})
	places := t.TempDir()
	c := dockertest.Run(t, dockertest.Container{
		Image: dockertest.Image(t, dockertest.GoServer), Name: "deaf", Ports: []int{8443},
		Cmd:    []string{"-cert", "/certs/cert.pem", "-key", "/certs/key.pem", "-reload", "hot"},
		Mounts: []mount.Mount{{Type: mount.TypeBind, Source: places, Target: "/certs"}},
	})
	spec := strings.Replace(watchYAML, "directory: ./web", "directory: "+places+", container: "+c.Name+", reload: none, probe: {port: 8443}", 1)
	w := startWatch(t, "", spec, "--host", "unix://"+p.socket, "--interval", "2s", "--verbose")
	w.says(0, `"state":"Waiting"`)
	dockertest.Start(t, c.ID)
	said := w.says(0, `"state":"Ready"`)
	for line := range strings.Lines(said) {
		if strings.Contains(line, `"because":"container`) || strings.Contains(line, `"because":"engine`) {
			t.Errorf("it heard of it: %s", line)
		}
	}
}
