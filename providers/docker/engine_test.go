package docker

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"

	"github.com/certwright/certwright/providers/docker/dockertest"
	"github.com/certwright/certwright/reconcile"
)

// engine returns the Engine under test, which talks to the real one through the recorder, and a client that does
// not, for looking and preparing. It skips the test where there is no engine.
func engine(t *testing.T, change ...func(*Options)) (*Engine, *client.Client) {
	t.Helper()
	direct := dockertest.Engine(t)
	o := Options{
		Endpoint: "unix://" + proxy.Socket, Project: t.Name(), CourierBinary: courierBinary(t),
		Getenv: func(string) string { return "" },
	}
	for _, c := range change {
		c(&o)
	}
	e := New("local", o)
	if e.err != nil {
		t.Fatal(e.err)
	}
	return e, direct
}

// courierBinary builds the static courier once.
func courierBinary(t *testing.T) string {
	t.Helper()
	return built(t, buildCourier)
}

var (
	buildCourier = sync.OnceValues(func() (string, error) { return build("courier") })
	buildServer  = sync.OnceValues(func() (string, error) { return build("server") })
)

// build makes a static binary of a command in testdata.
func build(name string) (string, error) {
	path := filepath.Join(filepath.Dir(proxy.Socket), name)
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", path, "./testdata/"+name)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stderr = os.Stderr
	return path, build.Run()
}

func built(t *testing.T, make func() (string, error)) string {
	t.Helper()
	path, err := make()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// couriers lists the couriers of the test's project.
func couriers(t *testing.T, cli *client.Client) []container.Summary {
	t.Helper()
	list, err := cli.ContainerList(t.Context(), container.ListOptions{All: true, Filters: filters.NewArgs(
		filters.Arg("label", labelCourier+"=1"), filters.Arg("label", labelProject+"="+t.Name()))})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// find returns a container of the engine's list.
func find(t *testing.T, e *Engine, id string) reconcile.Container {
	t.Helper()
	state := e.List(t.Context())
	if state.Err != "" {
		t.Fatal(state.Err)
	}
	for _, c := range state.Containers {
		if c.ID == id {
			return c
		}
	}
	t.Fatalf("container %.12s is not in the list", id)
	return reconcile.Container{}
}

// soon bounds a test's calls.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// brokenVolume makes a volume whose device does not exist, so that no container with it starts.
func brokenVolume(t *testing.T, cli *client.Client) string {
	t.Helper()
	return volumeOn(t, cli, filepath.Join(t.TempDir(), "absent"))
}

// volumeOn makes a volume that the engine mounts from elsewhere while a container uses it.
func volumeOn(t *testing.T, cli *client.Client, device string) string {
	t.Helper()
	v, err := cli.VolumeCreate(t.Context(), volume.CreateOptions{
		DriverOpts: map[string]string{"type": "none", "o": "bind", "device": device},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeVolume(t, v.Name) })
	return v.Name
}

// contextFor is the test's context with a deadline.
func contextFor(t *testing.T, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), d)
}

func errorf(format string, args ...any) error { return fmt.Errorf(format, args...) }

func write(t *testing.T, path, data string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

func of(ids ...string) <-chan string {
	c := make(chan string, len(ids))
	for _, id := range ids {
		c <- id
	}
	close(c)
	return c
}

// undo returns a client for cleaning up, when the test's own context and clients are gone.
func undo(t *testing.T) *client.Client {
	t.Helper()
	cli, err := client.NewClientWithOpts(client.WithHost("unix://"+dockertest.EngineSocket()), client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cli.Close() })
	return cli
}

func removeVolume(t *testing.T, name string) {
	t.Helper()
	if err := undo(t).VolumeRemove(context.Background(), name, true); err != nil {
		t.Error(err)
	}
}

// removeAll removes containers that a test made itself.
func removeAll(t *testing.T, ids <-chan string) {
	t.Helper()
	cli := undo(t)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for id := range ids {
				err := cli.ContainerRemove(context.Background(), id, container.RemoveOptions{Force: true})
				if err != nil && !errdefs.IsNotFound(err) {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}
