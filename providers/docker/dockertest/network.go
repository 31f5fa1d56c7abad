package dockertest

import (
	"context"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
)

// Network makes a bridge network and returns its name. Containers on it find each other by name.
func Network(t testing.TB) string {
	t.Helper()
	return makeNetwork(t, objectName(t, "", false))
}

// Volume makes a local volume and returns its name.
func Volume(t testing.TB) string {
	t.Helper()
	return makeVolume(t, objectName(t, "", false))
}

func makeNetwork(t testing.TB, name string) string {
	t.Helper()
	made, err := Engine(t).NetworkCreate(t.Context(), name, network.CreateOptions{Driver: "bridge", Labels: labels(nil)})
	if err != nil {
		t.Fatalf("create network %s: %v", name, err)
	}
	t.Cleanup(func() {
		remove(t, "network "+name, func(ctx context.Context, cli *client.Client) error { return cli.NetworkRemove(ctx, made.ID) })
	})
	return name
}

func makeVolume(t testing.TB, name string) string {
	t.Helper()
	_, err := Engine(t).VolumeCreate(t.Context(), volume.CreateOptions{Name: name, Labels: labels(nil)})
	if err != nil {
		t.Fatalf("create volume %s: %v", name, err)
	}
	t.Cleanup(func() {
		remove(t, "volume "+name, func(ctx context.Context, cli *client.Client) error { return cli.VolumeRemove(ctx, name, false) })
	})
	return name
}

// remove takes something away when the test is over, when the test's own context and clients are gone.
func remove(t testing.TB, what string, do func(context.Context, *client.Client) error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cli, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err == nil {
		defer cli.Close()
		err = do(ctx, cli)
	}
	if err != nil && !errdefs.IsNotFound(err) {
		t.Errorf("remove %s: %v", what, err)
	}
}
