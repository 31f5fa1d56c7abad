package dockertest

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
)

func TestRun(t *testing.T) {
	cli := Engine(t)
	image := Image(t, Curl)
	var gone Running
	t.Run("inside", func(t *testing.T) {
		net, vol := Network(t), Volume(t)
		a := Run(t, Container{
			Image: image, Name: "a", Network: net, Start: true, Health: Healthy("id"), Labels: map[string]string{"tier": "edge"},
			Mounts: []mount.Mount{{Type: mount.TypeVolume, Source: vol, Target: "/data"}},
		})
		b := Run(t, Container{Image: image, Name: "b", Network: net, Start: true, User: "0:0"})
		WaitHealthy(t, a.ID)
		if exit, out, _ := Exec(t, b.ID, "sh", "-c", "id -u; exit 7"); exit != 7 || out != "0\n" {
			t.Errorf("exec: exit %d, output %q", exit, out)
		}
		if _, _, errs := Exec(t, b.ID, "curl", "-sS", "http://"+a.Name+":9"); !strings.Contains(errs, "Failed to connect to "+a.Name) {
			t.Errorf("%s does not find %s by name: %s", b.Name, a.Name, errs)
		}
		if got := Inspect(t, a.ID).Config.Labels["tier"]; got != "edge" {
			t.Errorf("label tier is %q", got)
		}
		gone = a
	})
	if _, err := cli.ContainerInspect(t.Context(), gone.ID); !errdefs.IsNotFound(err) {
		t.Errorf("the container outlived its test: %v", err)
	}
}

// TestExactName proves that what a killed test left is replaced, and that its name is free again afterwards.
func TestExactName(t *testing.T) {
	cli := Engine(t)
	name := objectName(t, "certwright-test-exact", false)
	left, err := cli.ContainerCreate(t.Context(), &container.Config{Image: Image(t, Curl), Labels: labels(nil)}, nil, nil, nil, name)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		t.Run("take it", func(t *testing.T) {
			c := Run(t, Container{Image: Image(t, Curl), Name: name, Exact: true})
			if c.ID == left.ID || c.Name != name {
				t.Errorf("made %v, where %s had been left", c, left.ID)
			}
		})
	}
}

// TestLogsHoldNoKeys looks at the log of a container that writes a key.
func TestLogsHoldNoKeys(t *testing.T) {
	c := Run(t, Container{Image: Image(t, Curl), Cmd: []string{"sh", "-c", "openssl genpkey -algorithm ed25519; echo done"}, Start: true})
	Poll(t, 10*time.Second, "the container to end", func() error {
		if log := Logs(t, c.ID); !strings.HasSuffix(log, "done\n") {
			return fmt.Errorf("log: %q", log)
		}
		return nil
	})
	if log := Logs(t, c.ID); log != "(a private key)\ndone\n" {
		t.Errorf("log: %q", log)
	}
}

// TestServerBehaviours proves that the server with a behaviour has it.
func TestServerBehaviours(t *testing.T) {
	Engine(t)
	image := Image(t, GoServer)
	ca := newAuthority(t)
	for reload, want := range map[string]struct {
		change, hup string // what is served after the files changed, and after a SIGHUP
	}{
		"hot": {"new", ""}, "hup": {"old", "new"}, "lying": {"old", "old"}, "restart": {"old", "dead"},
	} {
		t.Run(reload, func(t *testing.T) {
			dir := t.TempDir()
			old := ca.place(t, dir, "web")
			c := Run(t, Container{
				Image: image, Cmd: []string{"-reload", reload}, Ports: []int{8443}, Start: true,
				Health: Healthy("/tlsserver", "-check", "http://127.0.0.1:8080/health"),
				Mounts: []mount.Mount{{Type: mount.TypeBind, Source: dir, Target: "/certs", ReadOnly: true}},
			})
			WaitHealthy(t, c.ID)
			at := Published(t, c.ID, 8443)
			if got := served(t, ca, at, "web"); got != old {
				t.Fatalf("serves %s at first, want %s", got, old)
			}
			serials := map[string]string{"old": old, "new": ca.place(t, dir, "web")}
			if got := served(t, ca, at, "web"); got != serials[want.change] {
				t.Errorf("after the change it serves %s, want the %s one of %v", got, want.change, serials)
			}
			if want.hup == "" {
				return
			}
			Signal(t, c.ID, "HUP")
			if want.hup == "dead" {
				Poll(t, 10*time.Second, "the server to end", func() error {
					if state := Inspect(t, c.ID).State; state.Running {
						return fmt.Errorf("it is %s", state.Status)
					}
					return nil
				})
				return
			}
			Poll(t, 10*time.Second, "the reload to be logged", func() error {
				if log := Logs(t, c.ID); !strings.Contains(log, "reloaded") {
					return fmt.Errorf("log: %q", log)
				}
				return nil
			})
			if got := served(t, ca, at, "web"); got != serials[want.hup] {
				t.Errorf("after HUP it serves %s, want the %s one of %v", got, want.hup, serials)
			}
		})
	}
}

// TestServerCrashesOnNew proves -crash-on-new and -slow-health.
func TestServerCrashesOnNew(t *testing.T) {
	cli := Engine(t)
	ca, dir := newAuthority(t), t.TempDir()
	ca.place(t, dir, "web")
	c := Run(t, Container{
		Image: Image(t, GoServer), Cmd: []string{"-crash-on-new", "/tmp/first", "-slow-health", "1s", "-client-auth", "required"}, Ports: []int{8443}, Start: true,
		Health: Healthy("/tlsserver", "-check", "http://127.0.0.1:8080/health"),
		Mounts: []mount.Mount{{Type: mount.TypeBind, Source: dir, Target: "/certs", ReadOnly: true}},
	})
	WaitHealthy(t, c.ID)
	began, err := time.Parse(time.RFC3339Nano, Inspect(t, c.ID).State.StartedAt)
	if err != nil || time.Since(began) < time.Second {
		t.Errorf("healthy %s after its start (%v), in spite of -slow-health 1s", time.Since(began), err)
	}
	at := "https://" + Published(t, c.ID, 8443)
	if _, err := ca.client().Get(at); err == nil {
		t.Error("a client without a certificate was let in")
	}
	if reply, err := ca.client(ca.issue(t, "me", x509.ExtKeyUsageClientAuth)).Get(at); err != nil {
		t.Errorf("a client with a certificate: %v", err)
	} else {
		reply.Body.Close()
	}
	if err := cli.ContainerRestart(t.Context(), c.ID, container.StopOptions{Timeout: new(int)}); err != nil {
		t.Fatal(err)
	}
	WaitHealthy(t, c.ID)
	ca.place(t, dir, "web")
	if err := cli.ContainerRestart(t.Context(), c.ID, container.StopOptions{Timeout: new(int)}); err != nil {
		t.Fatal(err)
	}
	Poll(t, 10*time.Second, "the server to crash", func() error {
		if state := Inspect(t, c.ID).State; state.Running || state.ExitCode != 1 {
			return fmt.Errorf("it is %s, exit code %d", state.Status, state.ExitCode)
		}
		return nil
	})
}

// place issues a server certificate for name into dir, under the default names, and returns its serial.
func (a authority) place(t *testing.T, dir, name string) string {
	t.Helper()
	c := a.issue(t, name, x509.ExtKeyUsageServerAuth)
	for file, data := range a.files(t, c, "cert.pem", "key.pem", "ca.pem") {
		if err := os.WriteFile(filepath.Join(dir, file), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c.Leaf.SerialNumber.Text(16)
}

// client trusts a, shows the certificates given, and makes a new connection for every request.
func (a authority) client(show ...tls.Certificate) *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: a.pool(), Certificates: show},
	}}
}

// served returns the serial that a server shows in a handshake as name.
func served(t *testing.T, a authority, address, name string) string {
	t.Helper()
	serial, err := handshake(a, address, name)
	if err != nil {
		t.Fatalf("handshake with %s: %v", address, err)
	}
	return serial
}

func handshake(a authority, address, name string) (serial string, err error) {
	conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: a.pool(), ServerName: name})
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.Text(16), nil
}
