package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/docker/docker/api/types/mount"

	"github.com/certwright/certwright/providers/docker/dockertest"
	"github.com/certwright/certwright/spec"
)

// TestExampleIsTheRepositorys: what init writes is what the documentation speaks of.
func TestExampleIsTheRepositorys(t *testing.T) {
	want, err := os.ReadFile("../../tls.yaml.example")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, exampleSpec) {
		t.Error("cmd/certwright/tls.yaml.example differs from tls.yaml.example: copy it")
	}
}

// TestInitRunning makes a spec from the containers of a real engine, among whatever else runs there.
func TestInitRunning(t *testing.T) {
	dockertest.Engine(t)
	image, network, volume := dockertest.Image(t, dockertest.Curl), dockertest.Network(t), dockertest.Volume(t)
	web := dockertest.Run(t, dockertest.Container{
		Image: image, Name: "web", Network: network, Ports: []int{8443}, Start: true,
		Mounts: []mount.Mount{{Type: mount.TypeVolume, Source: volume, Target: "/etc/ssl/private"}},
	})
	labels := map[string]string{"com.docker.compose.project": network, "com.docker.compose.service": "worker"}
	for range 2 { // replicas of one service
		dockertest.Run(t, dockertest.Container{Image: image, Name: "worker", Network: network, Labels: labels, Start: true})
	}

	c := command{t: t, dir: t.TempDir()}
	c.want(exitDone, "init", "--running", "-o", filepath.Join(c.dir, "tls.yaml"))
	s, err := spec.Load([]string{filepath.Join(c.dir, "tls.yaml")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, id := s.BindingByName(web.Name), s.IdentityByName(web.Name)
	if b == nil || id == nil {
		t.Fatalf("nothing of %s in the spec", web.Name)
	}
	if b.Consumer.Container != web.Name || b.Place.Volume != volume || b.Probe == nil || b.Probe.Port != 8443 {
		t.Errorf("binding: %+v", b)
	}
	want := map[string]bool{web.Name: true, web.Name + "." + network: true, "localhost": true, "127.0.0.1": true}
	for _, n := range id.Names {
		if !want[n.Value] {
			t.Errorf("name %s", n.Value)
		}
		delete(want, n.Value)
	}
	if len(want) > 0 {
		t.Errorf("names that are missing: %v", want)
	}
	services := 0
	for _, b := range s.Bindings {
		if b.Consumer.ComposeProject == network {
			services++
			if id := s.IdentityByName(b.Name); id == nil || id.Usage(spec.Server) {
				t.Errorf("a service without a port is no client: %+v", id)
			}
		}
	}
	if services != 1 {
		t.Errorf("%d bindings for one service of two replicas", services)
	}
}
