package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/client"
	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/docker"
	"github.com/certwright/certwright/providers/docker/dockertest"
)

// callsOfAPlan is what looking at an unchanged estate on this machine's engine asks: the version, the machine, the
// containers, the volumes, and the volumes once more with their folders.
var callsOfAPlan = []string{"HEAD /_ping", "GET /containers/json", "GET /volumes", "GET /volumes", "GET /info"}

// TestCallsOfAPlan counts what a plan of an unchanged estate asks the engine: as much for 10 bindings as for 200,
// and as much with a thousand containers beside them. All that was ever asked is in docker.Calls.
func TestCallsOfAPlan(t *testing.T) {
	cli := dockertest.Engine(t)
	proxy, err := dockertest.NewRecorder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	plan := func(c command) []string {
		t.Helper()
		before := len(proxy.Requests())
		start := time.Now()
		c.want(exitDone, "plan", "--exit-code")
		t.Logf("a plan took %s", time.Since(start).Round(time.Millisecond))
		return proxy.Requests()[before:]
	}
	check := func(when string, got []string) {
		t.Helper()
		slices.Sort(got)
		want := slices.Sorted(slices.Values(callsOfAPlan))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	var last command
	for _, n := range []int{10, 200} {
		last = command{t: t, dir: t.TempDir(), vars: map[string]string{"DOCKER_HOST": "unix://" + proxy.Socket}}
		servers := layBindings(t, last, n)
		last.want(exitDone, "apply")
		for _, id := range servers {
			dockertest.Start(t, id)
			served(t, id)
		}
		last.want(exitDone, "apply")
		if b := last.status().binding(t, "b0"); b.State != "Ready" {
			t.Fatalf("b0 is %s (%s)", b.State, b.Reason)
		}
		check(fmt.Sprintf("%d bindings", n), plan(last))
	}
	strangers := 200
	if slices.Contains(strings.Split(os.Getenv("CERTWRIGHT_TEST_REQUIRE"), ","), "engine") {
		strangers = 1000
	}
	addStrangers(t, cli, strangers)
	check(fmt.Sprintf("200 bindings beside %d containers", strangers), plan(last))

	for _, q := range proxy.Requests() {
		if !slices.ContainsFunc(docker.Calls, func(c docker.Call) bool {
			return dockertest.Request(c.Method, c.Path).MatchString(q)
		}) {
			t.Errorf("%s is not in docker.Calls", q)
		}
	}
}

// layBindings writes a tls.yaml of n bindings, each with a container that was created: to directories, to volumes
// and to paths in containers in turn. The first of each fifty has a probe and wants to be started.
func layBindings(t *testing.T, c command, n int) (servers []string) {
	t.Helper()
	var spec strings.Builder
	spec.WriteString("version: 1\nproject: calls\ncas:\n  internal: {local: {}}\nidentities:\n  web: {ca: internal, names: [web.test]}\nbindings:\n")
	image := dockertest.Image(t, dockertest.GoServer)
	lines, probed := make([]string, n), make([]string, n)
	inParallel(n, func(i int) {
		dir := fmt.Sprintf("%s/%d", c.dir, i)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Error(err)
			return
		}
		made, place := mount.Mount{Type: mount.TypeBind, Source: dir, Target: "/certs"}, fmt.Sprintf("directory: ./%d", i)
		switch i % 3 {
		case 1:
			volume := dockertest.Volume(t)
			made, place = mount.Mount{Type: mount.TypeVolume, Source: volume, Target: "/certs"}, "volume: "+volume
		case 2:
			place = "path: /certs"
		}
		consumer := dockertest.Run(t, dockertest.Container{
			Name: "calls", Image: image, Cmd: []string{"-reload", "hot"}, Mounts: []mount.Mount{made},
		})
		if i%50 == 0 {
			place, probed[i] = place+", probe: {port: 8443}", consumer.ID
		}
		lines[i] = fmt.Sprintf("  b%d: {identity: web, container: %s, %s}\n", i, consumer.Name, place)
	})
	for _, l := range lines {
		spec.WriteString(l)
	}
	if err := os.WriteFile(c.dir+"/tls.yaml", []byte(spec.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(probed, func(id string) bool { return id == "" })
}

// addStrangers creates containers that no binding names, and removes them when the test ends.
func addStrangers(t *testing.T, cli *client.Client, n int) {
	t.Helper()
	start := time.Now()
	image := dockertest.Image(t, dockertest.GoServer)
	ids := make([]string, n)
	t.Cleanup(func() {
		start := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		cli, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
		if err != nil {
			t.Fatal(err)
		}
		defer cli.Close()
		inParallel(n, func(i int) {
			if ids[i] == "" {
				return
			}
			if err := cli.ContainerRemove(ctx, ids[i], container.RemoveOptions{Force: true}); err != nil {
				t.Errorf("remove container %.12s: %v", ids[i], err)
			}
		})
		t.Logf("%d containers were removed in %s", n, time.Since(start).Round(time.Second))
	})
	inParallel(n, func(i int) {
		made, err := cli.ContainerCreate(t.Context(), &container.Config{
			Image: image, Labels: map[string]string{dockertest.Label: os.Getenv("CERTWRIGHT_TEST_RUN")},
		}, nil, nil, nil, "")
		if err != nil {
			t.Error(err)
			return
		}
		ids[i] = made.ID
	})
	t.Logf("%d containers were created in %s", n, time.Since(start).Round(time.Second))
}

// inParallel calls do for 0 … n-1, eight at a time.
func inParallel(n int, do func(i int)) {
	next := make(chan int)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range next {
				do(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	all.Wait()
}
