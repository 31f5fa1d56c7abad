package main

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/mount"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// fleetSize is how many hosts TestFleet has: at least four. Ten take a minute or two.
const fleetSize = "CERTWRIGHT_TEST_HOSTS"

// TestFleet has hosts of which two are dead and one hangs (with fewer than six, one is dead): the rest have what is new within one
// and a half times of what one host takes, and those are named. On few processors the work of several engines takes longer than
// that of one, whoever is lost: what counts then is what the rest take when nobody is, and half of one.
func TestFleet(t *testing.T) {
	t.Parallel()
	n := max(fromEnv(t, fleetSize, 4), 4)
	dead := 1
	if n >= 6 {
		dead = 2
	}
	s := overTLS(t, n)
	well, lost := s.hosts[:n-dead-1], s.hosts[n-dead-1:]
	var hosts, bindings strings.Builder
	ready := map[string]string{"one": "Ready"}
	for i, h := range s.hosts {
		fmt.Fprintf(&hosts, "  h%d: {endpoint: \"tcp://%s:2376\"}\n", i, h.Address)
		fmt.Fprintf(&bindings, "  h%d: {identity: web, host: h%[1]d, container: web, volume: certs, reload: {signal: HUP}, probe: {port: 8443}}\n", i)
		ready[fmt.Sprint("h", i)] = "Ready"
	}
	s.write("tls.yaml", "version: 1\nproject: fleet\nhosts:\n"+hosts.String()+`cas:
  internal: {local: {lifetime: 1y}}
identities:
  web: {ca: internal, names: [web.test]}
  one: {ca: internal, names: [web.test]}
bindings:
  one: {identity: one, host: h0, container: one, volume: one, reload: {signal: HUP}, probe: {port: 8443}}
`+bindings.String())
	s.want(exitDone, "apply")
	for _, h := range s.hosts {
		h.Run(t, h.Server(t, "web", 8443, mount.Mount{Type: mount.TypeVolume, Source: "certs"}))
	}
	well[0].Run(t, well[0].Server(t, "one", 9443, mount.Mount{Type: mount.TypeVolume, Source: "one"}))
	s.want(exitDone, "apply", "--wait", "2m")
	s.states(ready)

	one := s.renews("one", "9443", exitDone, well[:1])
	all := s.renews("web", "8443", exitDone, well)
	for i, h := range lost {
		name := fmt.Sprint("h", len(well)+i)
		if ready[name] = "Failed: engine " + name + " at tcp://" + h.Address + ":2376 does not answer: "; i == 0 {
			h.Freeze(t)
			ready[name] += "no answer in time"
		} else {
			h.Kill()
		}
	}
	some, most := s.renews("web", "8443", exitPart, well), max(all, one)+one/2
	for tries := 1; some > most && tries < 3; tries++ { // the machine may have been busy just then
		some = min(some, s.renews("web", "8443", exitPart, well))
	}
	t.Logf("one host: %s; %d hosts: %s; %d hosts of %d: %s, %.2f times as long as one", one, len(well), all, len(well), n, some, some.Seconds()/one.Seconds())
	s.states(ready)
	if some > most {
		t.Errorf("beside those that are lost the rest take %s, want %s at most", some, most)
	}

	lost[0].Thaw(t)
	ready[fmt.Sprint("h", len(well))] = "Ready"
	s.run("apply")
	s.states(ready)
}

// renews rotates an identity, and returns how long it took until the last of some hosts serves what is new.
func (s *hostScene) renews(identity, port string, code int, on []dockertest.Host) (took time.Duration) {
	s.t.Helper()
	before := make([]string, len(on))
	for i, h := range on {
		before[i], _ = serial(s.t.Context(), h, port)
	}
	began, times := time.Now(), make([]time.Duration, len(on))
	var all sync.WaitGroup
	for i, h := range on {
		all.Go(func() {
			for s.t.Context().Err() == nil && time.Since(began) < 2*time.Minute {
				if now, err := serial(s.t.Context(), h, port); err == nil && now != before[i] {
					times[i] = time.Since(began)
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	s.want(code, "rotate", "identity/"+identity)
	s.t.Logf("rotate %s ended after %s", identity, time.Since(began).Round(100*time.Millisecond))
	all.Wait()
	for i, h := range on {
		if before[i] == "" || times[i] == 0 {
			s.t.Errorf("%s did not serve what is new", h.Hostname)
		}
		took = max(took, times[i])
	}
	return took.Round(10 * time.Millisecond)
}

// serial is that of the certificate that the server at a port of a host's machine shows.
func serial(ctx context.Context, h dockertest.Host, port string) (string, error) {
	conn, err := h.Dial(ctx, h.Address+":"+port)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	c := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // only the serial counts
	if err := c.HandshakeContext(ctx); err != nil {
		return "", err
	}
	return hex.EncodeToString(c.ConnectionState().PeerCertificates[0].SerialNumber.Bytes()), nil
}
