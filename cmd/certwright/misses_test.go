package main

import (
	"strings"
	"testing"

	"github.com/certwright/certwright/providers/docker/dockertest"
	"github.com/certwright/certwright/spec"
)

// What a client is told whose handshake comes just when a server takes up new files, where that is the server's own doing.
const (
	resets = "the server reset the connection"
	torn   = "the server sent the alert: internal error" // it read the old certificate and the new key
)

// misses is that of each server that does. Nothing else may fail.
var misses = map[string]string{"caddy": resets, "etcd": torn, "prometheus": torn}

// remedy keeps a server from it.
type remedy struct {
	sysctls  map[string]string // of its container
	identity string            // more keys of the identity
}

// TestMisses keeps those servers from it, under ten times the load of TestServers: Linux hands the connections that wait for Caddy's
// old listener on to the new one where it may (ip-sysctl, tcp_migrate_req), and a certificate and a key that are read at different
// moments are a pair where the key stays. That they let somebody down without it is left to chance, and not tested.
func TestMisses(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]remedy{
		"caddy":      {sysctls: map[string]string{"net.ipv4.tcp_migrate_req": "1"}},
		"etcd":       {identity: ", reuseKey: true"},
		"prometheus": {identity: ", reuseKey: true"},
	} {
		t.Run(name, func(t *testing.T) { // one after the other: of three such loads a small machine knows no more than that it is busy
			s, clients := underLoad(t, name, r)
			for range fromEnv(t, "CERTWRIGHT_TEST_RENEWALS", 3) {
				s.want(exitDone, "rotate", "identity/web")
				clients.see(s.state("Ready", ""))
			}
			if l := clients.end(); l.Total().Failed > 0 {
				t.Errorf("kept from it: %s", l)
			}
		})
	}
}

func underLoad(t *testing.T, name string, r remedy) (scene, *traffic) {
	t.Helper()
	s, c := newScene(t), presetServers[name]
	c.sysctls = r.sysctls
	id, lines := s.preset(c)
	s.withClient(append(lines, "reload: "+c.preset))
	s.write("tls.yaml", strings.Replace(s.read("tls.yaml"), "names: [web.test]", "names: [web.test]"+r.identity, 1))
	s.up(dockertest.Running{ID: id})
	row, _ := spec.PresetNamed(name)
	return s, s.load(id, row, c, 400)
}
