package dockertest

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"
)

// Manager is a host whose engine manages a Swarm.
type Manager = Host

// Swarm starts an engine and makes it the manager of a new Swarm. Both end with the test. It needs root.
func Swarm(t testing.TB) Manager {
	t.Helper()
	return SwarmOf(t, 1)[0]
}

// SwarmOf starts engines that manage a Swarm together, joined by a bridge. The first one founded it. All of it ends with
// the test. It needs root.
func SwarmOf(t testing.TB, managers int) []Manager {
	t.Helper()
	all := Hosts(t, managers)
	first := all[0]
	init := swarm.InitRequest{ListenAddr: first.Address + swarmPort, AdvertiseAddr: first.Address}
	if managers > 1 {
		init.Spec.Dispatcher.HeartbeatPeriod = 2 * time.Second // a node counts as down after three of them
	}
	if _, err := first.Client.SwarmInit(t.Context(), init); err != nil {
		t.Fatalf("swarm init: %v", err)
	}
	for _, m := range all[1:] {
		m.join(t, first)
	}
	return all
}

const swarmPort = ":2377"

// join makes the engine one more manager of another's Swarm.
func (m Manager) join(t testing.TB, first Manager) {
	t.Helper()
	is, err := first.Client.SwarmInspect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = m.Client.SwarmJoin(t.Context(), swarm.JoinRequest{
		ListenAddr: m.Address + swarmPort, AdvertiseAddr: m.Address, RemoteAddrs: []string{first.Address + swarmPort}, JoinToken: is.JoinTokens.Manager,
	})
	if err != nil {
		t.Fatalf("swarm join of %s: %v", m.Hostname, err)
	}
	first.Await(t, m.Hostname, swarm.NodeStateReady)
}

// Await waits until this manager says that a node is in a state.
func (m Manager) Await(t testing.TB, hostname string, want swarm.NodeState) {
	t.Helper()
	Poll(t, Patience, hostname+" to be "+string(want), func() error {
		nodes, err := m.Client.NodeList(t.Context(), swarm.NodeListOptions{})
		for _, n := range nodes {
			switch {
			case n.Description.Hostname != hostname:
			case n.Status.State == want:
				return nil
			default:
				err = fmt.Errorf("it is %s", n.Status.State)
			}
		}
		return cmp.Or(err, errors.New("no such node"))
	})
}

// Remove takes a manager that is down out of the Swarm.
func (m Manager) Remove(t testing.TB, hostname string) {
	t.Helper()
	Poll(t, Patience, hostname+" to be removed", func() error {
		nodes, err := m.Client.NodeList(t.Context(), swarm.NodeListOptions{})
		for _, n := range nodes {
			if n.Description.Hostname != hostname {
				continue
			}
			if n.Spec.Role == swarm.NodeRoleManager {
				n.Spec.Role = swarm.NodeRoleWorker
				err = errors.Join(err, m.Client.NodeUpdate(t.Context(), n.ID, n.Version, n.Spec))
			}
			return errors.Join(err, m.Client.NodeRemove(t.Context(), n.ID, swarm.NodeRemoveOptions{Force: true}))
		}
		return err
	})
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

// Configs are the names of the configs there are.
func (m Manager) Configs(t testing.TB) []string {
	t.Helper()
	all, err := m.Client.ConfigList(t.Context(), swarm.ConfigListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	names := make([]string, len(all))
	for i, c := range all {
		names[i] = c.Spec.Name
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
