package docker

import (
	"testing"

	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/docker/dockertest"
	"github.com/certwright/certwright/reconcile"
)

// TestDescribe compares everything that is told of a container with names, ports, labels and mounts.
func TestDescribe(t *testing.T) {
	e, cli := engine(t)
	net, volume := dockertest.Network(t), dockertest.Volume(t)
	c := dockertest.Run(t, dockertest.Container{
		Image: dockertest.Image(t, dockertest.Curl), Name: "web", Ports: []int{8443, 443},
		Labels: map[string]string{composeProject: "shop", composeService: "web"},
		Mounts: []mount.Mount{{Type: mount.TypeVolume, Source: volume, Target: "/certs"}},
	})
	if err := cli.NetworkConnect(t.Context(), net, c.ID, &network.EndpointSettings{Aliases: []string{"web", "shop.test"}}); err != nil {
		t.Fatal(err)
	}
	dockertest.Start(t, c.ID)
	stopped := dockertest.Run(t, dockertest.Container{Image: dockertest.Image(t, dockertest.Curl), Name: "stopped"})

	all, err := e.Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range all {
		if got.Name == stopped.Name {
			t.Errorf("a container that does not run is described: %+v", got)
		}
		if got.Name != c.Name {
			continue
		}
		got.Mounts[0].Source = "" // the engine's own folder
		want := Description{
			ID: c.ID, Name: c.Name, Image: dockertest.Image(t, dockertest.Curl), ComposeProject: "shop", ComposeService: "web",
			Networks: []DescribedNetwork{{net, []string{"web", "shop.test"}}},
			Mounts:   []reconcile.Mount{{Type: "volume", Name: volume, Destination: "/certs", ReadWrite: true}},
			Ports:    []int{443, 8443}, Published: true,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("described (-want +got):\n%s", diff)
		}
		return
	}
	t.Errorf("%s is not described", c.Name)
}
