package dockertest

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"
	"github.com/docker/go-connections/nat"
)

// Container says what Run is to make.
type Container struct {
	Image      string
	Name       string // made unique by a suffix, unless Exact
	Exact      bool   // take Name as it is; other test processes that want it wait
	Entrypoint []string
	Cmd        []string
	User       string
	StopSignal string // an imported image cannot carry it: PostgreSQL wants SIGINT
	Env        []string
	Mounts     []mount.Mount
	Network    string // with its name as an alias; the default bridge if ""
	Ports      []int  // published on free ports of 127.0.0.1
	Labels     map[string]string
	Health     *container.HealthConfig
	Restart    container.RestartPolicyMode
	Tries      int               // how often it is restarted on failure; without an end when zero
	Memory     int64             // how much it may have, in bytes; as much as it wants when zero
	ReadOnly   bool              // its root file system
	Tmpfs      map[string]string // options by path
	Processes  string            // the engine's PID mode
	Sysctls    map[string]string // of its namespaces
	Terminal   bool              // a terminal as its standard input and output
	Start      bool
}

// Running is a container that Run made.
type Running struct {
	ID   string
	Name string
}

// Run creates a container and starts it if asked. It is removed when the test ends; if the test failed, its last
// log lines are shown first.
func Run(t testing.TB, c Container) Running {
	t.Helper()
	cli := Engine(t)
	name := objectName(t, c.Name, c.Exact)
	config := &container.Config{
		Image: c.Image, Entrypoint: c.Entrypoint, Cmd: c.Cmd, User: c.User, Env: c.Env, StopSignal: c.StopSignal,
		Labels: labels(c.Labels), Healthcheck: c.Health, ExposedPorts: nat.PortSet{}, Tty: c.Terminal, OpenStdin: c.Terminal,
	}
	host := &container.HostConfig{
		Mounts: c.Mounts, PortBindings: nat.PortMap{},
		RestartPolicy: container.RestartPolicy{Name: c.Restart, MaximumRetryCount: c.Tries}, ReadonlyRootfs: c.ReadOnly, Tmpfs: c.Tmpfs, PidMode: container.PidMode(c.Processes), Sysctls: c.Sysctls,
		Resources: container.Resources{Memory: c.Memory, MemorySwap: c.Memory},
	}
	for _, port := range c.Ports {
		p := nat.Port(fmt.Sprintf("%d/tcp", port))
		config.ExposedPorts[p] = struct{}{}
		host.PortBindings[p] = []nat.PortBinding{{HostIP: "127.0.0.1"}}
	}
	networks := &network.NetworkingConfig{}
	if c.Network != "" {
		host.NetworkMode = container.NetworkMode(c.Network)
	}
	if c.Exact {
		removeLeftover(t, cli, name)
	}
	made, err := cli.ContainerCreate(t.Context(), config, host, networks, nil, name)
	if err != nil {
		t.Fatalf("create container %s: %v", name, err)
	}
	t.Cleanup(func() { finish(t, made.ID, name) })
	if c.Start {
		Start(t, made.ID)
	}
	return Running{ID: made.ID, Name: name}
}

// Start starts a container that was created, or has stopped.
func Start(t testing.TB, id string) {
	t.Helper()
	if err := Engine(t).ContainerStart(t.Context(), id, container.StartOptions{}); err != nil {
		t.Fatalf("start container %.12s: %v", id, err)
	}
}

// Signal sends a signal, e.g. HUP, to the first process of a container.
func Signal(t testing.TB, id, signal string) {
	t.Helper()
	if err := Engine(t).ContainerKill(t.Context(), id, signal); err != nil {
		t.Fatalf("send %s to container %.12s: %v", signal, id, err)
	}
}

// Inspect returns what the engine knows of a container.
func Inspect(t testing.TB, id string) container.InspectResponse {
	t.Helper()
	state, err := Engine(t).ContainerInspect(t.Context(), id)
	if err != nil {
		t.Fatalf("inspect container %.12s: %v", id, err)
	}
	return state
}

// Address returns the address of a running container on its first network, as this machine can dial it.
func Address(t testing.TB, id string) string {
	t.Helper()
	for _, end := range Inspect(t, id).NetworkSettings.Networks {
		if address, err := netip.ParseAddr(end.IPAddress); err == nil {
			return address.String()
		}
	}
	t.Fatalf("container %.12s has no address: it does not run", id)
	return ""
}

// Published returns where a port of a running container can be dialled from this machine, as host:port.
func Published(t testing.TB, id string, port int) string {
	t.Helper()
	for _, binding := range Inspect(t, id).NetworkSettings.Ports[nat.Port(fmt.Sprintf("%d/tcp", port))] {
		return binding.HostIP + ":" + binding.HostPort
	}
	t.Fatalf("container %.12s does not publish port %d", id, port)
	return ""
}

// WaitHealthy waits until the container's health check passes, and fails at once if it has ended.
func WaitHealthy(t testing.TB, id string) {
	t.Helper()
	Poll(t, Patience, fmt.Sprintf("container %.12s to be healthy", id), func() error {
		state := Inspect(t, id).State
		switch {
		case state.Health == nil:
			t.Fatalf("container %.12s has no health check", id)
		case state.Status == container.StateExited || state.Status == container.StateDead:
			t.Fatalf("container %.12s ended with %d", id, state.ExitCode)
		case state.Health.Status != container.Healthy:
			return fmt.Errorf("it is %s and %s", state.Status, state.Health.Status)
		}
		return nil
	})
}

// Healthy is a health check that runs argv in the container each second.
func Healthy(argv ...string) *container.HealthConfig {
	return &container.HealthConfig{
		Test: append([]string{"CMD"}, argv...), Interval: time.Second, Timeout: 30 * time.Second, Retries: 60,
	}
}

// finish shows the end of the log if the test failed, and removes the container with its nameless volumes.
func finish(t testing.TB, id, name string) {
	remove(t, "container "+name, func(ctx context.Context, cli *client.Client) error {
		if t.Failed() {
			if said := logs(ctx, cli, id, "40"); said != "" {
				t.Logf("container %s:\n%s", name, said)
			}
		}
		return cli.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
	})
}

// removeLeftover removes the container of that exact name if a killed test left it: no other test can own it, as
// this one holds the name. A container without Label belongs to a person and stays.
func removeLeftover(t testing.TB, cli *client.Client, name string) {
	t.Helper()
	there, err := cli.ContainerInspect(t.Context(), name)
	if errdefs.IsNotFound(err) {
		return
	}
	if err != nil {
		t.Fatalf("inspect container %s: %v", name, err)
	}
	mustBeOurs(t, "container "+name, there.Config.Labels)
	if err := cli.ContainerRemove(t.Context(), there.ID, container.RemoveOptions{Force: true, RemoveVolumes: true}); err != nil {
		t.Fatalf("remove the container %s that an earlier test left: %v", name, err)
	}
}

// mustBeOurs fails unless a test made the object of these labels.
func mustBeOurs(t testing.TB, what string, labels map[string]string) {
	t.Helper()
	if _, ours := labels[Label]; !ours {
		t.Fatalf("there is a %s that no test made: remove or rename it", what)
	}
}

// objectName makes a name unique, or holds an exact one until the test ends.
func objectName(t testing.TB, name string, exact bool) string {
	t.Helper()
	if exact {
		t.Cleanup(hold(t, "name-"+name))
		return name
	}
	if name == "" {
		name = "certwright-test"
	}
	return name + "-" + strings.ToLower(rand.Text()[:10])
}

// labels adds Label to what the test wants.
func labels(more map[string]string) map[string]string {
	all := map[string]string{Label: os.Getenv("CERTWRIGHT_TEST_RUN")}
	maps.Copy(all, more)
	return all
}
