package main

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/mount"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// TestLyingServer shows that a signal that was taken proves nothing, and that the ladder goes on to what helps.
func TestLyingServer(t *testing.T) {
	s := newScene(t)
	web := s.server(dockertest.Container{Name: "lying"}, "-reload", "lying")
	binding := []string{"container: " + web.Name, "directory: ./certs", "probe: {port: 8443}"}
	s.spec(append(binding, "reload: {signal: HUP}")...)
	s.up(web)
	old := served(t, web.ID)

	r := s.want(exitPart, "rotate", "identity/web")
	renewed := placed(t, s.certs)
	if renewed == old {
		t.Fatal("nothing was renewed")
	}
	s.says(r, "Stale", "serves "+old+", not "+renewed, "reload: [{signal: HUP}, restart]")
	if !strings.Contains(dockertest.Logs(t, web.ID), "reloaded") {
		t.Error("the server was never signalled")
	}
	b := s.state("Stale", "not reloaded")
	if *b.Targets[0].ServedSerial != old || *b.Targets[0].WantedSerial != renewed || *b.Conditions.Served {
		t.Errorf("status: %+v", b)
	}
	s.want(exitPart, "status", "--exit-code")
	s.want(exitPart, "verify")
	if r := s.want(exitPart, "apply"); strings.Contains(r.out, "Ready") {
		t.Errorf("apply says Ready:\n%s", r.out)
	}

	s.spec(append(binding, "reload: [{signal: HUP}, restart]")...)
	s.want(exitDone, "apply")
	s.state("Ready", "")
	s.want(exitDone, "status", "--exit-code")
	if got := served(t, web.ID); got != renewed {
		t.Errorf("serves %s, want %s", got, renewed)
	}
}

// TestMismatchedPair is nginx with a key file of somebody else: it keeps the old certificate, and only its log knows.
func TestMismatchedPair(t *testing.T) {
	s := newScene(t)
	s.write("nginx.conf", `server {
	listen 8443 ssl;
	ssl_certificate /certs/cert.pem;
	ssl_certificate_key /own/key.pem;
}
`)
	own := filepath.Join(s.dir, "own")
	if err := os.Mkdir(own, 0o755); err != nil {
		t.Fatal(err)
	}
	web := dockertest.Run(t, dockertest.Container{
		Name: "mismatched", Image: dockertest.Image(t, dockertest.Nginx), Mounts: []mount.Mount{
			bindMount(s.certs, "/certs"), bindMount(own, "/own"),
			bindMount(filepath.Join(s.dir, "nginx.conf"), "/etc/nginx/conf.d/default.conf"),
		},
	})
	s.spec("container: "+web.Name, "directory: ./certs", "reload: nginx", "probe: {port: 8443}")
	s.want(exitDone, "apply")
	key, err := os.ReadFile(filepath.Join(s.certs, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(own, "key.pem"), key, 0o600); err != nil {
		t.Fatal(err)
	}
	s.up(web)
	old := served(t, web.ID)

	r := s.want(exitPart, "rotate", "identity/web")
	renewed := placed(t, s.certs)
	s.says(r, "Stale", "serves "+old+", not "+renewed)
	s.state("Stale", "not reloaded")
	s.want(exitPart, "status", "--exit-code")
	if got := served(t, web.ID); got != old {
		t.Errorf("serves %s, want the old %s", got, old)
	}
	if log := dockertest.Logs(t, web.ID); !strings.Contains(log, "key values mismatch") {
		t.Errorf("nginx did not refuse the pair:\n%s", log)
	}
}

// TestOneStaleReplica holds back Ready for the one of three that lies, and renews the others all the same.
func TestOneStaleReplica(t *testing.T) {
	for kind, consumer := range map[string]string{"compose": "{compose: %s/web}", "label": "{label: tier=%s}"} {
		t.Run(kind, func(t *testing.T) {
			s := newScene(t)
			project := "replicas-" + strings.ToLower(rand.Text()[:10])
			replica := func(n int, reload string) dockertest.Running {
				return s.server(dockertest.Container{Name: fmt.Sprintf("replica-%d", n), Labels: map[string]string{
					"com.docker.compose.project": project, "com.docker.compose.service": "web", "tier": project,
				}}, "-reload", reload)
			}
			// The liar is the first to be reloaded, so that the others come after its failure.
			all := []dockertest.Running{replica(1, "lying"), replica(2, "hup"), replica(3, "hup")}
			s.spec("container: "+fmt.Sprintf(consumer, project), "directory: ./certs", "reload: {signal: HUP}", "probe: {port: 8443}")
			s.up(all...)
			old := served(t, all[0].ID)

			r := s.want(exitPart, "rotate", "identity/web")
			renewed := placed(t, s.certs)
			s.says(r, all[0].Name+" serves "+old+", not "+renewed)
			b := s.state("Stale", "")
			for i, c := range all {
				want := renewed
				if i == 0 {
					want = old
				}
				if got := served(t, c.ID); got != want {
					t.Errorf("%s serves %s, want %s", c.Name, got, want)
				}
				if got := b.Targets[i]; got.Name != c.Name || *got.ServedSerial != want || *got.WantedSerial != renewed {
					t.Errorf("status of %s: %+v", c.Name, got)
				}
			}
			s.want(exitPart, "status", "--exit-code")
		})
	}
}
