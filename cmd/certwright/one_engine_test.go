package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// TestOneEngineTwice names the engine of the environment under `hosts` again. The first of two bindings that have a volume in
// common has it, and the other is told so before anything of it is written.
func TestOneEngineTwice(t *testing.T) {
	t.Parallel()
	cli := dockertest.Engine(t)
	volume, dir := dockertest.Volume(t), t.TempDir()
	s := scene{command: command{t: t, dir: dir}}
	s.write("tls.yaml", `version: 1
project: twice
hosts:
  beside: {endpoint: "`+cli.DaemonHost()+`"}
cas:
  internal: {local: {}}
bindings:
  a: {trust: [internal], volume: `+volume+`}
  b: {trust: [internal], host: beside, volume: `+volume+`}
  c: {trust: [internal], host: beside, directory: `+filepath.Join(dir, "certs")+`}
`)
	for range 2 { // the second has nothing to do, and says so still
		r := s.want(exitPart, "apply")
		s.says(r, "beside: volume "+volume+" is also the place of binding a: hosts local and beside are one engine", "give each binding a place of its own")
		if strings.Contains(r.out, "place b in") {
			t.Errorf("b was placed:\n%s", r.out)
		}
	}
	for name, state := range map[string]string{"a": "Unverified", "b": "Blocked", "c": "Unverified"} {
		if b := s.status().binding(t, name); b.State != state {
			t.Errorf("%s is %s (%s), want %s", name, b.State, b.Reason, state)
		}
	}
}
