package dockertest_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/swarm"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// TestSwarmOf has a Swarm of three managers that can do without one of them: one that loses its power, and one that
// loses its link. Both come back with all they had, and nothing of them is left after the test.
func TestSwarmOf(t *testing.T) {
	var all []dockertest.Manager
	t.Run("while it is there", func(t *testing.T) {
		all = dockertest.SwarmOf(t, 3)
		first, third := all[0], all[2]
		names := map[string]bool{}
		for _, m := range all {
			first.Await(t, m.Hostname, swarm.NodeStateReady)
			names[m.Hostname] = true
		}
		if len(names) != 3 {
			t.Fatalf("the host names are %v", names)
		}
		made, err := third.Client.ContainerCreate(t.Context(), &container.Config{Image: third.Image(t, dockertest.GoServer)}, nil, nil, nil, "")
		if err != nil {
			t.Fatal(err)
		}
		if err := third.Client.ContainerStart(t.Context(), made.ID, container.StartOptions{}); err != nil {
			t.Fatal(err)
		}
		third.Kill()
		if left, err := exec.Command("ip", "netns", "pids", third.Namespace).Output(); err != nil || len(left) > 0 {
			t.Errorf("after it was killed there run %q, %v", left, err)
		}
		if _, err := third.Client.Ping(t.Context()); err == nil {
			t.Error("an engine that was killed answers")
		}
		first.Await(t, third.Hostname, swarm.NodeStateDown)
		third.Start(t)
		first.Await(t, third.Hostname, swarm.NodeStateReady)
		if c, err := third.Client.ContainerInspect(t.Context(), made.ID); err != nil || c.State.Running {
			t.Errorf("its container after the start: %+v, %v", c.State, err)
		}

		third.Cut(t)
		first.Await(t, third.Hostname, swarm.NodeStateDown)
		third.Mend(t)
		first.Await(t, third.Hostname, swarm.NodeStateReady)

		third.Stop()
		if conn, err := first.Dial(t.Context(), third.Address+":2377"); err == nil {
			_ = conn.Close()
			t.Error("an engine that was stopped takes connections")
		}
		third.Start(t)
		first.Await(t, third.Hostname, swarm.NodeStateReady)
		conn, err := first.Dial(t.Context(), third.Address+":2377")
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		third.Kill() // and so it is off when the test ends
	})
	for _, m := range all {
		if _, err := os.Stat(m.Socket); err == nil {
			t.Errorf("%s is left", m.Socket)
		}
		if _, err := os.Stat("/run/netns/" + m.Namespace); err == nil {
			t.Errorf("network namespace %s is left", m.Namespace)
		}
		for _, tree := range []string{"", "memory/"} {
			if _, err := os.Stat("/sys/fs/cgroup/" + tree + m.Namespace); err == nil {
				t.Errorf("control groups of %s are left", m.Namespace)
			}
		}
	}
	processes, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		line, err := os.ReadFile("/proc/" + p.Name() + "/cmdline")
		if err == nil && len(all) > 0 && strings.Contains(string(line), strings.TrimSuffix(all[0].Socket, "/1/docker.sock")) {
			t.Errorf("process %s is left: %q", p.Name(), line)
		}
	}
}
