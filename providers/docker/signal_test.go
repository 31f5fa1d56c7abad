package docker

import (
	"cmp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"

	"github.com/certwright/certwright/providers/docker/dockertest"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// TestSignalKeepsRestarts reloads containers by a signal, has them crash, and wants them up again wherever their restart policy
// says so.
func TestSignalKeepsRestarts(t *testing.T) {
	e, cli := engine(t)
	for _, c := range []struct {
		name string
		container.RestartPolicyMode
		stop, user string
	}{
		{"unless stopped", container.RestartPolicyUnlessStopped, "", ""},
		{"unless stopped, with a stop signal", container.RestartPolicyUnlessStopped, "SIGQUIT", ""},
		{"always", container.RestartPolicyAlways, "", "100:101"},
		{"always, with the signal as its stop signal", container.RestartPolicyAlways, "HUP", ""},
		{"always, with the number of the signal as its stop signal", container.RestartPolicyAlways, "1", ""},
		{"always, with a stop signal", container.RestartPolicyAlways, "SIGQUIT", ""},
		{"on failure", container.RestartPolicyOnFailure, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			target := script(t, dockertest.Container{Restart: c.RestartPolicyMode, StopSignal: c.stop, User: c.user}, `trap 'echo took it' HUP; trap 'exit 3' USR2; echo ready`)
			logged(t, target.ID, "ready")
			expect(t, e.Reload(soon(t), target, spec.Reload{Signal: "HUP"}, reconcile.ReloadEnv{}), "")
			logged(t, target.ID, "took it")
			if left := couriers(t, cli); len(left) > 0 {
				t.Errorf("%d couriers are left", len(left))
			}
			crash(t, cli, target.ID)
			dockertest.Poll(t, 20*time.Second, "the container to run again", func() error {
				now, err := cli.ContainerInspect(t.Context(), target.ID)
				if err != nil {
					return err
				}
				if log := dockertest.Logs(t, target.ID); !now.State.Running || now.RestartCount == 0 || strings.Count(log, "ready") != 2 {
					return errorf("%s, restarted %d times: %q", now.State.Status, now.RestartCount, log)
				}
				return nil
			})
		})
	}
}

// crash sends a container's first process the signal on which it fails, past the engine: a command inside may be gone with the
// container before it is done.
func crash(t *testing.T, cli *client.Client, id string) {
	t.Helper()
	c, err := cli.ContainerInspect(t.Context(), id)
	if err == nil {
		err = syscall.Kill(c.State.Pid, syscall.SIGUSR2)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestSignalByTheEngine signals without a courier where none is of use, may be made, or can be had.
func TestSignalByTheEngine(t *testing.T) {
	always := container.RestartPolicyAlways
	for _, c := range []struct {
		name             string
		made             dockertest.Container
		look, refused    bool
		binary           string
		couriers, signal int // that the engine is asked for
	}{
		{name: "kept by a courier", made: dockertest.Container{Restart: always}, couriers: 1},
		{name: "no restart policy", signal: 1},
		{name: "no couriers", made: dockertest.Container{Restart: always}, look: true, signal: 1},
		{name: "its first process is not number one", made: dockertest.Container{Restart: always, Processes: "host"}, signal: 1},
		{name: "no binary for couriers", made: dockertest.Container{Restart: always}, binary: "/nonexistent/certwright", signal: 1},
		{name: "couriers are refused", made: dockertest.Container{Restart: always}, refused: true, couriers: 1, signal: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			asked := map[string]int{}
			e, _ := engine(t, func(o *Options) {
				o.LookOnly = c.look
				o.CourierBinary = cmp.Or(c.binary, o.CourierBinary)
				o.Around = func(what string, do func() error) error {
					asked[what]++
					if c.refused && what == "POST /containers/create" {
						return errorf("%s is refused", what)
					}
					return do()
				}
			})
			target := script(t, c.made, `trap 'echo took it' HUP; echo ready`)
			logged(t, target.ID, "ready")
			expect(t, e.Reload(soon(t), target, spec.Reload{Signal: "HUP"}, reconcile.ReloadEnv{}), "")
			logged(t, target.ID, "took it")
			if couriers, signals := asked["POST /containers/create"], asked["POST /containers/{id}/kill"]; couriers != c.couriers || signals != c.signal {
				t.Errorf("%d couriers and %d signals, want %d and %d", couriers, signals, c.couriers, c.signal)
			}
		})
	}
}
