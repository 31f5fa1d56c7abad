package docker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/docker/docker/client"
	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/docker/dockertest"
	"github.com/certwright/certwright/reconcile"
)

// filesJob is a courier for files that mounts nothing.
var filesJob = job{args: []string{"files"}, network: "none"}

// TestCourierIsBounded looks at what the engine lets couriers do while they run.
func TestCourierIsBounded(t *testing.T) {
	for name, row := range map[string]struct {
		look bool
		add  []string
	}{
		"looks":  {true, []string{"CAP_DAC_OVERRIDE"}},
		"writes": {false, []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER"}},
	} {
		t.Run(name, func(t *testing.T) {
			e, cli := engine(t)
			j := filesJob
			j.mount(reconcile.Location{Volume: dockertest.Volume(t)}, "/mnt/0", row.look, false)
			s, err := e.hire(soon(t), j)
			if err != nil {
				t.Fatal(err)
			}
			c, err := cli.ContainerInspect(t.Context(), s.name)
			if err != nil {
				t.Fatal(err)
			}
			type bounds struct {
				Network, Log   string
				ReadOnly, Auto bool
				Drop, Add      []string
				Labels         map[string]string
				Mounts         []string
			}
			got := bounds{
				Network: string(c.HostConfig.NetworkMode), Log: c.HostConfig.LogConfig.Type,
				ReadOnly: c.HostConfig.ReadonlyRootfs, Auto: c.HostConfig.AutoRemove,
				Drop: c.HostConfig.CapDrop, Add: c.HostConfig.CapAdd, Labels: c.Config.Labels,
			}
			for _, m := range c.Mounts {
				got.Mounts = append(got.Mounts, m.Destination)
				if m.RW == row.look {
					t.Errorf("may write to %s: %t", m.Destination, m.RW)
				}
			}
			want := bounds{
				Network: "none", Log: "none", ReadOnly: true, Auto: true, Drop: []string{"ALL"}, Add: row.add,
				Labels: map[string]string{labelCourier: "1", labelProject: t.Name()}, Mounts: []string{"/mnt/0"},
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("courier (-want +got):\n%s", diff)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if left := couriers(t, cli); len(left) > 0 {
				t.Errorf("%d couriers are left", len(left))
			}
		})
	}
}

// TestKilledClient kills a certwright that has a courier, and sees the courier go.
func TestKilledClient(t *testing.T) {
	_, cli := engine(t)
	again := exec.Command(os.Args[0])
	again.Env = append(os.Environ(), "CERTWRIGHT_ROLE=hire", "CERTWRIGHT_PROJECT="+t.Name(), "CERTWRIGHT_COURIER="+courierBinary(t))
	out, err := again.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 6)
	if _, err := out.Read(line); err != nil || string(line) != "hired\n" {
		t.Errorf("the other process said %q: %v", line, err)
	}
	if n := len(couriers(t, cli)); n != 1 {
		t.Errorf("%d couriers while it lives", n)
	}
	if err := again.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = again.Wait()
	dockertest.Poll(t, 20*time.Second, "the courier to go", func() error {
		if left := couriers(t, cli); len(left) > 0 {
			return errorf("%s is %s", left[0].Names[0], left[0].Status)
		}
		return nil
	})
}

// hireAndHang is the process that TestKilledClient kills.
func hireAndHang() {
	e := New("local", Options{
		Endpoint: "unix://" + dockertest.EngineSocket(), Project: os.Getenv("CERTWRIGHT_PROJECT"),
		CourierBinary: os.Getenv("CERTWRIGHT_COURIER"),
	})
	if _, err := e.hire(context.Background(), filesJob); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("hired")
	select {}
}

// TestLeftovers sweeps couriers that were created and never started, if they are old enough and of this project.
func TestLeftovers(t *testing.T) {
	now := time.Now()
	e, cli := engine(t, func(o *Options) { o.Now = func() time.Time { return now } })
	stranger, _ := engine(t, func(o *Options) { o.Project = "another project" })
	image, err := e.courierImage(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	left, theirs := create(t, e, cli, image), create(t, stranger, cli, image)
	exists := func(id string) bool {
		_, err := cli.ContainerInspect(t.Context(), id)
		return err == nil
	}
	e.sweep(t.Context())
	if !exists(left) {
		t.Fatal("one that was just created was swept")
	}
	now = now.Add(2 * leftoverAge)
	s, err := e.hire(soon(t), filesJob)
	if err != nil {
		t.Fatal(err)
	}
	if exists(left) || !exists(theirs) {
		t.Errorf("ours exists: %t; another project's: %t", exists(left), exists(theirs))
	}
	now = now.Add(2 * leftoverAge)
	e.sweep(t.Context())
	if !exists(s.name) {
		t.Error("one that runs was swept")
	}
	s.Close()
}

// create makes a courier as if certwright had been killed before it started it.
func create(t *testing.T, e *Engine, cli *client.Client, image string) string {
	t.Helper()
	config, host := e.courierConfig(image, filesJob)
	c, err := cli.ContainerCreate(t.Context(), config, host, nil, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeAll(t, of(c.ID)) })
	return c.ID
}

// TestCourierEffects refuses each effect of hiring a courier in turn, and loses its reply in turn: either way the
// call fails, and nothing stays.
func TestCourierEffects(t *testing.T) {
	for _, effect := range []string{"POST /containers/create", "POST /containers/{id}/attach", "POST /containers/{id}/start"} {
		for name, happens := range map[string]bool{"refused": false, "reply lost": true} {
			t.Run(effect+" "+name, func(t *testing.T) {
				lost := errors.New("lost")
				e, cli := engine(t, func(o *Options) {
					o.Around = func(what string, do func() error) error {
						if what != effect {
							return do()
						}
						if happens {
							if err := do(); err != nil {
								t.Error(err)
							}
						}
						return lost
					}
				})
				if _, err := e.hire(soon(t), filesJob); !errors.Is(err, lost) {
					t.Errorf("error %v", err)
				}
				dockertest.Poll(t, 10*time.Second, "no couriers", func() error {
					if left := couriers(t, cli); len(left) > 0 {
						return errorf("%d are left", len(left))
					}
					return nil
				})
			})
		}
	}
}
