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
var callsOfAPlan = []string{"GET /containers/json", "GET /info", "GET /volumes", "GET /volumes", "HEAD /_ping"}

// bringsImage marks a plan that is not counted: the first one with a courier, and any before which another test has
// tidied the courier's image away.
const bringsImage = "POST /images/create"

// TestCallsOfAPlan counts what a plan of an unchanged estate asks the engine: as much for 10 bindings as for 200,
// and as much with a thousand containers beside them; also where a courier has to look. All that was ever asked is
// in docker.Calls.
func TestCallsOfAPlan(t *testing.T) {
	cli := dockertest.Engine(t)
	proxy, err := dockertest.NewRecorder(t.TempDir(), dockertest.EngineSocket())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	plan := func(c command) (calls []string) {
		t.Helper()
		for range 5 {
			before := len(proxy.Requests())
			start := time.Now()
			c.want(exitDone, "plan", "--exit-code")
			calls = kinds(t, proxy.Requests()[before:])
			t.Logf("a plan took %s and %d calls", time.Since(start).Round(time.Millisecond), len(calls))
			if !slices.Contains(calls, bringsImage) {
				return calls
			}
		}
		t.Fatal("every plan brings the courier's image again")
		return nil
	}
	here := command{t: t, vars: map[string]string{"DOCKER_HOST": "unix://" + proxy.Socket}}
	remote := here
	remote.couriers, remote.args = true, []string{"--courier-binary", staticBinary(t)}

	const few, many = 10, 200
	var callsOfACourier []string
	for _, n := range []int{few, many} {
		here.dir = t.TempDir()
		remote.dir = here.dir
		server := layBindings(t, here, n)
		here.want(exitDone, "apply")
		dockertest.Start(t, server)
		served(t, server)
		here.want(exitDone, "apply")
		if b := here.status().binding(t, "b0"); b.State != "Ready" {
			t.Fatalf("b0 is %s (%s)", b.State, b.Reason)
		}
		if diff := cmp.Diff(callsOfAPlan, plan(here)); diff != "" {
			t.Errorf("%d bindings (-want +got):\n%s", n, diff)
		}
		if n == few {
			callsOfACourier = plan(remote)
		} else if diff := cmp.Diff(callsOfACourier, plan(remote)); diff != "" {
			t.Errorf("%d bindings and a courier (-want +got):\n%s", n, diff)
		}
	}
	strangers := 200
	if slices.Contains(strings.Split(os.Getenv("CERTWRIGHT_TEST_REQUIRE"), ","), "engine") {
		strangers = 1000
	}
	addStrangers(t, cli, strangers)
	if diff := cmp.Diff(callsOfAPlan, plan(here)); diff != "" {
		t.Errorf("beside %d containers (-want +got):\n%s", strangers, diff)
	}
	if diff := cmp.Diff(callsOfACourier, plan(remote)); diff != "" {
		t.Errorf("beside %d containers and with a courier (-want +got):\n%s", strangers, diff)
	}
	kinds(t, proxy.Requests())
}

// kinds turns requests into calls of docker.Calls, sorted, and fails the test if one is not in there.
func kinds(t *testing.T, requests []string) (calls []string) {
	t.Helper()
	for _, q := range requests {
		i := slices.IndexFunc(docker.Calls, func(c docker.Call) bool {
			return dockertest.Request(c.Method, c.Path).MatchString(q)
		})
		if i < 0 {
			t.Errorf("%s is not in docker.Calls", q)
			continue
		}
		calls = append(calls, docker.Calls[i].Method+" "+docker.Calls[i].Path)
	}
	slices.Sort(calls)
	return calls
}

// layBindings writes a tls.yaml of n bindings, each with a container that was created: to directories, to volumes
// and to paths in containers in turn. The first is a server with a probe, which wants to be started.
func layBindings(t *testing.T, c command, n int) (server string) {
	t.Helper()
	var spec strings.Builder
	spec.WriteString("version: 1\nproject: calls\ncas:\n  internal: {local: {}}\nidentities:\n  web: {ca: internal, names: [web.test]}\nbindings:\n")
	image := dockertest.Image(t, dockertest.GoServer)
	lines := make([]string, n)
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
		if i == 0 {
			place, server = place+", probe: {port: 8443}", consumer.ID
		}
		lines[i] = fmt.Sprintf("  b%d: {identity: web, container: %s, %s}\n", i, consumer.Name, place)
	})
	for _, l := range lines {
		spec.WriteString(l)
	}
	if err := os.WriteFile(c.dir+"/tls.yaml", []byte(spec.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return server
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
