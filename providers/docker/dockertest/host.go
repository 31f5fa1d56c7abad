package dockertest

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/client"
	"github.com/docker/go-connections/nat"
)

// Host is an engine of its own, on a machine of its own as far as namespaces make one: its network, its host name and its
// processes. Nothing of it is reached by an address from outside.
type Host struct {
	Namespace string // of ip-netns(8)
	Bridge    string // the namespace of what joins the hosts, which has an address in their network as well
	Hostname  string // by which a Swarm knows the node
	Address   string // in the network of the hosts
	Socket    string // the path of its unix socket
	Client    *client.Client
	machine   *machine
}

// Hosts starts engines that are joined by a bridge. All of it ends with the test. It needs root.
func Hosts(t testing.TB, n int) []Host { return HostsWith(t, n, "") }

// HostsWith gives each dockerd more arguments; in them %s is the address of its machine.
func HostsWith(t testing.TB, n int, arguments string) []Host {
	t.Helper()
	Engine(t) // where there is none, there is no dockerd either
	Servers(t, "dockerd", "ip", "nsenter", "unshare")
	if os.Getuid() != 0 {
		without(t, "engine", "another engine needs root")
	}
	all := make([]Host, n)
	for i, m := range machines(t, n) {
		m.arguments = strings.ReplaceAll(arguments, "%s", m.address)
		m.start(t)
		all[i] = Host{Namespace: m.name, Bridge: m.bridge, Hostname: m.name, Address: m.address, Socket: m.socket, machine: m}
	}
	for i := range all {
		all[i].Client = connected(t, all[i].Socket)
	}
	for _, h := range all {
		h.answers(t)
	}
	return all
}

func connected(t testing.TB, socket string) *client.Client {
	t.Helper()
	c, err := client.NewClientWithOpts(client.WithHost("unix://"+socket), client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func (h Host) answers(t testing.TB) {
	t.Helper()
	Poll(t, Patience, "the engine of "+h.Hostname+" to answer", func() error {
		_, err := h.Client.Ping(t.Context())
		return err
	})
}

// Kill ends the engine and all that runs on its machine at once, as a power cut does. Its data stays.
func (h Host) Kill() { h.machine.kill() }

// Stop ends the engine as a person would, by SIGTERM; it ends what it runs. Its data stays.
func (h Host) Stop() { h.machine.stop() }

// Start starts a machine that is off, and waits until its engine answers.
func (h Host) Start(t testing.TB) {
	t.Helper()
	h.machine.start(t)
	h.answers(t)
}

// Cut takes the machine's cable out; Mend puts it back.
func (h Host) Cut(t testing.TB) {
	t.Helper()
	h.machine.link(t, "down")
}

// Mend undoes Cut.
func (h Host) Mend(t testing.TB) {
	t.Helper()
	h.machine.link(t, "up")
}

// Image makes the image of a kind on this engine.
func (h Host) Image(t testing.TB, kind Kind) string {
	t.Helper()
	return makeImage(t, h.Client, kind)
}

// Server makes a container of the test server, of exactly that name, that reads its files from a mount at /certs and reads
// them again on SIGHUP. Its port 8443 is published at a port of the machine. It starts nothing.
func (h Host) Server(t testing.TB, name string, published int, certs mount.Mount) (id string) {
	t.Helper()
	certs.Target, certs.ReadOnly = "/certs", true
	const port = "8443/tcp"
	made, err := h.Client.ContainerCreate(t.Context(),
		&container.Config{Image: h.Image(t, GoServer), Cmd: []string{"-reload", "hup"}, Labels: labels(nil), ExposedPorts: nat.PortSet{port: {}}},
		&container.HostConfig{Mounts: []mount.Mount{certs}, PortBindings: nat.PortMap{port: {{HostPort: fmt.Sprint(published)}}}}, nil, nil, name)
	if err != nil {
		t.Fatal(err)
	}
	return made.ID
}

// Run starts a container of the host.
func (h Host) Run(t testing.TB, id string) {
	t.Helper()
	if err := h.Client.ContainerStart(t.Context(), id, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
}

// Freeze stops the engine where it is: it takes connections, and answers none. Thaw lets it go on, and so does its end.
func (h Host) Freeze(t testing.TB) {
	t.Helper()
	h.machine.signal(t, syscall.SIGSTOP)
}

// Thaw undoes Freeze.
func (h Host) Thaw(t testing.TB) {
	t.Helper()
	h.machine.signal(t, syscall.SIGCONT)
}
