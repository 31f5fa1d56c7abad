package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// proving is a scene of a container in whose network names are proved: nothing of it listens at port 80 or 443, and the
// server asks for every name there.
type proving struct {
	scene
	web     dockertest.Running
	address string
	server  pebbleServer
}

func newProving(t *testing.T) proving {
	t.Helper()
	s := proving{scene: newScene(t)}
	s.settle = 0
	s.args = []string{"--courier-binary", staticBinary(t)}
	s.web = dockertest.Run(t, dockertest.Container{Image: dockertest.Image(t, dockertest.Redis), Name: "inside", Start: true})
	s.address = dockertest.Address(t, s.web.ID)
	var err error
	if s.server, err = newPebble(pebble(t), s.dir, "-http", "80", "-tls", "443", "-address", s.address); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.server.end)
	return s
}

// proves writes a tls.yaml in which web is proved in a way.
func (s proving) proves(way string) {
	s.t.Helper()
	s.write("tls.yaml", fmt.Sprintf(`version: 1
project: %s
cas:
  pebble: {acme: {directory: "%s", roots: roots.pem, %s}}
identities:
  web: {ca: pebble, names: [web.test, www.web.test, %s]}
bindings:
  web: {identity: web, trust: [pebble], directory: ./certs}
`, s.web.Name, s.server.Directory, way, s.address))
}

// couriers are those of the project.
func (s proving) couriers() []container.Summary {
	s.t.Helper()
	list, err := dockertest.Engine(s.t).ContainerList(s.t.Context(), container.ListOptions{All: true, Filters: filters.NewArgs(
		filters.Arg("label", "certwright.courier"), filters.Arg("label", "certwright.project="+s.web.Name),
	)})
	if err != nil {
		s.t.Fatal(err)
	}
	return list
}

// alone waits until no courier is left.
func (s proving) alone() {
	s.t.Helper()
	dockertest.Poll(s.t, 20*time.Second, "no courier to be left", func() error {
		if left := s.couriers(); len(left) > 0 {
			return fmt.Errorf("%s is %s", left[0].Names, left[0].State)
		}
		return nil
	})
}

// TestACMEInside proves names in the network of a container, over HTTP and in a handshake.
func TestACMEInside(t *testing.T) {
	s := newProving(t)
	for _, way := range []string{"http01: {container: %s}", "tlsAlpn01: {container: %s, port: 443}"} {
		s.proves(fmt.Sprintf(way, s.web.Name))
		s.want(exitDone, "apply")
		serial := placed(t, s.certs)
		verify := exec.Command("openssl", "verify", "-CAfile", "roots.pem", "-untrusted", "certs/cert.pem", "-verify_hostname", "www.web.test", "certs/cert.pem")
		verify.Dir = s.dir
		if out, err := verify.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		if left := s.couriers(); len(left) > 0 {
			t.Errorf("%d couriers are left", len(left))
		}
		s.want(exitDone, "plan", "--exit-code")
		s.want(exitDone, "rotate", "identity/web")
		if placed(t, s.certs) == serial {
			t.Error("it is not issued again")
		}
	}

	stopped := s.scene.server(dockertest.Container{Name: "stopped"})
	for way, reason := range map[string]string{
		"http01: {container: " + stopped.Name + "}":              "container " + stopped.Name + " is created: start it",
		"tlsAlpn01: {container: nobody-has-this-name}":           "there is no container nobody-has-this-name on engine local",
		"http01: {container: " + s.web.Name + ", port: 6379}":    "in the network of container " + s.web.Name + ": listen tcp :6379: bind: address already in use",
		"tlsAlpn01: {container: " + s.web.Name + ", port: 6379}": "address already in use",
	} {
		s.proves(way)
		s.says(s.want(exitPart, "rotate", "identity/web"), reason)
	}
	if left := s.couriers(); len(left) > 0 {
		t.Errorf("%d couriers are left", len(left))
	}
}

// TestACMEInsideKilled ends certwright while the server takes its time with a challenge. The courier goes with it, and the
// next run finishes the order.
func TestACMEInsideKilled(t *testing.T) {
	s := newProving(t)
	s.proves("http01: {container: " + s.web.Name + "}")
	hold := func(method string) {
		t.Helper()
		r, err := http.NewRequest(method, s.server.Control+"/hold?"+url.Values{"path": {"/chalZ"}}.Encode(), nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
	}
	asked := func() error { // nil when certwright answers, with nothing
		answer, err := http.Get("http://" + s.address + "/.well-known/acme-challenge/none")
		if err != nil {
			return err
		}
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusNotFound {
			return errors.New(answer.Status)
		}
		return nil
	}
	hold(http.MethodPost)
	again := exec.Command(staticBinary(t), "-f", filepath.Join(s.dir, "tls.yaml"), "apply")
	var said strings.Builder
	again.Stdout, again.Stderr = &said, &said
	if err := again.Start(); err != nil {
		t.Fatal(err)
	}
	dockertest.Poll(t, time.Minute, "somebody to listen in the container", asked)
	if n := len(s.couriers()); n != 1 {
		t.Errorf("%d couriers for two names and an address", n)
	}
	if err := again.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := again.Wait(); err == nil {
		t.Fatalf("it had ended before:\n%s", said.String())
	}
	s.alone()
	if asked() == nil {
		t.Error("somebody still listens")
	}
	hold(http.MethodDelete)
	http.DefaultClient.CloseIdleConnections()
	s.want(exitDone, "apply")
	s.want(exitDone, "plan", "--exit-code")
	s.alone()
}
