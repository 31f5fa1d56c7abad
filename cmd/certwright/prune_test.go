package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// TestPruneSpares takes a binding out of the spec whose container still runs on its files: they stay until it is
// stopped, and then what is somebody else's stays.
func TestPruneSpares(t *testing.T) {
	t.Parallel()
	for _, place := range []string{"directory", "volume", "path"} {
		t.Run(place, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			dir, at := s.certs, "directory: ./certs"
			mounts := []mount.Mount{bindMount(s.certs, "/certs")}
			switch place {
			case "volume":
				volume := dockertest.Volume(t)
				dir, at = mountpoint(t, volume), "volume: "+volume
				mounts = []mount.Mount{{Type: mount.TypeVolume, Source: volume, Target: "/certs"}}
			case "path":
				at = "path: /certs"
			}
			web := s.server(dockertest.Container{Name: "pruned", Mounts: mounts}, "-reload", "hot")
			other := filepath.Join(dir, "other.txt")
			if err := os.WriteFile(other, []byte("mine\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			more := "  left: {trust: [internal], directory: ./left}\n  right: {trust: [internal], directory: ./right}"
			s.spec("container: "+web.Name, at, "probe: {port: 8443}\n"+more)
			s.up(web)
			before := tree(t, dir)

			// Nothing that is left needs the engine.
			spec, err := os.ReadFile(filepath.Join(s.dir, "tls.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			from, to := strings.Index(string(spec), "  web:\n    identity"), strings.Index(string(spec), more)
			s.write("tls.yaml", string(spec[:from])+string(spec[to:]))
			s.says(s.want(exitDone, "plan", "--exit-code"), "binding/web: left the spec, but "+web.Name+" still mounts it")
			s.want(exitDone, "apply")
			s.want(exitDone, "apply", "--prune=all")
			if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
				t.Fatalf("changed under a running container (-before +after):\n%s", diff)
			}
			served(t, web.ID)

			if err := dockertest.Engine(t).ContainerStop(t.Context(), web.ID, container.StopOptions{}); err != nil {
				t.Fatal(err)
			}
			s.says(s.want(exitPending, "plan", "--exit-code"), "remove the files of web")
			s.want(exitDone, "apply", "--prune=false")
			if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
				t.Fatalf("changed although nothing was to be pruned (-before +after):\n%s", diff)
			}
			s.want(exitDone, "apply")
			if left := orphans(t, dir, "other.txt"); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			if data, err := os.ReadFile(other); err != nil || string(data) != "mine\n" {
				t.Errorf("other.txt: %q, %v", data, err)
			}
			s.want(exitDone, "plan", "--exit-code")
		})
	}
}
