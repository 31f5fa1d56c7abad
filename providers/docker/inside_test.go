package docker

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// TestInside wants a courier in the network of a container that runs, which may listen at a low port and has nothing else.
func TestInside(t *testing.T) {
	e, cli := engine(t)
	web := serve(t, e, ":8080")
	conn, err := e.Inside(soon(t), web.Name, "files")
	if err != nil {
		t.Fatal(err)
	}
	all := couriers(t, cli)
	if len(all) != 1 {
		t.Fatalf("%d couriers", len(all))
	}
	c, err := cli.ContainerInspect(t.Context(), all[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	type bounds struct {
		Network   string
		Drop, Add []string
		Mounts    int
	}
	got := bounds{string(c.HostConfig.NetworkMode), c.HostConfig.CapDrop, c.HostConfig.CapAdd, len(c.Mounts)}
	want := bounds{"container:" + web.ID, []string{"ALL"}, []string{"CAP_NET_BIND_SERVICE"}, 0}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("courier (-want +got):\n%s", diff)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if left := couriers(t, cli); len(left) > 0 {
		t.Errorf("%d couriers are left", len(left))
	}

	stopped := dockertest.Run(t, dockertest.Container{Name: "stopped", Image: dockertest.Image(t, dockertest.Curl)})
	_, err = e.Inside(soon(t), stopped.Name, "files")
	expect(t, err, "container "+stopped.Name+" is created: start it")
	_, err = e.Inside(soon(t), "nobody-has-this-name", "files")
	expect(t, err, "there is no container nobody-has-this-name on engine local")
	absent := New("local", Options{Endpoint: "unix:///nonexistent/docker.sock", Project: t.Name()})
	_, err = absent.Inside(soon(t), web.Name, "files")
	expect(t, err, "nothing can be connected to there; start it")
}
