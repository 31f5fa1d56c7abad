package dockertest

import (
	"bytes"
	"context"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/client"
)

// Manager is an engine of its own that manages a Swarm of one node, in a network namespace of its own: nothing of it is
// reached by an address from outside.
type Manager struct {
	Namespace string // of ip-netns(8)
	Socket    string // the path of its unix socket
	Client    *client.Client
}

// Swarm starts an engine and makes it the manager of a new Swarm. Both end with the test. It needs root.
func Swarm(t testing.TB) Manager {
	t.Helper()
	Engine(t) // where there is none, there is no dockerd either
	Servers(t, "dockerd", "ip", "nsenter", "unshare")
	if os.Getuid() != 0 {
		without(t, "engine", "another engine needs root")
	}
	dir, err := os.MkdirTemp("", "certwright-swarm-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	name := "cw-" + strings.ToLower(rand.Text()[:8])
	command(t, "ip", "netns", "add", name)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "delete", name).Run() })
	command(t, "ip", "-n", name, "link", "set", "lo", "up")

	m := Manager{Namespace: name, Socket: filepath.Join(dir, "docker.sock")}
	start(t, name, dir, m.Socket)
	if m.Client, err = client.NewClientWithOpts(client.WithHost("unix://"+m.Socket), client.WithAPIVersionNegotiation()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Client.Close() })
	Poll(t, time.Minute, "the other engine to answer", func() error {
		_, err := m.Client.Ping(t.Context())
		return err
	})
	_, err = m.Client.SwarmInit(t.Context(), swarm.InitRequest{ListenAddr: "127.0.0.1:2377", AdvertiseAddr: "127.0.0.1"})
	if err != nil {
		t.Fatalf("swarm init: %v", err)
	}
	return m
}

// start runs dockerd in a network namespace. `ip netns exec` would hide the cgroups from it, so it is nsenter; its mounts
// go with a mount namespace of its own.
func start(t testing.TB, namespace, dir, socket string) {
	t.Helper()
	empty := filepath.Join(dir, "daemon.json")
	if err := os.WriteFile(empty, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	dockerd := strings.Join([]string{
		"exec", "dockerd", "--config-file", empty, "--data-root", dir + "/data", "--exec-root", dir + "/exec",
		"--pidfile", dir + "/pid", "-H", "unix://" + socket, "--storage-driver", "vfs", "--bip", "172.31.0.1/24",
	}, " ")
	cmd := exec.Command("nsenter", "--net=/run/netns/"+namespace, "unshare", "-m", "sh", "-c", "mount -t tmpfs tmpfs /run && "+dockerd)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatalf("start dockerd: %v", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(time.Minute):
			_ = cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			lines := strings.Split(said.String(), "\n")
			t.Logf("the other engine:\n%s", strings.Join(lines[max(0, len(lines)-30):], "\n"))
		}
	})
}

func command(t testing.TB, argv ...string) {
	t.Helper()
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(argv, " "), err, out)
	}
}

// Image makes the image of a kind on this engine.
func (m Manager) Image(t testing.TB, kind Kind) string {
	t.Helper()
	return makeImage(t, m.Client, kind)
}

// Serve makes a service that is removed, with its tasks, when the test ends.
func (m Manager) Serve(t testing.TB, spec swarm.ServiceSpec) (id string) {
	t.Helper()
	made, err := m.Client.ServiceCreate(t.Context(), spec, swarm.ServiceCreateOptions{})
	if err != nil {
		t.Fatalf("create service %s: %v", spec.Name, err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := m.Client.ServiceRemove(ctx, made.ID); err != nil {
			t.Errorf("remove service %s: %v", spec.Name, err)
		}
	})
	return made.ID
}

// Service reads a service.
func (m Manager) Service(t testing.TB, id string) swarm.Service {
	t.Helper()
	s, _, err := m.Client.ServiceInspectWithRaw(t.Context(), id, swarm.ServiceInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Secret reads what can be read of a secret.
func (m Manager) Secret(t testing.TB, name string) swarm.Secret {
	t.Helper()
	s, _, err := m.Client.SecretInspectWithRaw(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Secrets are the names of the secrets there are.
func (m Manager) Secrets(t testing.TB) []string {
	t.Helper()
	all, err := m.Client.SecretList(t.Context(), swarm.SecretListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	names := make([]string, len(all))
	for i, s := range all {
		names[i] = s.Spec.Name
	}
	return names
}

// Network makes an overlay network that goes with the engine, and returns its id.
func (m Manager) Network(t testing.TB) string {
	t.Helper()
	made, err := m.Client.NetworkCreate(t.Context(), "net-"+strings.ToLower(rand.Text()[:6]), network.CreateOptions{Driver: "overlay"})
	if err != nil {
		t.Fatal(err)
	}
	return made.ID
}

// Spec is a service of replicas of an image of a kind, with arguments of its command.
func (m Manager) Spec(t testing.TB, kind Kind, name string, replicas uint64, args ...string) swarm.ServiceSpec {
	t.Helper()
	delay := time.Second
	return swarm.ServiceSpec{
		Annotations: swarm.Annotations{Name: name + "-" + strings.ToLower(rand.Text()[:6]), Labels: labels(nil)},
		TaskTemplate: swarm.TaskSpec{
			ContainerSpec: &swarm.ContainerSpec{Image: m.Image(t, kind), Args: args, Labels: labels(nil)},
			RestartPolicy: &swarm.RestartPolicy{Condition: swarm.RestartPolicyConditionAny, Delay: &delay},
		},
		Mode: swarm.ServiceMode{Replicated: &swarm.ReplicatedService{Replicas: &replicas}},
	}
}

// TLSServer is the spec of a service of the test server, which reads its files under /run/secrets.
func (m Manager) TLSServer(t testing.TB, name string, replicas uint64, flags ...string) swarm.ServiceSpec {
	t.Helper()
	args := []string{"-cert", "/run/secrets/cert.pem", "-key", "/run/secrets/key.pem", "-ca", "/run/secrets/ca.pem", "-reload", "restart"}
	return m.Spec(t, GoServer, name, replicas, append(args, flags...)...)
}
