package docker

import (
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/certwright/certwright/providers/docker/dockertest"
	"github.com/certwright/certwright/reconcile"
)

// TestEnding has containers end in every way, and compares what the engine says of it, in its list and when it is asked.
func TestEnding(t *testing.T) {
	e, cli := engine(t)
	stop := func(id string) {
		if err := cli.ContainerStop(t.Context(), id, container.StopOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	signal := func(name string) func(string) {
		return func(id string) { dockertest.Signal(t, id, name) }
	}
	for _, row := range []struct {
		name   string
		c      dockertest.Container
		script string
		do     func(id string) // once it said ready
		want   reconcile.Ending
	}{
		{"by itself", dockertest.Container{}, "exit 3", nil, reconcile.Ending{Code: 3}},
		{"after all its tries", dockertest.Container{Restart: container.RestartPolicyOnFailure, Tries: 1}, "exit 3", nil, reconcile.Ending{Code: 3}},
		{"well", dockertest.Container{}, "exit 0", nil, reconcile.Ending{}},
		{"for want of memory", dockertest.Container{Memory: 16 << 20}, "x=a; while :; do x=$x$x; done", nil, reconcile.Ending{Code: 137, OOM: true}},
		{"stopped", dockertest.Container{}, "trap 'exit 143' TERM; echo ready; sleep 60 & wait", stop, reconcile.Ending{Code: 143, Stopped: true}},
		{"stopped, with a code of its own", dockertest.Container{}, "trap 'exit 4' TERM; echo ready; sleep 60 & wait", stop, reconcile.Ending{Code: 4, Stopped: true}},
		{"by a signal to reload", dockertest.Container{}, "trap 'exit 4' HUP; echo ready; sleep 60 & wait", signal("HUP"), reconcile.Ending{Code: 4}},
		{"by a signal to reload, and kept unless stopped", dockertest.Container{Restart: container.RestartPolicyUnlessStopped}, "trap 'exit 4' HUP; echo ready; sleep 60 & wait", signal("HUP"), reconcile.Ending{Code: 4}},
		{"stopped by a signal of its own after one to reload", dockertest.Container{Restart: container.RestartPolicyUnlessStopped, StopSignal: "SIGWINCH"}, "trap : HUP; trap 'exit 4' WINCH; echo ready; while :; do sleep 60 & wait; done", func(id string) {
			signal("HUP")(id)
			stop(id)
		}, reconcile.Ending{Code: 4, StopSignal: "SIGWINCH", Stopped: true}},
		{"stopped by another signal", dockertest.Container{StopSignal: "SIGQUIT"}, "trap 'exit 131' QUIT; echo ready; sleep 60 & wait", stop, reconcile.Ending{Code: 131, StopSignal: "SIGQUIT", Stopped: true}},
		{"killed", dockertest.Container{}, "echo ready; sleep 60 & wait", signal("KILL"), reconcile.Ending{Code: 137, Stopped: true}},
		{"stopped, and kept", dockertest.Container{Restart: container.RestartPolicyAlways}, "trap 'exit 4' TERM; echo ready; sleep 60 & wait", stop, reconcile.Ending{Code: 4, Stopped: true}},
	} {
		t.Run(row.name, func(t *testing.T) {
			begun := time.Now()
			c := script(t, row.c, row.script)
			if row.do != nil {
				logged(t, c.ID, "ready")
				row.do(c.ID)
			}
			dockertest.Poll(t, time.Minute, "it to end", func() error {
				if s := dockertest.Inspect(t, c.ID).State; s.Running || s.Restarting {
					return errorf("it is %s", s.Status)
				}
				return nil
			})
			got, err := Engines{"local": e}.Ending(soon(t), "local", c.ID)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(row.want, got, cmpopts.IgnoreFields(reconcile.Ending{}, "At")); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
			if got.At.Before(begun.Add(-time.Second)) || got.At.After(time.Now()) {
				t.Errorf("it ended at %s", got.At)
			}
			if listed := find(t, e, c.ID).Code; listed != row.want.Code {
				t.Errorf("the list has code %d", listed)
			}
		})
	}
	t.Run("again and again", func(t *testing.T) {
		c := script(t, dockertest.Container{Restart: container.RestartPolicyAlways}, "sleep 0.5; exit 3")
		between, running := false, false
		dockertest.Poll(t, time.Minute, "it to be seen between two starts, and after the second", func() error {
			listed := find(t, e, c.ID)
			got, err := e.Ending(soon(t), c.ID)
			switch {
			case err != nil:
				return err
			case listed.State == "restarting" && got.Code == 3:
				between = true
				if listed.Code != 3 || listed.Anew || !got.Again || got.Stopped || !got.Began.Before(got.At) {
					t.Errorf("between two starts: %+v, listed with code %d, anew: %t", got, listed.Code, listed.Anew)
				}
			case listed.Running() && got.Again && got.Began.IsZero():
				running = running || listed.Anew && !got.At.IsZero() && !got.Stopped
			}
			if !between || !running {
				return errorf("between: %t, running: %t", between, running)
			}
			return nil
		})
	})
	t.Run("without a beginning", func(t *testing.T) {
		c := dockertest.Run(t, dockertest.Container{Image: dockertest.Image(t, dockertest.Curl), Entrypoint: []string{"/nonexistent"}})
		if err := cli.ContainerStart(t.Context(), c.ID, container.StartOptions{}); err == nil {
			t.Fatal("it was started")
		}
		got, err := e.Ending(soon(t), c.ID)
		if err != nil || got.Code != 127 || got.Error == "" || !got.At.IsZero() {
			t.Errorf("%+v, %v", got, err)
		}
		if listed := find(t, e, c.ID); listed.State != "created" || listed.Code != 0 || !listed.Tried {
			t.Errorf("the list has it as %s, with code %d, tried: %v", listed.State, listed.Code, listed.Tried)
		}
	})
}
