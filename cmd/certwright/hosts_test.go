package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/mount"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// hostScene is a folder, and hosts beside each other. The program runs as it is shipped, in their network.
type hostScene struct {
	t     *testing.T
	hosts []dockertest.Host
	dir   string
	env   []string
}

// run calls certwright.
func (s *hostScene) run(args ...string) result {
	s.t.Helper()
	argv := append([]string{"--net=/run/netns/" + s.hosts[0].Bridge, staticBinary(s.t), "-f", filepath.Join(s.dir, "tls.yaml")}, args...)
	cmd := exec.CommandContext(s.t.Context(), "nsenter", argv...)
	cmd.Env = append(append(os.Environ(), "CI="), s.env...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	var ended *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &ended) {
		s.t.Fatal(err)
	}
	note(out.String() + errs.String())
	harvest(s.dir)
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

func (s *hostScene) want(code int, args ...string) result {
	s.t.Helper()
	r := s.run(args...)
	if r.code != code {
		s.t.Fatalf("certwright %s: exit %d, want %d\n%s%s", strings.Join(args, " "), r.code, code, r.out, r.err)
	}
	return r
}

func (s *hostScene) write(name, text string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		s.t.Fatal(err)
	}
}

// states ends the test unless status has the bindings in these states, whose reasons hold what follows a colon.
func (s *hostScene) states(want map[string]string) {
	s.t.Helper()
	var d statusDocument
	r := s.run("status", "-o", "json")
	if err := json.Unmarshal([]byte(r.out), &d); err != nil {
		s.t.Fatalf("status: %v\n%s%s", err, r.out, r.err)
	}
	for name, is := range want {
		state, reason, _ := strings.Cut(is, ": ")
		if b := d.binding(s.t, name); b.State != state || !strings.Contains(b.Reason, reason) {
			s.t.Errorf("%s is %s (%s), want %s", name, b.State, b.Reason, is)
		}
	}
}

// overTLS makes hosts whose engines listen with TLS, and lets the program in as docker does by default: by DOCKER_CERT_PATH.
// The certificates of both are certwright's own.
func overTLS(t *testing.T, n int) *hostScene {
	t.Helper()
	dir := t.TempDir()
	offline := command{t: t, dir: dir, vars: map[string]string{"DOCKER_HOST": "unix:///nonexistent.sock"}}
	s := &hostScene{t: t, dir: dir}
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("10.99.0.%d", i+1)
	}
	s.write("tls.yaml", `version: 1
project: engines
cas:
  engines: {local: {lifetime: 1y}}
identities:
  engine: {ca: engines, names: [`+strings.Join(names, ", ")+`]}
  ops: {ca: engines, usages: [client]}
bindings:
  engine: {identity: engine, directory: engine}
  ops: {identity: ops, directory: ops}
`)
	offline.want(exitDone, "apply")
	s.hosts = dockertest.HostsWith(t, n, fmt.Sprintf("-H tcp://%%s:2376 --tlsverify --tlscacert %[1]s/ca.pem --tlscert %[1]s/cert.pem --tlskey %[1]s/key.pem", filepath.Join(dir, "engine")))
	s.env = []string{"DOCKER_CONFIG=" + filepath.Join(dir, "docker"), "DOCKER_CERT_PATH=" + filepath.Join(dir, "ops")}
	s.dir = filepath.Join(dir, "hosts")
	return s
}

// TestHosts keeps servers of three engines that are reached in three ways: with TLS as docker has it by default, by a
// docker context with certificates of its own, and by a socket.
func TestHosts(t *testing.T) {
	t.Parallel()
	s := overTLS(t, 3)
	dir := filepath.Dir(s.dir)
	certs := filepath.Join(dir, "certs of three")
	writeContext(t, filepath.Join(dir, "docker"), "second", fmt.Sprintf("host=tcp://%s:2376,ca=%[2]s/ca.pem,cert=%[2]s/cert.pem,key=%[2]s/key.pem", s.hosts[1].Address, filepath.Join(dir, "ops")))
	s.write("tls.yaml", `version: 1
project: hosts
hosts:
  one: {endpoint: "tcp://`+s.hosts[0].Address+`:2376"}
  two: {context: second}
  three: {endpoint: "unix://`+s.hosts[2].Socket+`"}
cas:
  internal: {local: {lifetime: 1y}}
identities:
  web: {ca: internal, names: [web.test]}
bindings:
  one: {identity: web, host: one, container: web, volume: certs, reload: {signal: HUP}, probe: {port: 8443}}
  two: {identity: web, host: two, container: web, path: /certs, reload: {signal: HUP}, probe: {port: 8443}}
  three: {identity: web, host: three, container: web, directory: `+certs+`, reload: {signal: HUP}, probe: {port: 8443}}
`)
	clock := time.Now()
	lap := func(what string) {
		t.Logf("%s: %s", what, time.Since(clock).Round(100*time.Millisecond))
		clock = time.Now()
	}
	s.want(exitDone, "apply")
	lap("first apply")
	s.states(map[string]string{"one": "Waiting: waits for web", "two": "Waiting: waits for web", "three": "Waiting: waits for web"})
	ids := make([]string, 3)
	for i, m := range []mount.Mount{
		{Type: mount.TypeVolume, Source: "certs"}, {Type: mount.TypeVolume, Source: "behind"}, {Type: mount.TypeBind, Source: certs},
	} {
		ids[i] = s.hosts[i].Server(t, "web", 8443, m)
		if i == 1 { // `path` is placed while it waits for its first start
			s.want(exitDone, "apply")
		}
		s.hosts[i].Run(t, ids[i])
	}
	lap("servers")
	s.want(exitDone, "apply", "--wait", "1m")
	lap("second apply")
	ready := map[string]string{"one": "Ready", "two": "Ready", "three": "Ready"}
	s.states(ready)
	s.want(exitDone, "plan", "--exit-code")
	s.want(exitDone, "verify")
	lap("looks")
	s.want(exitDone, "rotate", "identity/web")
	lap("rotate")
	s.states(ready)
	s.want(exitDone, "plan", "--exit-code")

	s.hosts[0].Kill()
	ready["one"] = "Failed: engine one at tcp://10.99.0.1:2376 does not answer"
	s.states(ready)
	for _, args := range [][]string{{"apply"}, {"plan", "--exit-code"}, {"verify"}, {"why", "one"}} {
		code := exitPart
		if args[0] == "why" {
			code = exitDone
		}
		if r := s.want(code, args...); !strings.Contains(r.out+r.err, "engine one at tcp://10.99.0.1:2376 does not answer: nothing can be connected to there; start it, or correct hosts.one of the spec") {
			t.Errorf("%v does not name the host:\n%s%s", args, r.out, r.err)
		}
	}
	s.want(exitPart, "rotate", "identity/web")
	s.states(ready)
	lap("one is down")
	s.hosts[0].Start(t)
	s.hosts[0].Run(t, ids[0])
	s.want(exitDone, "apply", "--wait", "1m")
	ready["one"] = "Ready"
	s.states(ready)
	lap("one is back")
}

// writeContext writes a docker context of an endpoint, as `docker context create --docker` has it.
func writeContext(t *testing.T, config, name, endpoint string) {
	t.Helper()
	dockertest.Servers(t, "docker")
	cmd := exec.CommandContext(t.Context(), "docker", "--config", config, "context", "create", name, "--docker", endpoint)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// TestHostsPage follows docs/hosts.md with a real server of OpenSSH and a docker context. A server that is not the one it was
// is refused, and names what to try; the other host is kept all the same.
func TestHostsPage(t *testing.T) {
	t.Parallel()
	s := overTLS(t, 2)
	dir := filepath.Dir(s.dir)
	login := s.hosts[0].SSH(t)
	s.env = []string{"PATH=" + login.Dir + ":" + os.Getenv("PATH"), "DOCKER_CONFIG=" + filepath.Join(dir, "docker")}
	certs := filepath.Join(dir, "certs")
	page := pageOf(t, "hosts.md", strings.NewReplacer(
		"core@core-02", "root@"+s.hosts[0].Address, "tcp://core-03", "tcp://"+s.hosts[1].Address, "/srv/web/certs", certs))
	s.write("tls.yaml", page.files["tls.yaml"])
	if err := os.Mkdir(certs, 0o755); err != nil { // an engine mounts nothing that is not there
		t.Fatal(err)
	}
	ids := []string{
		s.hosts[0].Server(t, "web", 8443, mount.Mount{Type: mount.TypeVolume, Source: "certs"}),
		s.hosts[1].Server(t, "web", 8443, mount.Mount{Type: mount.TypeBind, Source: certs}),
	}
	for _, name := range []string{"ca.pem", "cert.pem", "key.pem"} {
		if err := os.Symlink(filepath.Join(dir, "ops", name), filepath.Join(s.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if len(page.sh) != 1 {
		t.Fatalf("the page has %d scripts", len(page.sh))
	}
	sh := exec.CommandContext(t.Context(), "nsenter", "--net=/run/netns/"+s.hosts[0].Bridge, "sh", "-ec",
		"certwright() { "+staticBinary(t)+` "$@"; }`+"\n"+page.sh[0])
	sh.Dir, sh.Env = s.dir, append(append(os.Environ(), "CI="), s.env...)
	if out, err := sh.CombinedOutput(); err != nil || strings.Count(string(out), "Waiting") == 0 {
		t.Fatalf("%v\n%s", err, out)
	}
	for i, id := range ids {
		s.hosts[i].Run(t, id)
	}
	s.want(exitDone, "apply", "--wait", "1m")
	ready := map[string]string{"web-02": "Ready", "web-03": "Ready"}
	s.states(ready)
	s.want(exitDone, "rotate", "identity/web")
	s.states(ready)
	if a, b := placed(t, certs), s.serial("web"); a != b {
		t.Errorf("%s is placed, and %s was issued", a, b)
	}
	if err := os.WriteFile(login.KnownHosts, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ready["web-02"] = "Failed: engine core-02 at ssh://root@" + s.hosts[0].Address + " does not answer: ssh: No ED25519 host key is known for " + s.hosts[0].Address
	s.states(ready)
	s.want(exitPart, "rotate", "identity/web")
	s.states(ready)
}

// serial is that of the certificate that an identity was issued.
func (s *hostScene) serial(identity string) string {
	s.t.Helper()
	var d statusDocument
	r := s.run("status", "-o", "json")
	if err := json.Unmarshal([]byte(r.out), &d); err != nil {
		s.t.Fatalf("status: %v\n%s%s", err, r.out, r.err)
	}
	for _, i := range d.Identities {
		if i.Name == identity && i.Serial != nil {
			return *i.Serial
		}
	}
	s.t.Fatalf("no certificate of %s", identity)
	return ""
}

// TestHostsWatch has watch hear of what happens on hosts, see one go and come back, and keep the other meanwhile.
func TestHostsWatch(t *testing.T) {
	t.Parallel()
	hosts := dockertest.Hosts(t, 2)
	var entries, bindings strings.Builder
	for i, h := range hosts {
		fmt.Fprintf(&entries, "  h%d: {endpoint: \"unix://%s\"}\n", i, h.Socket)
		fmt.Fprintf(&bindings, "  h%d: {identity: web, host: h%[1]d, container: web, volume: certs, reload: {signal: HUP}, probe: {port: 8443}}\n", i)
	}
	w := newWatch(t, "version: 1\nproject: hosts\nhosts:\n"+entries.String()+`cas:
  internal: {local: {}}
identities:
  web: {ca: internal, names: [web.test]}
bindings:
`+bindings.String(), "--interval", "1h")
	w.cmd.Env = append(w.cmd.Env, "DOCKER_HOST=unix:///nonexistent.sock") // whose events would wake it as well
	w.start()
	// says waits until watch says of a binding that it is in a state, once more than the test has seen it.
	seen := map[string]int{}
	says := func(binding, state string) {
		t.Helper()
		dockertest.Poll(t, 2*time.Minute, binding+" to be "+state, func() error {
			words := fmt.Sprintf(`"subject":"binding/%s","state":"%s"`, binding, state)
			if n := strings.Count(w.text(), words); n > seen[words] {
				seen[words] = n
				return nil
			}
			return errors.New("it does not say so")
		})
	}
	says("h0", "Waiting")
	says("h1", "Waiting")
	ids := make([]string, 2)
	for i, h := range hosts { // it hears of the start
		ids[i] = h.Server(t, "web", 8443, mount.Mount{Type: mount.TypeVolume, Source: "certs"})
		h.Run(t, ids[i])
		says(fmt.Sprint("h", i), "Ready")
	}
	before := len(w.text())
	hosts[0].Kill()
	w.signal(syscall.SIGHUP) // nothing is heard of a power cut
	says("h0", "Failed")
	hosts[0].Start(t)
	says("h0", "Waiting")
	hosts[0].Run(t, ids[0])
	says("h0", "Ready")
	if said := w.text()[before:]; strings.Contains(said, `"subject":"binding/h1"`) {
		t.Errorf("the other host did not stay Ready:\n%s", said)
	}
	w.end()
}
