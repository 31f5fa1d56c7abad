package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/docker"
	"github.com/certwright/certwright/providers/docker/dockertest"
)

// findings is `lint -o json`, without hints.
func (c command) findings() map[string][]string {
	c.t.Helper()
	var d struct {
		Findings []findingDocument
	}
	r := c.want(exitDone, "lint", "-o", "json")
	if err := json.Unmarshal([]byte(r.out), &d); err != nil {
		c.t.Fatalf("lint: %v\n%s", err, r.out)
	}
	out := map[string][]string{}
	for _, f := range d.Findings {
		out[f.Subject] = append(out[f.Subject], f.Reason)
	}
	return out
}

// TestLintOfAnEngine finds what is mistaken in how a real container is called, and in what it mounts, and nothing when that is mended.
func TestLintOfAnEngine(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	net := dockertest.Network(t)
	s.write("pass", "correct horse battery staple\n") // mode 0644
	web := s.server(dockertest.Container{
		Name: "web", Network: net, Labels: map[string]string{"com.docker.compose.project": "shop", "com.docker.compose.service": "web"},
		Mounts: []mount.Mount{{Type: mount.TypeBind, Source: s.dir, Target: "/all"}},
	}, "-cert", "/all/certs/cert.pem", "-key", "/all/certs/key.pem")
	write := func(names, more string) {
		s.write("tls.yaml", `version: 1
project: scene
store: {passphrase: {file: pass}}
cas:
  internal: {local: {lifetime: 10y}}
identities:
  web: {ca: internal, names: `+names+`}
bindings:
  web:
    identity: web
    directory: certs
    container: `+web.Name+more+`
`)
	}
	write("[localhost]", "")
	s.want(exitDone, "apply")
	dockertest.Start(t, web.ID)
	want := map[string][]string{
		"binding/web": {
			web.Name + " can write what it mounts at /all: who breaks into it can put other files there",
			"nothing looks whether its consumer has loaded what is placed: it has no probe",
			"it answers to web, " + web.Name + ", web." + net + ", which its certificate does not have",
		},
		"file " + filepath.Join(s.dir, ".certwright"): {"the store is in what " + web.Name + " mounts at /all: who breaks into that has it"},
		"file " + filepath.Join(s.dir, "pass"): {
			"a password can be read or changed by other users (mode 0644)", "a password is in what " + web.Name + " mounts at /all: who breaks into that has it",
		},
	}
	if diff := cmp.Diff(want, s.findings()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	s.want(exitPart, "lint", "--exit-code")

	if err := os.Chmod(filepath.Join(s.dir, "pass"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := dockertest.Engine(t).ContainerRemove(t.Context(), web.ID, container.RemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	web = s.server(dockertest.Container{Name: "web", Network: net, Labels: map[string]string{"com.docker.compose.project": "shop", "com.docker.compose.service": "web"}}, "-reload", "hup")
	write("[web, "+web.Name+", web."+net+"]", "\n    reload: {signal: HUP}\n    probe: {port: 8443}")
	s.up(web)
	if diff := cmp.Diff(map[string][]string{}, s.findings()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	s.says(s.want(exitDone, "lint", "--exit-code"), "scene: nothing found.")
}

// TestLintOfAnEngineThatRefuses has a second engine that lists its containers and does not tell more: that is said, and what the
// first one tells is found all the same.
func TestLintOfAnEngineThatRefuses(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	net := dockertest.Network(t)
	web := s.server(dockertest.Container{
		Name: "web", Network: net, Mounts: []mount.Mount{{Type: mount.TypeBind, Source: s.dir, Target: "/all"}},
	}, "-cert", "/all/certs/cert.pem", "-key", "/all/certs/key.pem")
	proxy := newAllowing(t, dockertest.EngineSocket())
	proxy.refuses(docker.Call{Method: "GET", Path: "/containers/{id}/json"})
	write := func(far string) {
		s.write("tls.yaml", `version: 1
project: scene
hosts:
  beside: {endpoint: "unix://`+proxy.socket+`"}
cas:
  internal: {local: {lifetime: 10y}}
identities:
  web: {ca: internal, names: [localhost]}
bindings:
  web: {identity: web, container: `+web.Name+`, directory: certs, probe: {port: 8443}}
`+far)
	}
	write("")
	s.want(exitDone, "apply")
	dockertest.Start(t, web.ID)
	write("  far: {identity: web, host: beside, container: nobody, volume: nowhere, probe: {port: 8443}}\n")
	found := s.findings()
	want := "it answers to " + web.Name + ", " + web.Name + "." + net + ", which its certificate does not have"
	if !slices.Contains(found["binding/web"], want) {
		t.Errorf("web: %q, want %q among it", found["binding/web"], want)
	}
	if far := found["host/beside"]; len(far) != 1 || !strings.HasPrefix(far[0], "its containers were looked at in part alone: describe container ") {
		t.Errorf("beside: %q", far)
	}
}
