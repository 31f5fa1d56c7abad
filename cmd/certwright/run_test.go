package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"

	"github.com/certwright/certwright/providers/docker/dockertest"
	"github.com/certwright/certwright/providers/probe/load"
)

// inside is a container whose first process is certwright run.
type inside struct {
	t     *testing.T
	certs string // of this machine, at /certs there
	id    string
}

// runInside starts one with a spec of an identity web, and the lines of its binding.
func runInside(t *testing.T, c dockertest.Container, identity string, binding ...string) *inside {
	t.Helper()
	in := &inside{t: t, certs: filepath.Join(t.TempDir(), "certs")}
	if err := os.Mkdir(in.certs, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(in.certs, 0o777); err != nil {
		t.Fatal(err)
	}
	spec := filepath.Join(t.TempDir(), "tls.yaml")
	text := "version: 1\nproject: inside\nstore: {directory: /state/store}\ncas: {root: {local: {}}}\nidentities: {web: {ca: root, names: [web.test]" + identity + "}}\n" +
		"bindings: {web: {identity: web, path: /certs, container: web, " + strings.Join(binding, ", ") + "}}\n"
	if err := os.WriteFile(spec, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	c.Name = "inside"
	c.Entrypoint = []string{"/certwright", "run", "-f", "/etc/certwright/tls.yaml", "web", "--"}
	c.Mounts = append(c.Mounts, bindMount(staticBinary(t), "/certwright"), bindMount(spec, "/etc/certwright/tls.yaml"))
	if c.Tmpfs == nil {
		c.Tmpfs = map[string]string{"/state": "mode=1777"}
		c.Mounts = append(c.Mounts, mount.Mount{Type: mount.TypeBind, Source: in.certs, Target: "/certs"})
	}
	in.id = dockertest.Run(t, c).ID
	dockertest.Start(t, in.id)
	return in
}

// exits waits until it has ended, and returns its exit code.
func (in *inside) exits() int {
	in.t.Helper()
	ctx, cancel := context.WithTimeout(in.t.Context(), time.Minute)
	defer cancel()
	ended, failed := dockertest.Engine(in.t).ContainerWait(ctx, in.id, container.WaitConditionNotRunning)
	select {
	case r := <-ended:
		return int(r.StatusCode)
	case err := <-failed:
		in.t.Fatal(err)
	}
	return -1
}

// says waits until its log has some words.
func (in *inside) says(words string) {
	in.t.Helper()
	dockertest.Poll(in.t, 30*time.Second, "its log to say "+words, func() error {
		if log := in.log(); !strings.Contains(log, words) {
			return fmt.Errorf("it says\n%s", log)
		}
		return nil
	})
}

func (in *inside) log() string {
	in.t.Helper()
	r, err := dockertest.Engine(in.t).ContainerLogs(in.t.Context(), in.id, container.LogsOptions{ShowStdout: true, ShowStderr: true})
	if err != nil {
		in.t.Fatal(err)
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	if err != nil {
		in.t.Fatal(err)
	}
	return string(text)
}

// TestRunUnderLoad keeps clients connecting to nginx and Redis, each in a container with run as its first process and no
// engine, while their certificates are renewed three times.
func TestRunUnderLoad(t *testing.T) {
	t.Parallel()
	const often = ", lifetime: 1m, renew: 1/8"
	nginx := filepath.Join(t.TempDir(), "nginx.conf")
	if err := os.WriteFile(nginx, []byte(nginxConfiguration), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, start := range map[string]func(t *testing.T) *inside{
		"nginx": func(t *testing.T) *inside {
			return runInside(t, dockertest.Container{
				Image: dockertest.Image(t, dockertest.Nginx), Cmd: []string{"nginx", "-g", "daemon off;"},
				Mounts: []mount.Mount{bindMount(nginx, "/etc/nginx/conf.d/default.conf")},
			}, often, "probe: {port: 8443}")
		},
		"redis": func(t *testing.T) *inside {
			return runInside(t, dockertest.Container{
				Image: dockertest.Image(t, dockertest.Redis), Cmd: append([]string{"redis-server"}, redisWith("--tls-auth-clients", "no", "--protected-mode", "no")...),
			}, often, "probe: {port: 8443}")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := start(t)
			in.says("state=Ready")
			ca, err := os.ReadFile(filepath.Join(in.certs, "ca.pem"))
			if err != nil {
				t.Fatal(err)
			}
			renewsUnderLoad(t, net.JoinHostPort(dockertest.Address(t, in.id), "8443"), map[string]string{"nginx": "tls", "redis": "redis"}[name], ca, "web.test")
			if err := dockertest.Engine(t).ContainerStop(t.Context(), in.id, container.StopOptions{}); err != nil {
				t.Fatal(err)
			}
			if code := in.exits(); code != 0 {
				t.Errorf("stopped, it exits with %d", code)
			}
		})
	}
}

// renewsUnderLoad has clients of a CA connect to a server until it has shown four certificates; none may be let down.
func renewsUnderLoad(t *testing.T, address, protocol string, ca []byte, name string) {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		t.Fatal("the CA has no certificate")
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ledger := make(chan load.Ledger, 1)
	go func() {
		ledger <- load.Run(ctx, load.Config{
			Dial:     func(ctx context.Context) (net.Conn, error) { return (&net.Dialer{}).DialContext(ctx, "tcp", address) },
			Protocol: protocol, TLS: &tls.Config{RootCAs: roots, ServerName: name}, RatePerSecond: 50, Clients: 4, Timeout: 10 * time.Second,
		})
	}()
	serials := map[string]bool{}
	dockertest.Poll(t, 2*time.Minute, "four certificates", func() error {
		serial, err := handshake(address)
		if err != nil {
			t.Fatal(err)
		}
		if serials[serial] = true; len(serials) < 4 {
			return fmt.Errorf("there were %d", len(serials))
		}
		return nil
	})
	stop()
	l := <-ledger
	t.Log(l)
	if sum := l.Total(); sum.Failed > 0 || sum.OK < 100 {
		t.Errorf("%d handshakes, %d failed", sum.OK, sum.Failed)
	}
}

// TestRunEnds has commands end in every way; it exits as they did.
func TestRunEnds(t *testing.T) {
	t.Parallel()
	image := dockertest.Image(t, dockertest.Curl)
	for name, c := range map[string]struct {
		cmd    []string
		signal string
		code   int
		says   string
	}{
		"by itself":         {cmd: []string{"sh", "-c", "ls -A /certs; exit 7"}, code: 7, says: "key.pem"},
		"crashed":           {cmd: []string{"sh", "-c", "kill -SEGV $$"}, code: 139},
		"of SIGTERM":        {cmd: []string{"sleep", "600"}, signal: "TERM", code: 143, says: "state=Unverified"},
		"well, of SIGTERM":  {cmd: []string{"sh", "-c", "trap 'echo well; exit 3' TERM; while :; do sleep 0.1; done"}, signal: "TERM", code: 3, says: "state=Unverified"},
		"of another signal": {cmd: []string{"sh", "-c", "trap 'echo heard; exit 4' USR2; while :; do sleep 0.1; done"}, signal: "USR2", code: 4, says: "state=Unverified"},
		"curious":           {cmd: []string{"sh", "-c", "for p in 1 $PPID; do cat /proc/$p/environ && exit 1; done; exit 5"}, code: 5, says: "Permission denied"},
		"it is not there":   {cmd: []string{"nowhere"}, code: 127, says: "nowhere"},
		"it cannot be run":  {cmd: []string{"/etc/passwd"}, code: 126, says: "permission denied"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := runInside(t, dockertest.Container{Image: image, Cmd: c.cmd}, "")
			if c.says != "" {
				in.says(c.says)
			}
			if c.signal != "" {
				dockertest.Signal(t, in.id, c.signal)
			}
			if code := in.exits(); code != c.code {
				t.Errorf("it exits with %d, want %d:\n%s", code, c.code, in.log())
			}
		})
	}
}

// TestRunOnATerminal types: the command reads what is typed, and an interrupt reaches it once.
func TestRunOnATerminal(t *testing.T) {
	t.Parallel()
	in := runInside(t, dockertest.Container{Image: dockertest.Image(t, dockertest.Curl), Terminal: true, Cmd: []string{
		"sh", "-c", "n=0; trap 'n=$((n+1))' INT; echo ready; read x; echo read $x; while test $n = 0; do sleep 0.1; done; sleep 1; exit $((40+n))",
	}}, "")
	in.says("ready")
	terminal, err := dockertest.Engine(t).ContainerAttach(t.Context(), in.id, container.AttachOptions{Stream: true, Stdin: true})
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	for _, typed := range []string{"words\n", "\x03"} {
		if _, err := io.WriteString(terminal.Conn, typed); err != nil {
			t.Fatal(err)
		}
		in.says("read words")
	}
	if code := in.exits(); code != 41 {
		t.Errorf("it exits with %d, want 41", code)
	}
}

// TestRunReaps has a command leave processes to the first one of the container.
func TestRunReaps(t *testing.T) {
	t.Parallel()
	// What it starts and leaves goes to the first process; its second words say that all of them have ended.
	in := runInside(t, dockertest.Container{Image: dockertest.Image(t, dockertest.Curl), Cmd: []string{
		"sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10; do (sleep 0.1 &); done; sleep 1; echo all ended; sleep 600",
	}}, "")
	in.says("all ended")
	dockertest.Poll(t, 20*time.Second, "no zombie", func() error {
		_, states, _ := dockertest.Exec(t, in.id, "sh", "-c", "cat /proc/[0-9]*/stat")
		if !strings.Contains(states, "(sleep)") {
			t.Fatalf("there are no processes: %s", states)
		}
		if strings.Contains(states, ") Z ") {
			return errors.New("there is one")
		}
		return nil
	})
}

// TestRunReadOnly has a root file system that cannot be written, and a user who is not root.
func TestRunReadOnly(t *testing.T) {
	t.Parallel()
	c := dockertest.Container{
		Image: dockertest.Image(t, dockertest.GoServer), Cmd: []string{"/tlsserver", "-reload", "hup"}, User: "101:101", ReadOnly: true,
		Tmpfs: map[string]string{"/state": "uid=101,gid=101,mode=700", "/certs": "uid=101,gid=101"},
	}
	in := runInside(t, c, ", lifetime: 1m, renew: 1/8", "reload: {signal: HUP}", "probe: {port: 8443}")
	in.says("state=Ready")
	first := served(t, in.id)
	dockertest.Poll(t, time.Minute, "a renewal", func() error {
		if served(t, in.id) == first {
			return errors.New("it serves the first one")
		}
		return nil
	})

	foreign := c
	foreign.Mounts = []mount.Mount{bindMount(os.Args[0], "/certs/cert.pem")} // somebody else's
	in = runInside(t, foreign, "")
	if code := in.exits(); code != exitOwn {
		t.Errorf("with another's file it exits with %d, want %d", code, exitOwn)
	}
	in.says("cert.pem")

	c.Tmpfs = map[string]string{"/state": "uid=101,gid=101,mode=700"}
	in = runInside(t, c, "")
	if code := in.exits(); code != exitOwn {
		t.Errorf("it exits with %d, want %d", code, exitOwn)
	}
	in.says("/certs: read-only file system")
	in.says("mount a volume or a tmpfs there")
	c.Tmpfs = map[string]string{"/certs": "uid=101,gid=101"}
	in = runInside(t, c, "")
	if code := in.exits(); code != exitOwn {
		t.Errorf("it exits with %d, want %d", code, exitOwn)
	}
	in.says("read-only file system")
}

// TestRunWaitsForItsCA begins while the CA is away: the command waits for its first files, starts as soon as they are
// there, and at once where there are good ones; nobody waits for it who wants it to end.
func TestRunWaitsForItsCA(t *testing.T) {
	t.Parallel()
	certwright := staticBinary(t)
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("ca.yaml", "version: 1\nproject: ca\nstore: {directory: ca}\ncas: {root: {local: {}}}\nbindings: {root: {trust: [root], directory: root}}\n", 0o644)
	write("sign", "#!/bin/sh\ntest -e up || { echo 'the CA is away' >&2; exit 1; }\ncat >request.csr\nexec "+certwright+" sign -f ca.yaml --ca root request.csr\n", 0o755)
	spec := "version: 1\nproject: run\ncas: {root: {exec: {command: [./sign], roots: root/ca.pem}}}\nidentities: {web: {ca: root, names: [web.test]}}\n" +
		"bindings: {web: {identity: web, directory: certs}}\n"
	write("tls.yaml", spec, 0o644)
	if out, err := exec.Command("sh", "-c", "cd "+dir+" && "+certwright+" apply -f ca.yaml").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	run := func() (*exec.Cmd, *watched) {
		t.Helper()
		c, said := exec.Command(certwright, "run", "web", "--", "sh", "-c", "touch ran; test -e certs/key.pem && exit 9"), &watched{}
		c.Dir, c.Stderr, c.Stdout = dir, said, said
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Process.Kill() })
		return c, said
	}
	away := func(said *watched) {
		t.Helper()
		dockertest.Poll(t, 20*time.Second, "the cause", func() error {
			if !strings.Contains(said.text(), "the CA is away") {
				return errors.New(said.text())
			}
			return nil
		})
	}
	ends := func(c *exec.Cmd, said *watched, code int) {
		t.Helper()
		late := time.AfterFunc(time.Minute, func() { _ = c.Process.Kill() })
		defer late.Stop()
		if _ = c.Wait(); c.ProcessState.ExitCode() != code {
			t.Errorf("it exits with %d, want %d:\n%s", c.ProcessState.ExitCode(), code, said.text())
		}
	}
	ran := func() bool {
		err := os.Remove(filepath.Join(dir, "ran"))
		return err == nil
	}

	c, said := run()
	away(said)
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ends(c, said, 143)
	if ran() {
		t.Error("the command ran without its files")
	}

	c, said = run()
	away(said)
	write("up", "", 0o644)
	ends(c, said, 9)
	if !ran() {
		t.Error("the command did not run")
	}

	if err := os.Remove(filepath.Join(dir, "up")); err != nil {
		t.Fatal(err)
	}
	write("tls.yaml", strings.Replace(spec, "web.test", "other.test", 1), 0o644)
	c, said = run()
	ends(c, said, 9)
	away(said)
}
