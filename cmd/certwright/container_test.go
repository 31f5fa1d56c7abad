package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/mount"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// TestContainer does what docs/service.md says of a container: it builds the image from what a checkout has, and watch in
// it, bounded and with nothing but the program, places files that are another user's, fills a volume, and proves a server.
func TestContainer(t *testing.T) {
	t.Parallel()
	dockertest.Servers(t, "docker")
	cli := dockertest.Engine(t)
	dir := t.TempDir()
	etc, certs, volume, store := filepath.Join(dir, "etc"), filepath.Join(dir, "certs"), dockertest.Volume(t), dockertest.Volume(t)
	for _, d := range []string{etc, certs} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	server := dockertest.Run(t, dockertest.Container{
		Image: dockertest.Image(t, dockertest.GoServer), Name: "beside", User: "101:101",
		Cmd: []string{"-cert", "/certs/cert.pem", "-key", "/certs/key.pem", "-reload", "hot"}, Mounts: []mount.Mount{bindMount(certs, "/certs")},
	})
	tag := "certwright-test/built:" + strings.ToLower(filepath.Base(filepath.Dir(dir)))
	page := pageOf(t, "service.md", strings.NewReplacer(
		"/etc/certwright:/etc/certwright", etc+":/etc/certwright", "-v certwright:", "-v "+store+":", "/srv/shop/certs", certs,
		"-t certwright ", "-t "+tag+" ", "\n  certwright -f", "\n  "+tag+" -f", "docker run -d --name certwright ", "docker run -d --label "+dockertest.Label+"="+os.Getenv("CERTWRIGHT_TEST_RUN")+" ",
		"--restart unless-stopped", "", // the test says when it ends
		`owner: "101:101"}`, `owner: "101:101", container: `+server.Name+", reload: none, probe: {port: 8443}}\n"+
			"  beside: {identity: web, volume: "+volume+"}\n  roots: {trust: [public], directory: "+certs+"/roots}",
	))
	for name, text := range map[string]string{"etc/tls.yaml": page.files["tls.yaml"], "etc/passphrase": "correct horse battery staple"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	checkout := filepath.Join(dir, "checkout")
	sh := func(script string) string {
		t.Helper()
		c := exec.CommandContext(t.Context(), "sh", "-e", "-c", script)
		c.Dir = checkout
		var said strings.Builder
		c.Stderr = &said
		out, err := c.Output()
		if err != nil {
			t.Fatalf("%s\n%v\n%s%s", script, err, out, said.String())
		}
		return strings.TrimSpace(string(out))
	}
	if err := os.Mkdir(checkout, 0o755); err != nil {
		t.Fatal(err)
	}
	sh("cp -r " + repository(t) + "/. . && echo secret > ca-key.pem")
	sh("go() { cp " + staticBinary(t) + " certwright; }\n" + page.sh[3])
	built, err := cli.ImageInspect(t.Context(), tag)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if _, err := cli.ImageRemove(ctx, tag, image.RemoveOptions{PruneChildren: true}); err != nil {
			t.Errorf("remove the image: %v", err)
		}
	})
	if title := built.Config.Labels["org.opencontainers.image.title"]; title != "certwright" {
		t.Errorf("its title is %q", title)
	}
	if len(built.RootFS.Layers) != 1 {
		t.Errorf("it has %d layers", len(built.RootFS.Layers))
	}

	id := sh(page.sh[4])
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if t.Failed() {
			t.Log(dockertest.Logs(t, id))
		}
		if err := cli.ContainerRemove(ctx, id, container.RemoveOptions{Force: true}); err != nil {
			t.Errorf("remove the container: %v", err)
		}
	})
	says := func(text string) {
		t.Helper()
		dockertest.Poll(t, time.Minute, "watch to say "+text, func() error {
			if !strings.Contains(dockertest.Logs(t, id), text) {
				return errors.New("it has not")
			}
			return nil
		})
	}
	says("subject=binding/web state=Waiting")
	says("subject=binding/beside state=Unverified")
	says("subject=binding/roots state=Unverified")
	dockertest.Start(t, server.ID)
	says("subject=binding/web state=Ready")
	if a, b := placed(t, certs), served(t, server.ID); a != b {
		t.Errorf("%s is placed, and %s served", a, b)
	}
	if is := dockertest.Inspect(t, id).HostConfig; !is.ReadonlyRootfs || len(is.CapDrop) != 1 {
		t.Errorf("it runs with %+v", is)
	}
	if err := cli.ContainerStop(t.Context(), id, container.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	if is := dockertest.Inspect(t, id).State; is.ExitCode != 0 {
		t.Errorf("it ends with %d", is.ExitCode)
	}
}
