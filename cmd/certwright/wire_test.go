package main

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/mount"
	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// TestLyingServer shows that a signal that was taken proves nothing, and that the ladder goes on to what helps.
func TestLyingServer(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
	for kind, consumer := range map[string]string{"compose": "{compose: %s/web}", "label": "{label: tier=%s}"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
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

// TestFileMounts takes single-file mounts through their life: refused, written in place, gone stale, healed.
func TestFileMounts(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	names := []string{"ca.pem", "cert.pem", "key.pem"}
	s.spec("directory: ./certs", "layout: plain")
	s.want(exitDone, "apply") // a single file can only be mounted once it is there
	var mounts []mount.Mount
	for _, n := range names {
		mounts = append(mounts, bindMount(filepath.Join(s.certs, n), "/certs/"+n))
	}
	web := s.server(dockertest.Container{Name: "files", Mounts: mounts, Start: true}, "-reload", "hup")
	old := served(t, web.ID)
	binding := []string{"container: " + web.Name, "directory: ./certs", "probe: {port: 8443}"}

	// In the default layout it is refused, and nothing is touched.
	s.spec(slices.Concat(binding, []string{"reload: {signal: HUP}"})...)
	before := tree(t, s.certs)
	s.says(s.want(exitPart, "apply"), "Blocked", "single files of", "layout: plain")
	s.state("Blocked", "single files of")
	if diff := cmp.Diff(before, tree(t, s.certs)); diff != "" {
		t.Errorf("a refused apply changed (-before +after):\n%s", diff)
	}

	// In the plain layout the files keep their inodes, so the container sees the new ones.
	s.spec(slices.Concat(binding, []string{"layout: plain", "reload: {signal: HUP}"})...)
	was := inodes(t, s.certs, names)
	s.want(exitDone, "rotate", "identity/web")
	if now := inodes(t, s.certs, names); !slices.Equal(now, was) {
		t.Errorf("inodes %v, want %v", now, was)
	}
	s.state("Ready", "")
	renewed := placed(t, s.certs)
	if got := served(t, web.ID); got != renewed || got == old {
		t.Errorf("serves %s, want %s after %s", got, renewed, old)
	}

	// Someone replaces the files with equal ones: the container is bound to what nobody can reach any more.
	for _, n := range names {
		replaceFile(t, filepath.Join(s.certs, n))
	}
	s.says(s.want(exitPart, "rotate", "identity/web"), "Stale", "stale file mount: ", "serves "+renewed+", not "+placed(t, s.certs), "mount the directory")
	s.want(exitPart, "status", "--exit-code")
	if got := served(t, web.ID); got != renewed {
		t.Errorf("serves %s, want %s", got, renewed)
	}

	// Docker resolves the mounts again when the container starts.
	s.spec(slices.Concat(binding, []string{"layout: plain", "reload: [{signal: HUP}, restart]"})...)
	s.want(exitDone, "apply")
	s.state("Ready", "")
	if got := served(t, web.ID); got != placed(t, s.certs) || got == renewed {
		t.Errorf("serves %s, want %s", got, placed(t, s.certs))
	}
}

// TestFaultyServers are servers that serve the wanted certificate and are not what the probe wants all the same.
func TestFaultyServers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ probe, flag, want string }{
		"wrong name":                {"{port: 8443, serverName: other.test}", "none", "a client would refuse it: "},
		"nobody is asked":           {"{port: 8443, clientAuth: required}", "none", "lets clients in without a certificate"},
		"everyone is welcome":       {"{port: 8443, clientAuth: required}", "optional", "lets clients in without a certificate"},
		"its own client is refused": {"{port: 8443, clientAuth: required}", "strict", "refuses the client certificate it should accept"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			flags := []string{"-reload", "hup", "-client-auth", c.flag}
			mounts := []mount.Mount{bindMount(s.certs, "/certs")}
			if c.flag == "strict" { // it trusts another CA
				flags = []string{"-reload", "hup", "-client-auth", "required", "-ca", "/other/ca.pem"}
				other := newScene(t)
				other.spec("directory: ./certs")
				other.want(exitDone, "apply")
				mounts = append(mounts, bindMount(other.certs, "/other"))
			}
			web := s.server(dockertest.Container{Name: "faulty", Mounts: mounts}, flags...)
			s.spec("container: "+web.Name, "directory: ./certs", "probe: "+c.probe, "reload: {signal: HUP}")
			s.want(exitDone, "apply")
			dockertest.Start(t, web.ID)
			want := served(t, web.ID)
			s.says(s.want(exitPart, "apply"), "Failed", web.Name, c.want)
			b := s.state("Failed", c.want)
			if *b.Targets[0].ServedSerial != want || *b.Conditions.Served {
				t.Errorf("status: %+v", b)
			}
			s.want(exitPart, "status", "--exit-code")
			s.want(exitPart, "verify")
		})
	}
}

// TestRecreatedContainer gives the binding's name to other containers.
func TestRecreatedContainer(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	name := "recreated-" + strings.ToLower(rand.Text()[:10])
	own := filepath.Join(s.dir, "own")
	s.spec("container: "+name, "directory: ./certs", "probe: {port: 8443}", "reload: {signal: HUP}")
	// start ends with the test it is given, so that the name is free for the next.
	start := func(t *testing.T, dir string) {
		s := s
		s.t = t
		c := s.server(dockertest.Container{Name: name, Exact: true, Mounts: []mount.Mount{bindMount(dir, "/certs")}, Start: true}, "-reload", "hup")
		served(t, c.ID)
	}
	s.want(exitDone, "apply")
	s.state("Waiting", name)
	t.Run("first", func(t *testing.T) {
		start(t, s.certs)
		s.want(exitDone, "apply", "--wait", "1m")
		s.state("Ready", "")
	})
	s.want(exitDone, "status", "--exit-code") // Waiting is settled
	copyFiles(t, s.certs, own)
	s.want(exitDone, "rotate", "identity/web")
	old, renewed := placed(t, own), placed(t, s.certs)
	t.Run("with files of its own", func(t *testing.T) {
		start(t, own)
		s.says(s.want(exitPart, "apply"), "Stale", name+" does not mount", "serves "+old+", not "+renewed)
		s.want(exitPart, "status", "--exit-code")
	})
	t.Run("with the binding's", func(t *testing.T) {
		start(t, s.certs)
		s.want(exitDone, "apply")
		b := s.state("Ready", "")
		if *b.Targets[0].ServedSerial != renewed {
			t.Errorf("status: %+v, want %s", b, renewed)
		}
	})
}
