package probe_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/mount"

	"github.com/certwright/certwright/providers/docker/dockertest"
	"github.com/certwright/certwright/spec"
)

// TestRabbitMQ probes a real RabbitMQ, which asks for clients in its own TLS. It runs in a container: on a machine it would leave
// a daemon behind, epmd.
func TestRabbitMQ(t *testing.T) {
	t.Parallel()
	verify, demand := "ssl_options.verify = verify_peer", "ssl_options.fail_if_no_peer_cert = true"
	runRows(t, "amqp", both, map[string]mailRow{
		"required": {[]string{verify, demand}, spec.ClientAuthRequired, mutual},
	}, rabbitMQ)
	runRows(t, "amqp", both[1:], map[string]mailRow{
		"optional":      {[]string{verify}, spec.ClientAuthOptional, seen{Without: in, Foreign: out, Accepted: in}},
		"not asked for": {nil, spec.ClientAuthRequired, asksNone},
	}, rabbitMQ)
}

// rabbitMQ starts RabbitMQ with the files of a cage and one version of TLS, and returns its address.
func rabbitMQ(t *testing.T, c cage, version string, settings []string) string {
	t.Helper()
	certs := t.TempDir()
	c.web.Write(t, certs, c.root)
	for _, name := range []string{"cert.pem", "key.pem", "ca.pem"} {
		if err := os.Chown(filepath.Join(certs, name), 999, 999); err != nil {
			t.Fatal(err)
		}
	}
	configuration := filepath.Join(t.TempDir(), "rabbitmq.conf")
	lines := append([]string{
		"listeners.tcp = none", "listeners.ssl.default = 5671", "ssl_options.versions.1 = tlsv" + version,
		"ssl_options.cacertfile = /certs/ca.pem", "ssl_options.certfile = /certs/cert.pem", "ssl_options.keyfile = /certs/key.pem",
	}, settings...)
	if err := os.WriteFile(configuration, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	made := dockertest.Run(t, dockertest.Container{
		Image: dockertest.Image(t, dockertest.RabbitMQ), Start: true, Mounts: []mount.Mount{
			{Type: mount.TypeBind, Source: certs, Target: "/certs", ReadOnly: true},
			{Type: mount.TypeBind, Source: configuration, Target: "/etc/rabbitmq/rabbitmq.conf", ReadOnly: true},
		},
	})
	address := net.JoinHostPort(dockertest.Address(t, made.ID), "5671")
	dockertest.Poll(t, time.Minute, address+" to listen", func() error {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err
	})
	return address
}
