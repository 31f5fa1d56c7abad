package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/providers/docker/dockertest"
	"github.com/certwright/certwright/providers/step/steptest"
)

// composed is a page with a Compose file, followed in a folder of its own under a project name of its own.
type composed struct {
	t       *testing.T
	page    page
	dir     string
	project string
}

// often is what the pages' identities get, so that a test sees them renewed.
const often = "lifetime: 1m, renew: 1/8"

// compose takes a page, changed so that it names images that are there, and publishes nothing.
func compose(t *testing.T, name string, change ...string) *composed {
	t.Helper()
	dockertest.Servers(t, "docker", "docker-compose")
	_ = dockertest.Engine(t)
	c := &composed{t: t, dir: t.TempDir()}
	c.project = "cw" + strings.ToLower(filepath.Base(filepath.Dir(c.dir)))[4:]
	c.project = strings.Map(func(r rune) rune {
		if r < '0' || r > 'z' || r > '9' && r < 'a' {
			return -1
		}
		return r
	}, c.project)
	labels := fmt.Sprintf("\n    labels: {%s: %q}", dockertest.Label, os.Getenv("CERTWRIGHT_TEST_RUN"))
	c.page = pageOf(t, name, strings.NewReplacer(append(change,
		"image: nginx:1.29", "image: "+dockertest.Image(t, dockertest.Nginx)+"\n    stop_signal: SIGQUIT"+labels, // which the official image carries
		"FROM nginx:1.29", "FROM "+dockertest.Image(t, dockertest.Nginx),
		"image: haproxy:3.2", "image: "+dockertest.Image(t, dockertest.HAProxy)+labels, "image: certwright", "image: "+dockertest.Image(t, dockertest.Own)+labels,
		"restart: unless-stopped", "restart: on-failure", "restart: always", "restart: on-failure", // a test that is killed leaves nothing that comes back
		"\n    ports: [\"443:443\"]", "", "/var/run/docker.sock:", dockertest.EngineSocket()+":", "shop", c.project,
	)...))
	for file, text := range c.page.files {
		c.write(file, text, 0o644)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(c.try("docker compose -p " + c.project + " logs --no-color"))
		}
		if said, err := c.try("docker compose -p " + c.project + " down -v --rmi local -t 5"); err != nil {
			t.Errorf("down: %v\n%s", err, said)
		}
	})
	return c
}

func (c *composed) write(name, text string, mode os.FileMode) {
	c.t.Helper()
	path := filepath.Join(c.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		c.t.Fatal(err)
	}
}

// try runs a script in the folder. What the pages call `docker compose` is the program of Debian.
func (c *composed) try(script string) (string, error) {
	const programs = `docker() { if [ "$1" = compose ]; then shift; docker-compose "$@"; else command docker "$@"; fi; }
certwright() { %s "$@"; }
`
	sh := exec.Command("sh", "-ec", fmt.Sprintf(programs, staticBinary(c.t))+script)
	sh.Dir = c.dir
	out, err := sh.CombinedOutput()
	return string(out), err
}

// follow runs the commands of the page.
func (c *composed) follow() {
	c.t.Helper()
	if len(c.page.sh) == 0 {
		c.t.Fatal("the page has no commands")
	}
	for _, script := range c.page.sh {
		if said, err := c.try(script); err != nil {
			c.t.Fatalf("%s\n%v\n%s", script, err, said)
		}
	}
}

// address is that of a service's port in the network of the project.
func (c *composed) address(service, port string) string {
	c.t.Helper()
	id, err := c.try("docker compose -p " + c.project + " ps -q " + service)
	if err != nil {
		c.t.Fatal(err, id)
	}
	return net.JoinHostPort(dockertest.Address(c.t, strings.TrimSpace(id)), port)
}

// says waits until the log of a service has some words.
func (c *composed) says(service, words string) {
	c.t.Helper()
	dockertest.Poll(c.t, time.Minute, service+" to say "+words, func() error {
		log, err := c.try("docker compose -p " + c.project + " logs --no-color " + service)
		if err != nil || !strings.Contains(log, words) {
			return errors.Join(err, errors.New(log))
		}
		return nil
	})
}

// TestHostPage follows docs/host.md.
func TestHostPage(t *testing.T) {
	t.Parallel()
	c := compose(t, "host.md")
	c.follow()
	if said, err := c.try("certwright status --exit-code"); err != nil || !strings.Contains(said, "Ready") {
		t.Errorf("%v\n%s", err, said)
	}
}

// TestSidecarPage follows docs/sidecar.md: nginx is kept served by watch in a container beside it, which has no more of the
// engine than the page's HAProxy lets through.
func TestSidecarPage(t *testing.T) {
	t.Parallel()
	c := compose(t, "sidecar.md", "names: [web]", "names: [web], "+often)
	c.follow()
	c.says("certwright", "state=Ready")
	ca, err := c.try("docker compose -p " + c.project + " exec -T web cat /etc/nginx/certs/ca.pem")
	if err != nil {
		t.Fatal(err, ca)
	}
	renewsUnderLoad(t, c.address("web", "443"), "tls", []byte(ca), "web")
	if log, err := c.try("docker compose -p " + c.project + " logs --no-color certwright"); err != nil || strings.Contains(log, " is refused") { // not a connection, while nginx starts
		t.Errorf("behind the page's proxy it says (%v)\n%s", err, log)
	}
	said, err := c.try("docker run --rm -u 0:0 -v " + c.project + "_engine:/run/engine --entrypoint curl " + dockertest.Image(t, dockertest.Curl) +
		" -s -o /dev/null -w %{http_code} -X POST --unix-socket /run/engine/docker.sock http://engine/v1.41/containers/create")
	if err != nil || said != "403" {
		t.Errorf("a request that the page does not allow is answered with %s: %v", said, err)
	}
}

// TestRunPage follows docs/run.md, with a real step-ca.
func TestRunPage(t *testing.T) {
	t.Parallel()
	ca := steptest.Start(t)
	learnKey(ca.Key)
	learn("the password of the provisioners", []byte(steptest.Password))
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := fmt.Sprint(listen.Addr().(*net.TCPAddr).Port)
	_ = listen.Close()
	c := compose(t, "run.md",
		"https://ca.internal:4443", ca.URL, "c8de28e62be35bb1afa5ea68ff1a9e9f0f6bd8f6bfa1c4de28e62be35bb1afa5", ca.Fingerprint, "lifetime: 24h", often,
		"build: .", "build: .\n    network_mode: host\n    labels: {"+dockertest.Label+": \""+os.Getenv("CERTWRIGHT_TEST_RUN")+"\"}", // where its CA is
		"listen 443", "listen "+port, "port: 443", "port: "+port,
	)
	c.write("step.pass", steptest.Password+"\n", 0o600)
	if said, err := c.try("cp " + staticBinary(t) + " certwright"); err != nil {
		t.Fatal(err, said)
	}
	c.follow()
	c.says("web", "state=Ready")
	root, err := c.try("docker compose -p " + c.project + " exec -T web cat /etc/nginx/certs/ca.pem")
	if err != nil {
		t.Fatal(err, root)
	}
	renewsUnderLoad(t, "127.0.0.1:"+port, "tls", []byte(root), "web.internal")
}
