package docker

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/docker/dockertest"
	"github.com/certwright/certwright/reconcile"
)

// TestList lists containers in several states and compares everything that is known of them.
func TestList(t *testing.T) {
	e, cli := engine(t)
	image, network, volume := dockertest.Image(t, dockertest.Curl), dockertest.Network(t), dockertest.Volume(t)
	file := filepath.Join(t.TempDir(), "tls.pem")
	write(t, file, "x")
	running := dockertest.Run(t, dockertest.Container{
		Image: image, Name: "running", Network: network, Start: true, Ports: []int{8443},
		Health: dockertest.Healthy("id"), Labels: map[string]string{"tier": "edge"},
		Mounts: []mount.Mount{
			{Type: mount.TypeVolume, Source: volume, Target: "/certs", ReadOnly: true},
			{Type: mount.TypeBind, Source: file, Target: "/etc/tls.pem"},
			{Type: mount.TypeTmpfs, Target: "/run/tls"},
		},
	})
	created := dockertest.Run(t, dockertest.Container{Image: image, Name: "created"})
	exited := dockertest.Run(t, dockertest.Container{Image: image, Name: "exited", Cmd: []string{"sh", "-c", "exit 3"}, Start: true})
	sick := dockertest.Run(t, dockertest.Container{Image: image, Name: "sick", Start: true, Health: &container.HealthConfig{
		Test: []string{"CMD", "sh", "-c", "exit 1"}, Interval: 100 * time.Millisecond, Retries: 1,
	}})
	dockertest.WaitHealthy(t, running.ID)
	dockertest.Poll(t, 10*time.Second, "exited and unhealthy", func() error {
		a, b := find(t, e, exited.ID), find(t, e, sick.ID)
		if a.State != "exited" || b.Health != "unhealthy" {
			return errorf("%s is %s, %s is %q", a.Name, a.State, b.Name, b.Health)
		}
		return nil
	})
	if got := find(t, e, created.ID); got.State != "created" || got.Running() || got.Tried || got.Health != "" {
		t.Errorf("created container: %+v", got)
	}
	if got := find(t, e, exited.ID); got.Code != 3 {
		t.Errorf("exited with code %d, want 3", got.Code)
	}
	got, up := find(t, e, running.ID), dockertest.Inspect(t, running.ID).State.StartedAt
	if at, err := time.Parse(time.RFC3339Nano, up); err != nil || !got.Anew && time.Since(at) < 9*time.Second {
		t.Errorf("it runs since %s, and not anew: %v", up, err)
	}
	got.Anew = false
	if got.Labels["tier"] != "edge" {
		t.Errorf("labels %v", got.Labels)
	}
	got.Labels = nil
	v, err := cli.VolumeInspect(t.Context(), volume)
	if err != nil {
		t.Fatal(err)
	}
	if made, err := time.Parse(time.RFC3339Nano, dockertest.Inspect(t, running.ID).Created); err != nil || !got.Created.Equal(made.Truncate(time.Second)) {
		t.Errorf("it was created at %s, not %s: %v", made, got.Created, err)
	}
	got.Created = time.Time{}
	want := reconcile.Container{
		Host: "local", ID: running.ID, Name: running.Name, Image: image, Command: "sleep infinity", State: "running", Tried: true, Health: "healthy",
		Network: network, Addresses: []string{dockertest.Address(t, running.ID)},
		Published: map[int]string{8443: dockertest.Published(t, running.ID, 8443)},
		Mounts: []reconcile.Mount{
			{Type: "volume", Name: volume, Source: v.Mountpoint, Destination: "/certs"},
			{Type: "bind", Source: file, Destination: "/etc/tls.pem", ReadWrite: true},
			{Type: "tmpfs", Destination: "/run/tls", ReadWrite: true},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("running container (-want +got):\n%s", diff)
	}
	for _, v := range e.List(t.Context()).Volumes {
		if v.Name == volume && v.Driver == "local" {
			return
		}
	}
	t.Errorf("volume %s is not in the list", volume)
}

// TestAnew has what an engine lists of running containers (go-units, HumanDuration).
func TestAnew(t *testing.T) {
	for status, want := range map[string]bool{
		"Up Less than a second": true, "Up 1 second": true, "Up 9 seconds (health: starting)": true,
		"Up 10 seconds": false, "Up About a minute": false, "Up 2 hours (healthy)": false, "Exited (1) 3 seconds ago": false,
	} {
		if got := anew.MatchString(status); got != want {
			t.Errorf("%s: %v", status, got)
		}
	}
}

// TestListCosts proves that the number of requests does not depend on the number of containers: 3 or 203.
func TestListCosts(t *testing.T) {
	_, cli := engine(t)
	image := dockertest.Image(t, dockertest.Curl)
	cost := func() int {
		e, _ := engine(t) // each negotiates
		before := len(proxy.Requests())
		if state := e.List(t.Context()); state.Err != "" {
			t.Fatal(state.Err)
		}
		return len(proxy.Requests()) - before
	}
	few := cost()
	const many = 200
	ids := make(chan string, many)
	var makers sync.WaitGroup
	for range 4 {
		makers.Go(func() {
			for range many / 4 {
				c, err := cli.ContainerCreate(t.Context(), &container.Config{
					Image: image, Labels: map[string]string{dockertest.Label: t.Name()},
				}, nil, nil, nil, "")
				if err != nil {
					t.Error(err)
					return
				}
				ids <- c.ID
			}
		})
	}
	makers.Wait()
	close(ids)
	t.Cleanup(func() { removeAll(t, ids) })
	e, _ := engine(t)
	if n := len(e.List(t.Context()).Containers); n < many {
		t.Errorf("%d containers are listed", n)
	}
	if got := cost(); few != 3 || got != 3 {
		t.Errorf("%d requests for few containers, %d for many; want a ping and two lists", few, got)
	}
}

// TestEngineThatDoesNotAnswer bounds the wait and says what to do.
func TestEngineThatDoesNotAnswer(t *testing.T) {
	silent := filepath.Join(t.TempDir(), "silent.sock")
	l, err := net.Listen("unix", silent)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	none := func(string) string { return "" }
	stranger := httptest.NewTLSServer(http.NotFoundHandler())
	defer stranger.Close()
	for _, c := range []struct {
		name, host string
		o          Options
		named      bool
		says       string
	}{
		{"absent", "local", Options{Endpoint: "unix:///nonexistent.sock"}, true, "does not answer: nothing can be connected to there; start it, or name another with --host"},
		{"hangs", "local", Options{Endpoint: "unix://" + silent}, true, "no answer in time"},
		{"a host of the spec", "core-02", Options{Endpoint: "unix:///nonexistent.sock"}, false, "engine core-02 at unix:///nonexistent.sock"},
		{"nobody we know", "core-02", Options{Endpoint: "tcp://" + stranger.Listener.Addr().String(), TLS: true}, false, "certificate signed by unknown authority; see that ca.pem of /"},
		{"no such context", "local", Options{Context: "nowhere"}, true, `no docker context named "nowhere"`},
		{"no endpoint", "local", Options{Endpoint: "nonsense"}, true, "nonsense"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.o.Getenv = none
			ctx, cancel := contextFor(t, 300*time.Millisecond)
			defer cancel()
			state := Engines{c.host: New(c.host, c.o)}.List(ctx, c.host)
			if !strings.Contains(state.Err, c.says) || state.Named != c.named {
				t.Errorf("named %t, says %q", state.Named, state.Err)
			}
		})
	}
	if state := (Engines{}).List(t.Context(), "x"); !strings.Contains(state.Err, "the spec has no host named x any more") {
		t.Errorf("says %q", state.Err)
	}
}

// TestPermission stands in for a socket that may not be used, which root never meets.
func TestPermission(t *testing.T) {
	e := New("local", Options{Endpoint: "unix:///s", Getenv: func(string) string { return "" }})
	got := e.silence(fmt.Errorf("dial unix /s: connect: %w", os.ErrPermission))
	if !strings.Contains(got, "does not answer: permission denied; run as a user that may use its socket") {
		t.Errorf("says %q", got)
	}
}

func TestPublished(t *testing.T) {
	ports := []container.Port{
		{IP: "::", PrivatePort: 443, PublicPort: 8443, Type: "tcp"},
		{IP: "0.0.0.0", PrivatePort: 443, PublicPort: 8443, Type: "tcp"},
		{IP: "127.0.0.1", PrivatePort: 80, PublicPort: 8080, Type: "tcp"},
		{IP: "10.0.0.9", PrivatePort: 81, PublicPort: 8081, Type: "tcp"},
		{IP: "0.0.0.0", PrivatePort: 53, PublicPort: 53, Type: "udp"},
		{PrivatePort: 9000, Type: "tcp"},
	}
	for address, want := range map[string]map[int]string{
		"unix:///var/run/docker.sock": {443: "127.0.0.1:8443", 80: "127.0.0.1:8080", 81: "10.0.0.9:8081"},
		"tcp://core-02:2376":          {443: "core-02:8443", 81: "10.0.0.9:8081"},
		"ssh://core@core-02:22":       {443: "core-02:8443", 81: "10.0.0.9:8081"},
	} {
		e := &Engine{end: endpoint{address: address}}
		if diff := cmp.Diff(want, e.published(ports)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", address, diff)
		}
		if e.apart.Store(true); len(e.published(ports)) > 0 || len(e.ways(reconcile.Container{Addresses: []string{"172.17.0.2"}}, 443)) > 0 {
			t.Errorf("%s: in a network of its own it is reached from here", address)
		}
	}
}

// TestEndlessAnswer has an engine whose answers are longer than any that an engine gives.
func TestEndlessAnswer(t *testing.T) {
	if testing.Short() { // under the race detector, with which to read it may take longer than an engine is given
		t.Skip("it is long")
	}
	long := make([]byte, replyMax)
	for i := range long {
		long[i] = ' '
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/containers/json") {
			_, _ = w.Write(long)
			_, _ = io.WriteString(w, "[]")
		}
	}))
	defer server.Close()
	e := New("core-02", Options{Endpoint: "tcp://" + server.Listener.Addr().String(), Getenv: func(string) string { return "" }})
	want := "engine core-02 at " + e.end.address + " does not answer: its answer has more than 32 MiB; look whether that is a Docker engine"
	if got := e.List(soon(t)).Err; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
