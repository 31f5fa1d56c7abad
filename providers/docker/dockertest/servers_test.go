package dockertest

import (
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/docker/docker/api/types/mount"
)

const haproxyConfiguration = `
global
    stats socket /tmp/admin.sock
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend web
    bind :8443 ssl crt /certs/combined.pem
    http-request return status 200 content-type text/plain string ok
`

// TestServersReload proves that Redis and HAProxy serve TLS as the users of their official images, and take a new
// certificate without a restart; nginx and PostgreSQL are in TestSeed.
func TestServersReload(t *testing.T) {
	Engine(t)
	ca := newAuthority(t)
	for kind, c := range map[Kind]struct {
		uid, port int
		cmd       []string
		reload    func(t *testing.T, id string)
	}{
		Redis: {999, 6379, []string{
			"--port", "0", "--tls-port", "6379", "--tls-auth-clients", "no", "--protected-mode", "no",
			"--tls-cert-file", "/certs/cert.pem", "--tls-key-file", "/certs/key.pem", "--tls-ca-cert-file", "/certs/ca.pem",
		}, func(t *testing.T, id string) {
			_, out, errs := Exec(t, id, "redis-cli", "--tls", "--insecure", "config", "set", "tls-cert-file", "/certs/cert.pem")
			if out != "OK\n" {
				t.Errorf("CONFIG SET: output %q, errors %q", out, errs)
			}
		}},
		HAProxy: {99, 8443, nil, func(t *testing.T, id string) { Signal(t, id, "HUP") }},
	} {
		t.Run(string(kind), func(t *testing.T) {
			dir := t.TempDir()
			place := func() string {
				leaf := ca.issue(t, "server", x509.ExtKeyUsageServerAuth)
				files := ca.files(t, leaf, "cert.pem", "key.pem", "ca.pem")
				files["combined.pem"] = slices.Concat(files["cert.pem"], files["key.pem"])
				swap(t, dir, files, c.uid, c.uid)
				return leaf.Leaf.SerialNumber.Text(16)
			}
			old := place()
			configuration := t.TempDir()
			if err := os.WriteFile(filepath.Join(configuration, "haproxy.cfg"), []byte(haproxyConfiguration), 0o644); err != nil {
				t.Fatal(err)
			}
			made := Run(t, Container{
				Image: Image(t, kind), Cmd: c.cmd, Ports: []int{c.port}, Start: true,
				Mounts: []mount.Mount{bind(dir, "", "/certs"), bind(configuration, "", "/usr/local/etc/haproxy")},
			})
			at := Published(t, made.ID, c.port)
			serves := func(want string) {
				Poll(t, 20*time.Second, "the certificate "+want, func() error {
					got, err := handshake(ca, at, "server")
					if err == nil && got != want {
						err = fmt.Errorf("it serves %s", got)
					}
					return err
				})
			}
			serves(old)
			renewed := place()
			if got := served(t, ca, at, "server"); got != old {
				t.Errorf("serves %s before the reload, want %s", got, old)
			}
			// HAProxy's master drops a signal that comes while it starts; its worker serves by then.
			var sent time.Time
			Poll(t, time.Minute, "the certificate "+renewed, func() error {
				if time.Since(sent) > 2*time.Second {
					c.reload(t, made.ID)
					sent = time.Now()
				}
				got, err := handshake(ca, at, "server")
				if err == nil && got != renewed {
					err = fmt.Errorf("it serves %s", got)
				}
				return err
			})
		})
	}
}
