package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certwright/certwright/providers/docker/dockertest"
	"github.com/certwright/certwright/providers/probe/load"
	"github.com/certwright/certwright/spec"
)

const (
	mosquittoConfiguration = `listener 8443
allow_anonymous true
require_certificate true
cafile /certs/ca.pem
certfile /certs/cert.pem
keyfile /certs/key.pem
`
	dovecotMore       = "ssl_verify_client_cert = yes\nauth_ssl_require_client_cert = yes\n"
	natsConfiguration = `listen: "0.0.0.0:8443"
tls: {cert_file: "/certs/cert.pem", key_file: "/certs/key.pem", ca_file: "/certs/ca.pem", verify: true}
`
	registryConfiguration = `version: 0.1
storage: {inmemory: {}}
http: {addr: ":8443", tls: {certificate: /certs/cert.pem, key: /certs/key.pem, clientcas: [/certs/ca.pem]}}
`
	rabbitmqConfiguration = `listeners.tcp = none
listeners.ssl.default = 8443
ssl_options.cacertfile = /certs/ca.pem
ssl_options.certfile = /certs/cert.pem
ssl_options.keyfile = /certs/key.pem
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = true
`
	caddyConfiguration = `{
	auto_https off
}
https://web.test:8443 {
	tls /certs/cert.pem /certs/key.pem {
		client_auth {
			mode require_and_verify
			trusted_ca_cert_file /certs/ca.pem
		}
	}
	respond ok
}
`
	prometheusConfiguration = `tls_server_config:
  cert_file: /certs/cert.pem
  key_file: /certs/key.pem
  client_ca_file: /certs/ca.pem
  client_auth_type: RequireAndVerifyClientCert
`
	mariadbPassword = "only-mariadb-knows-this"
	mariadbAccounts = "CREATE USER IF NOT EXISTS app REQUIRE X509;\n" +
		"CREATE USER IF NOT EXISTS reloader IDENTIFIED BY '" + mariadbPassword + "' REQUIRE X509;\nGRANT RELOAD ON *.* TO reloader;"
)

const mutualProbe = "{port: 8443, clientAuth: required}"

// The servers of the table in spec that are proved, but for those of presetServers: each with client certificates demanded.
func init() {
	for name, c := range map[string]presetServer{
		"httpd": {
			kind: dockertest.HTTPD, at: "/usr/local/apache2/conf/extra/clients.conf", file: "SSLVerifyClient require\n",
			preset: "httpd", probe: mutualProbe, key: "key.pem", access: "0:0 600", nothing: true,
		},
		"mariadb": {
			kind: dockertest.MariaDB, env: []string{"MARIADB_INIT=" + mariadbAccounts}, volume: true, starttls: "mysql", user: "app",
			preset: "{preset: mariadb, username: reloader, password: {file: mariadb.pass}}", probe: "{port: 8443, clientAuth: required, user: app}",
			key: "key.pem", access: "999:999 600",
		},
		"mosquitto": {
			kind: dockertest.Mosquitto, at: "/mosquitto/config/mosquitto.conf", file: mosquittoConfiguration,
			preset: "mosquitto", probe: mutualProbe, key: "key.pem", access: "1883:1883 600", nothing: true,
		},
		"dovecot": {
			kind: dockertest.Dovecot, at: "/etc/dovecot/more.conf", file: dovecotMore, starttls: "imap",
			preset: "dovecot", probe: mutualProbe, key: "key.pem", access: "0:0 600", nothing: true,
		},
		"postfix": {
			kind: dockertest.Postfix, starttls: "smtp",
			preset: "postfix", probe: mutualProbe, files: "{ca.pem: ca, chain.pem: combined-key-first}", key: "chain.pem", access: "0:0 600", nothing: true,
		},
		"openldap": {
			kind: dockertest.OpenLDAP, starttls: "ldap",
			preset: "openldap", probe: mutualProbe, key: "key.pem", access: "911:911 600",
		},
		"nats": {
			kind: dockertest.NATS, at: "/etc/nats/nats-server.conf", file: natsConfiguration, starttls: "nats",
			preset: "nats", probe: mutualProbe, key: "key.pem", access: "0:0 600", nothing: true,
		},
		"rabbitmq": {
			kind: dockertest.RabbitMQ, at: "/etc/rabbitmq/rabbitmq.conf", file: rabbitmqConfiguration,
			preset: "rabbitmq", probe: mutualProbe, key: "key.pem", access: "999:999 600", nothing: true,
		},
		"etcd": {
			kind: dockertest.Etcd, cmd: []string{
				"--data-dir=/tmp/etcd", "--listen-client-urls=https://0.0.0.0:8443", "--advertise-client-urls=https://web.test:8443",
				"--cert-file=/certs/cert.pem", "--key-file=/certs/key.pem", "--trusted-ca-file=/certs/ca.pem", "--client-cert-auth",
			},
			preset: "etcd", probe: mutualProbe, key: "key.pem", access: "0:0 600", nothing: true,
		},
		"registry": {
			kind: dockertest.Registry, at: "/etc/docker/registry/config.yml", file: registryConfiguration,
			preset: "registry", probe: mutualProbe, key: "key.pem", access: "0:0 600",
		},
		"caddy": {
			kind: dockertest.Caddy, at: "/etc/caddy/Caddyfile", file: caddyConfiguration,
			preset: "caddy", probe: mutualProbe, key: "key.pem", access: "0:0 600", nothing: true,
		},
		"vault": {
			kind: dockertest.Vault, preset: "vault", probe: mutualProbe, key: "key.pem", access: "100:1000 600", nothing: true,
		},
		"minio": {
			kind: dockertest.MinIO, preset: "minio", probe: "{port: 8443}", files: "{public.crt: fullchain, private.key: key}",
			key: "private.key", access: "0:0 600", nothing: true,
		},
		"prometheus": {
			kind: dockertest.Prometheus, at: "/etc/prometheus/web.yml", file: prometheusConfiguration,
			preset: "prometheus", probe: mutualProbe, key: "key.pem", access: "65534:65534 600", nothing: true,
		},
	} {
		presetServers[name] = c
	}
}

// TestServers renews under load what every proved server of the table serves; the failed handshakes are counted, and none is
// allowed where the server reloads. Then its files are made no pair: it keeps the old one, and the binding is Stale.
// CERTWRIGHT_TEST_RENEWALS says how often it renews.
func TestServers(t *testing.T) {
	t.Parallel()
	renewals := fromEnv(t, "CERTWRIGHT_TEST_RENEWALS", 2)
	proved := map[string]bool{}
	for name, c := range presetServers {
		row, _ := spec.PresetNamed(presetName(c.preset))
		proved[row.Name] = true
		if name != row.Name {
			continue // another way to set up the same server
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			id, lines := s.preset(c)
			s.withClient(append(lines, "reload: "+c.preset))
			s.up(dockertest.Running{ID: id})
			clients := s.load(id, row, c, 40)
			clients.see(s.state("Ready", ""))
			for range renewals {
				s.want(exitDone, "rotate", "identity/web")
				clients.see(s.state("Ready", ""))
			}
			ledger := clients.end()
			sum := ledger.Total()
			t.Logf("%d renewals: %d handshakes, %d failed", renewals, sum.OK+sum.Failed, sum.Failed)
			if sum.Failed > ledger.Errors[misses[row.Name]] && !row.Act.Restart {
				t.Errorf("handshakes failed: %s", ledger)
			}
			delete(ledger.Serials, "")
			if len(ledger.Serials) != renewals+1 {
				t.Errorf("the clients saw %d certificates, want %d: %s", len(ledger.Serials), renewals+1, ledger)
			}
			s.noPair(id, lines, row, c)
		})
	}
	for _, p := range spec.Presets {
		if p.Proved != proved[p.Name] {
			t.Errorf("%s: proved is %v, and a test of it: %v", p.Name, p.Proved, proved[p.Name])
		}
		if p.Misses != (misses[p.Name] != "") {
			t.Errorf("%s: misses is %v, and a test of it: %q", p.Name, p.Misses, misses[p.Name])
		}
	}
}

func presetName(reload string) string {
	name := strings.TrimPrefix(reload, "{preset: ")
	name, _, _ = strings.Cut(name, ",")
	return name
}

// withClient writes tls.yaml with the lines of web, and a client of the same CA in ./client.
func (s scene) withClient(lines []string) {
	s.t.Helper()
	s.spec(lines...)
	text := strings.Replace(s.read("tls.yaml"), "\nbindings:\n", "\n  client: {ca: internal, usages: [client]}\nbindings:\n  client: {identity: client, directory: ./client}\n", 1)
	s.write("tls.yaml", text)
}

// traffic is clients that go on connecting to a server.
type traffic struct {
	t    testing.TB
	stop context.CancelFunc
	done chan load.Ledger
	mu   sync.Mutex
	saw  map[string]bool // serials
}

// load begins to connect to a server, as the client, so many times a second.
func (s scene) load(id string, row spec.Preset, c presetServer, rate int) *traffic {
	s.t.Helper()
	client, err := tls.LoadX509KeyPair(filepath.Join(s.dir, "client/cert.pem"), filepath.Join(s.dir, "client/key.pem"))
	if err != nil {
		s.t.Fatal(err)
	}
	root, err := os.ReadFile(filepath.Join(s.dir, "client/ca.pem"))
	if err != nil {
		s.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(root)
	protocol := row.Protocol
	if protocol == "" {
		protocol = "tls"
	}
	address := net.JoinHostPort(dockertest.Address(s.t, id), "8443")
	ctx, stop := context.WithCancel(s.t.Context())
	s.t.Cleanup(stop)
	clients := &traffic{t: s.t, stop: stop, done: make(chan load.Ledger, 1), saw: map[string]bool{}}
	go func() {
		clients.done <- load.Run(ctx, load.Config{
			Dial: func(ctx context.Context) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", address)
			},
			Protocol: protocol, TLS: &tls.Config{RootCAs: roots, ServerName: "web.test", Certificates: []tls.Certificate{client}},
			User: c.user, RatePerSecond: rate, Clients: max(4, rate/20), Timeout: 20 * time.Second, Each: clients.each,
		})
	}()
	return clients
}

func (c *traffic) each(try load.Try) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if try.Err == nil && try.Leaf != nil {
		c.saw[hex.EncodeToString(try.Leaf.SerialNumber.Bytes())] = true
	}
}

// see waits until a client was let in by a server with the certificate that the binding wants.
func (c *traffic) see(b bindingDocument) {
	c.t.Helper()
	serial := *b.Targets[0].WantedSerial
	dockertest.Poll(c.t, time.Minute, "a client to see "+serial, func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.saw[serial] {
			return errors.New("none did")
		}
		return nil
	})
}

func (c *traffic) end() load.Ledger {
	c.stop()
	return <-c.done
}

// noPair renews with something else in the place of the key, and mends it.
func (s scene) noPair(id string, lines []string, row spec.Preset, c presetServer) {
	s.t.Helper()
	old := s.serves(id, c)
	files, others := "{ca.pem: ca, cert.pem: fullchain, key.pem: ca}", []string{"reload: " + c.preset}
	for _, line := range lines {
		if held, ok := strings.CutPrefix(line, "files: "); ok {
			files = strings.NewReplacer("combined-key-first", "ca", "combined", "ca", ": key}", ": ca}").Replace(held)
		} else {
			others = append(others, line)
		}
	}
	s.withClient(append(others, "files: "+files))
	s.want(exitPart, "rotate", "identity/web")
	b := s.status().binding(s.t, "web")
	s.t.Logf("no pair: %s: %s", b.State, b.Reason)
	running := dockertest.Inspect(s.t, id).State.Running
	switch row.NoPair {
	case spec.Keeps:
		if got := s.serves(id, c); b.State != "Stale" || got != old {
			s.t.Errorf("%s (%s), and serves %s, want Stale and %s", b.State, b.Reason, got, old)
		}
	case spec.Breaks:
		if b.State != "Failed" || !running {
			s.t.Errorf("%s (%s), and running is %v, want Failed and true", b.State, b.Reason, running)
		}
	case spec.Ends:
		if b.State != "Failed" || running {
			s.t.Errorf("%s (%s), and running is %v, want Failed and false", b.State, b.Reason, running)
		}
	}
	s.withClient(append(slices.Clone(lines), "reload: "+c.preset))
	s.command.run("apply") // what it can: a container that ended is started below
	if !running {
		dockertest.Start(s.t, id)
	}
	s.want(exitDone, "apply", "--wait", "1m")
	s.state("Ready", "")
}
