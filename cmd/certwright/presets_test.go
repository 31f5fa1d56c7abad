package main

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/mount"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// presetServer is a real server that a preset knows.
type presetServer struct {
	kind     dockertest.Kind
	cmd      []string
	env      []string
	at, file string // where its configuration file is mounted, and what stands in it
	stop     string
	volume   bool // its certificates lie in a volume, else in a directory
	starttls string

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
		kind: dockertest.Postgres, cmd: postgresOver("8443"), stop: "SIGINT", volume: true, starttls: "postgres",
		preset: "postgres", probe: "{port: 8443}", key: "key.pem", access: "999:999 600", nothing: true,
	},
	"postgres with a key of root": { // the other owner and mode it takes a key with (PostgreSQL manual, 19.9)
		kind: dockertest.Postgres, cmd: postgresOver("8443"), stop: "SIGINT", starttls: "postgres",
		preset: "postgres", probe: "{port: 8443}", key: "key.pem", access: "0:999 640",
		files: `{ca.pem: ca, cert.pem: fullchain, key.pem: {content: key, mode: "0640", owner: "0:999"}}`,
	},
}

// TestPresets renews what real servers serve, each the way it has, without a restart.
func TestPresets(t *testing.T) {
	t.Parallel()
	for name, c := range presetServers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.write("redis.pass", redisPassword+"\n")
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
	})
	lines = []string{"container: " + made.Name, place, "probe: " + c.probe}
	if c.files != "" {
		lines = append(lines, "files: "+c.files)
	}
	return made.ID, lines
}

// renewed rotates web and sees the new certificate on the wire of a server that goes on running.
func (s scene) renewed(id string, c presetServer) {
	s.t.Helper()
	old, started := s.serves(id, c), dockertest.Inspect(s.t, id).State.StartedAt
	s.want(exitDone, "rotate", "identity/web")
	b := s.state("Ready", "")
	now := s.serves(id, c)
	if now == old || now != *b.Targets[0].WantedSerial || now != *b.Targets[0].ServedSerial {
		s.t.Errorf("serves %s after %s; status: %+v", now, old, b)
	}
	if got := dockertest.Inspect(s.t, id).State.StartedAt; got != started {
		s.t.Errorf("restarted at %s", got)
	}
	s.want(exitDone, "plan", "--exit-code")
}

// serves is the serial on port 8443, as openssl sees it where TLS does not begin at once.
func (s scene) serves(id string, c presetServer) string {
	s.t.Helper()
	if c.starttls == "" {
		return served(s.t, id)
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

// TestRedisWantsItsPassword reloads a Redis with no password, and with the right one.
func TestRedisWantsItsPassword(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	c := presetServers["redis with a password"]
	s.write("redis.pass", redisPassword+"\n")
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

// TestUnknownImage sends nothing to a server that nobody knows.
func TestUnknownImage(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		probe []string
		code  int
		state string
	}{
		"with a probe":    {[]string{"probe: {port: 8443}"}, exitPart, "Stale"},
		"without a probe": {nil, exitDone, "Unverified"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			effects := s.record()
			web := s.server(dockertest.Container{Name: "unknown"}, "-reload", "hup") // it would reload, and log it
			s.spec(append(c.probe, "container: "+web.Name, "directory: ./certs")...)
			s.want(exitDone, "apply")
			dockertest.Start(t, web.ID)
			old, started := served(t, web.ID), dockertest.Inspect(t, web.ID).State.StartedAt
			s.want(exitDone, "apply")

			s.want(c.code, "rotate", "identity/web")
			s.want(c.code, "apply")
			s.state(c.state, "")
			if got := served(t, web.ID); got != old || got == placed(t, s.certs) {
				t.Errorf("serves %s, want the old %s", got, old)
			}
			if log := dockertest.Logs(t, web.ID); strings.Contains(log, "reloaded") {
				t.Errorf("it was signalled:\n%s", log)
			}
			if got := dockertest.Inspect(t, web.ID).State.StartedAt; got != started {
				t.Errorf("restarted at %s", got)
			}
			if got := effects(); len(got) > 0 {
				t.Errorf("sent to the engine: %v", got)
			}
		})
	}
}

// TestExecReload runs a command in the container, as argv, and reports how it ended.
func TestExecReload(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	c := presetServers["nginx"]
	id, lines := s.preset(c)
	s.spec(append(lines, "reload: {exec: [nginx, -s, reload]}")...)
	s.want(exitDone, "apply")
	dockertest.Start(t, id)
	s.want(exitDone, "apply", "--wait", "1m")
	s.renewed(id, c)

	for command, want := range map[string]string{
		`[sh, -c, "echo no such luck >&2; exit 7"]`: "exit code 7: no such luck",
		`[ls, "$HOME; exit 0"]`:                     "exit code 2: ls: cannot access '$HOME; exit 0'",
		`[no-such-command]`:                         "executable file not found",
	} {
		s.spec(append(lines, "reload: {exec: "+command+"}")...)
		old := served(t, id)
		s.says(s.want(exitPart, "rotate", "identity/web"), "Stale", want)
		s.state("Stale", want)
		s.says(s.want(exitDone, "why", "web"), want)
		s.want(exitPart, "status", "--exit-code")
		if got := served(t, id); got != old {
			t.Errorf("serves %s, want the old %s", got, old)
		}
	}
	s.spec(append(lines, "reload: {exec: [nginx, -s, reload]}")...)
	s.want(exitDone, "apply")
	s.state("Ready", "")
}

// TestHTTPReload asks a server over HTTP, and over its own TLS, to read its files again.
func TestHTTPReload(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	web := s.server(dockertest.Container{Name: "asked"}, "-reload", "http")
	lines := []string{"container: " + web.Name, "directory: ./certs", "probe: {port: 8443}"}
	s.spec(append(lines, `reload: {http: {url: "http://web.test:8080/reload"}}`)...)
	s.up(web)
	s.renewed(web.ID, presetServer{})
	s.spec(append(lines, `reload: {http: {method: PUT, url: "https://web.test:8443/reload", body: "now, please"}}`)...)
	s.renewed(web.ID, presetServer{})
	if log := dockertest.Logs(t, web.ID); log != "reloaded by POST \"\"\nreloaded by PUT \"now, please\"\n" {
		t.Errorf("the server was asked:\n%s", log)
	}
	s.spec(append(lines, `reload: {http: {method: GET, url: "http://web.test:8080/reload"}}`)...)
	s.says(s.want(exitPart, "rotate", "identity/web"), "Stale", "405 Method Not Allowed: ask with POST or PUT")
	s.state("Stale", "405 Method Not Allowed")
}

// TestLadder goes from what does not help to what does, cheapest first, and no further than it must.
func TestLadder(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	effects := s.record()
	web := s.server(dockertest.Container{Name: "ladder"}, "-reload", "lying")
	s.spec("container: "+web.Name, "directory: ./certs", "probe: {port: 8443}",
		`reload: [{signal: HUP}, {exec: [/tlsserver, -check, "http://127.0.0.1:8080/health"]}, restart]`)
	s.up(web)
	effects()
	old := served(t, web.ID)
	s.want(exitDone, "rotate", "identity/web")
	if got := strings.Join(effects(), ", "); got != "kill, exec, restart" {
		t.Errorf("tried %s", got)
	}
	s.state("Ready", "")
	if got := served(t, web.ID); got == old || got != placed(t, s.certs) {
		t.Errorf("serves %s, want %s", got, placed(t, s.certs))
	}
	s.want(exitDone, "plan", "--exit-code")
}

// TestRestartWaitsForHealth ends an apply no earlier than the restarted server's health check passes.
func TestRestartWaitsForHealth(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	effects := s.record()
	web := s.server(dockertest.Container{
		Name: "healthy", Health: dockertest.Healthy("/tlsserver", "-check", "http://127.0.0.1:8080/health"),
	}, "-reload", "restart", "-slow-health", "2s")
	s.spec("container: "+web.Name, "directory: ./certs", "probe: {port: 8443}", "reload: restart")
	s.up(web)
	dockertest.WaitHealthy(t, web.ID)
	effects()
	s.want(exitDone, "rotate", "identity/web")
	end := time.Now()
	state := dockertest.Inspect(t, web.ID).State
	if state.Health.Status != "healthy" {
		t.Errorf("the apply ended when the container was %s", state.Health.Status)
	}
	started, err := time.Parse(time.RFC3339Nano, state.StartedAt)
	if err != nil || end.Sub(started) < 2*time.Second {
		t.Errorf("the apply ended %s after the restart: %v", end.Sub(started), err)
	}
	if got := effects(); len(got) != 1 || got[0] != "restart" {
		t.Errorf("did %v", got)
	}
	s.state("Ready", "")
}

func serialOf(t testing.TB, der []byte) string {
	t.Helper()
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(leaf.SerialNumber.Bytes())
}

// record keeps what the program does to consumers from now on: kill, exec and restart. The list begins anew each
// time it is read.
func (s *scene) record() (effects func() []string) {
	var seen []string
	s.around = func(what string, do func() error) error {
		switch verb := strings.TrimPrefix(what, "POST /containers/{id}/"); verb {
		case "kill", "exec", "restart":
			seen = append(seen, verb)
		}
		return do()
	}
	return func() []string {
		all := seen
		seen = nil
		return all
	}
}
