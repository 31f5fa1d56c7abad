package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/mount"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// TestForget has one of two hosts die for good. Out of the spec it holds nothing up, is named, and is forgotten when a person
// says so.
func TestForget(t *testing.T) {
	t.Parallel()
	s := &hostScene{t: t, dir: t.TempDir(), hosts: dockertest.Hosts(t, 2), env: []string{"DOCKER_HOST=unix:///nonexistent.sock"}}
	host := func(i int) string { return fmt.Sprintf("  h%d: {endpoint: \"unix://%s\"}\n", i, s.hosts[i].Socket) }
	binding := func(i int) string {
		return fmt.Sprintf("  web-%d: {identity: web-%[1]d, host: h%[1]d, container: web, volume: certs, reload: {signal: HUP}, probe: {port: 8443}}\n", i)
	}
	identity := func(i int) string { return fmt.Sprintf("  web-%d: {ca: internal, names: [web.test]}\n", i) }
	spec := func(of func(part func(int) string) string) {
		s.write("tls.yaml", "version: 1\nproject: hosts\nhosts:\n"+of(host)+"cas:\n  internal: {local: {}}\nidentities:\n"+of(identity)+"bindings:\n"+of(binding))
	}
	spec(func(part func(int) string) string { return part(0) + part(1) })
	s.want(exitDone, "apply")
	for _, h := range s.hosts {
		h.Run(t, h.Server(t, "web", 8443, mount.Mount{Type: mount.TypeVolume, Source: "certs"}))
	}
	s.want(exitDone, "apply", "--wait", "1m")
	s.states(map[string]string{"web-0": "Ready", "web-1": "Ready"})

	s.hosts[1].Kill()
	said := scene{command: command{t: t}}
	said.says(s.want(exitNothing, "forget", "h1"), "the spec has a host h1", "take it and its bindings out of tls.yaml first")
	s.states(map[string]string{"web-0": "Ready", "web-1": "Failed"})

	spec(func(part func(int) string) string { return part(0) })
	const gone = "left the spec, but the spec has no host named h1 any more"
	r := s.want(exitDone, "apply")
	said.says(r, "web-1 "+gone, "run `certwright forget h1`")
	if strings.Contains(r.out, "forget identity") {
		t.Errorf("the key of what is still in use there is gone:\n%s", r.out)
	}
	said.says(s.want(exitDone, "status"), "web-1 "+gone)
	said.says(s.want(exitNothing, "forget", "local"), "local is this machine's own engine")
	said.says(s.want(exitDone, "plan", "--exit-code"), "binding/web-1: "+gone, "hint: bring the host back until this is cleared; if it is gone for good, run `certwright forget h1`")
	s.states(map[string]string{"web-0": "Ready"})
	said.says(s.want(exitNothing, "forget", "h2"), `nothing was placed on a host named "h2" that the spec does not have any more`, "something was on h1")

	said.says(s.want(exitDone, "forget", "h1"), "host/h1: forgotten. What it has stays there:\n  h1: volume certs (web-1)")
	said.says(s.want(exitDone, "apply"), "forget identity web-1 (left the spec)")
	if r := s.want(exitDone, "plan", "--exit-code"); r.out != "hosts: nothing to do.\n" {
		t.Errorf("plan says:\n%s", r.out)
	}
	said.says(s.want(exitNothing, "forget", "h1"), `nothing was placed on a host named "h1" that the spec does not have any more`)
	s.want(exitDone, "rotate", "identity/web-0")
	s.states(map[string]string{"web-0": "Ready"})
}
