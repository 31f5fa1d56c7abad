package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"net"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/docker/docker/api/types/mount"

	"github.com/certwright/certwright/providers/docker/dockertest"
	"github.com/certwright/certwright/spec"
)

// presetServer is a real server that a preset knows.
type presetServer struct {
	kind     dockertest.Kind
	cmd      []string
	env      []string
	at, file string // where its configuration file is mounted, and what stands in it
	stop     string
	sysctls  map[string]string
	volume   bool // its certificates lie in a volume, else in a directory
	starttls string
	user     string // who logs in where the protocol has that

	preset  string
	probe   string
	files   string // "" for the default
	key     string // the file that holds the key
	access  string // owner and mode of that file as the container sees them
	nothing bool   // the preset works without a word in the spec
}

const (
	nginxConfiguration = `server {
	listen 8443 ssl;
	ssl_certificate /certs/cert.pem;
	ssl_certificate_key /certs/key.pem;
}
`
	haproxyConfiguration = `defaults
	mode http
	timeout connect 5s
	timeout client 5s
	timeout server 5s
frontend web
	bind :8443 ssl crt /certs/combined.pem
	http-request return status 200 content-type text/plain string ok
`
	redisPassword = "only-redis-knows-this"
)

// redisWith are the arguments of a Redis that serves TLS on 8443.
func redisWith(more ...string) []string {
	return append([]string{
		"--port", "0", "--tls-port", "8443", "--tls-cert-file", "/certs/cert.pem", "--tls-key-file", "/certs/key.pem",
		"--tls-ca-cert-file", "/certs/ca.pem",
	}, more...)
}

func postgresOver(port string) []string {
	return []string{
		"postgres", "-c", "port=" + port, "-c", "ssl=on", "-c", "ssl_ca_file=/certs/ca.pem",
		"-c", "ssl_cert_file=/certs/cert.pem", "-c", "ssl_key_file=/certs/key.pem",
	}
}

// presetServers are the servers of the first version. No spec says an owner or a protocol: both are the preset's.
var presetServers = map[string]presetServer{
	"nginx": {
		kind: dockertest.Nginx, at: "/etc/nginx/conf.d/default.conf", file: nginxConfiguration,
		preset: "nginx", probe: "{port: 8443}", key: "key.pem", access: "0:0 600", nothing: true,
	},
	"haproxy": {
		kind: dockertest.HAProxy, at: "/usr/local/etc/haproxy/haproxy.cfg", file: haproxyConfiguration,
		preset: "haproxy", probe: "{port: 8443}", files: "{combined.pem: combined}", key: "combined.pem", access: "99:99 600", nothing: true,
	},
	"redis": {
		kind: dockertest.Redis, cmd: redisWith("--tls-auth-clients", "no", "--protected-mode", "no"), volume: true,
		preset: "redis", probe: "{port: 8443}", key: "key.pem", access: "999:999 600", nothing: true,
	},
	"redis with a password": {
		kind:   dockertest.Redis,
		cmd:    redisWith("--tls-auth-clients", "yes", "--requirepass", "nobody knows", "--user", "reloader", "on", ">"+redisPassword, "+config"),
		preset: "{preset: redis, username: reloader, password: {file: redis.pass}}", probe: "{port: 8443, clientAuth: required}",
		key: "key.pem", access: "999:999 600",
	},
	"postgres": {
		kind: dockertest.Postgres, cmd: append(postgresOver("8443"), "-c", "hba_file=/etc/pg_hba.conf"), stop: "SIGINT", volume: true, starttls: "postgres", user: "postgres",
		at: "/etc/pg_hba.conf", file: "hostssl all all all trust\n",
		preset: "postgres", probe: "{port: 8443}", key: "key.pem", access: "999:999 600", nothing: true,
	},
	"postgres with a key of root": { // the other owner and mode it takes a key with (PostgreSQL manual, 19.9)
		kind: dockertest.Postgres, cmd: postgresOver("8443"), stop: "SIGINT", starttls: "postgres",
		preset: "postgres", probe: "{port: 8443}", key: "key.pem", access: "0:999 640",
		files: `{ca.pem: ca, cert.pem: fullchain, key.pem: {content: key, mode: "0640", owner: "0:999"}}`,
	},
}

// TestPresets renews what real servers serve, each the way it has.
func TestPresets(t *testing.T) {
	t.Parallel()
	for name, c := range presetServers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			id, lines := s.preset(c)
			s.spec(append(lines, "reload: "+c.preset)...)
			s.want(exitDone, "apply")
			dockertest.Start(t, id)
			s.want(exitDone, "apply", "--wait", "1m")
			s.state("Ready", "")
			s.want(exitDone, "plan", "--exit-code")
			if _, got, _ := dockertest.Exec(t, id, "stat", "-L", "-c", "%u:%g %a", "/certs/"+c.key); got != c.access+"\n" {
				t.Errorf("owner and mode of %s: %q, want %q", c.key, got, c.access)
			}
			s.renewed(id, c)
			if c.nothing { // then the image's name is enough
				s.spec(lines...)
				s.want(exitDone, "plan", "--exit-code")
				s.renewed(id, c)
			}
		})
	}
}

// preset creates the container of a server, and gives the lines of its binding without a reload.
func (s scene) preset(c presetServer) (id string, lines []string) {
	s.t.Helper()
	s.write("redis.pass", redisPassword+"\n")
	s.write("mariadb.pass", mariadbPassword+"\n")
	certs := bindMount(s.certs, "/certs")
	place := "directory: ./certs"
	if c.volume {
		volume := dockertest.Volume(s.t)
		certs = mount.Mount{Type: mount.TypeVolume, Source: volume, Target: "/certs"}
		place = "volume: " + volume
	}
	mounts := []mount.Mount{certs}
	if c.at != "" {
		s.write("configuration", c.file)
		mounts = append(mounts, bindMount(filepath.Join(s.dir, "configuration"), c.at))
	}
	made := dockertest.Run(s.t, dockertest.Container{
		Name: string(c.kind), Image: dockertest.Image(s.t, c.kind), Cmd: c.cmd, Env: c.env, StopSignal: c.stop, Mounts: mounts,
		Network: dockertest.Network(s.t), Sysctls: c.sysctls,
	})
	lines = []string{"container: " + made.Name, place, "probe: " + c.probe}
	if c.files != "" {
		lines = append(lines, "files: "+c.files)
	}
	return made.ID, lines
}

// renewed rotates web and sees the new certificate on the wire of a server that goes on running, where its preset does not
// restart it.
func (s scene) renewed(id string, c presetServer) {
	s.t.Helper()
	old, started := s.serves(id, c), dockertest.Inspect(s.t, id).State.StartedAt
	s.want(exitDone, "rotate", "identity/web")
	b := s.state("Ready", "")
	now := s.serves(id, c)
	if now == old || now != *b.Targets[0].WantedSerial || now != *b.Targets[0].ServedSerial {
		s.t.Errorf("serves %s after %s; status: %+v", now, old, b)
	}
	row, _ := spec.PresetNamed(presetName(c.preset))
	if got := dockertest.Inspect(s.t, id).State.StartedAt; (got != started) != row.Act.Restart {
		s.t.Errorf("it started at %s, and before at %s", got, started)
	}
	s.want(exitDone, "plan", "--exit-code")
}

// serves is the serial on port 8443, as openssl sees it where TLS does not begin at once.
func (s scene) serves(id string, c presetServer) string {
	s.t.Helper()
	switch c.starttls {
	case "":
		return served(s.t, id)
	case "nats":
		return s.afterTheInfo(id)
	}
	dockertest.Servers(s.t, "openssl")
	look := exec.CommandContext(s.t.Context(), "openssl", "s_client", "-starttls", c.starttls, "-connect", net.JoinHostPort(dockertest.Address(s.t, id), "8443"))
	out, err := look.Output()
	block, _ := pem.Decode(out)
	if block == nil {
		s.t.Fatalf("openssl s_client: no certificate: %v", err)
	}
	return serialOf(s.t, block.Bytes)
}

// afterTheInfo is serves for nats-server, which says a line before TLS and which openssl does not speak to.
func (s scene) afterTheInfo(id string) string {
	s.t.Helper()
	raw, err := net.Dial("tcp", net.JoinHostPort(dockertest.Address(s.t, id), "8443"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer raw.Close()
	for one := make([]byte, 1); one[0] != '\n'; {
		if _, err := raw.Read(one); err != nil {
			s.t.Fatal(err)
		}
	}
	conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // only the serial counts
	_ = conn.Handshake()
	return serialOf(s.t, conn.ConnectionState().PeerCertificates[0].Raw)
}

// TestRedisWantsItsPassword reloads a Redis with no password, and with the right one.
func TestRedisWantsItsPassword(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	c := presetServers["redis with a password"]
	id, lines := s.preset(c)
	s.spec(append(lines, "reload: redis")...)
	s.want(exitDone, "apply")
	dockertest.Start(t, id)
	s.want(exitDone, "apply", "--wait", "1m")
	old := served(t, id)
	s.says(s.want(exitPart, "rotate", "identity/web"), "NOAUTH", "Stale")
	s.state("Stale", "not reloaded")
	if got := served(t, id); got != old {
		t.Errorf("serves %s, want the old %s", got, old)
	}
	s.spec(append(lines, "reload: "+c.preset)...)
	s.want(exitDone, "apply")
	s.state("Ready", "")
	if got := served(t, id); got != placed(t, s.certs) {
		t.Errorf("serves %s, want %s", got, placed(t, s.certs))
	}
}

func serialOf(t testing.TB, der []byte) string {
	t.Helper()
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(leaf.SerialNumber.Bytes())
}
