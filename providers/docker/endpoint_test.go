package docker

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/reload"
	"github.com/certwright/certwright/reconcile"
)

// writeContext writes a docker context and returns its directory for certificates.
func writeContext(t *testing.T, config, name, meta string) string {
	t.Helper()
	sum := sha256.Sum256([]byte(name))
	id := hex.EncodeToString(sum[:])
	for _, dir := range []string{"contexts/meta/" + id, "contexts/tls/" + id + "/docker"} {
		if err := os.MkdirAll(filepath.Join(config, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(config, "contexts/meta", id, "meta.json"), meta)
	return filepath.Join(config, "contexts/tls", id, "docker")
}

// TestResolve holds the order in which an engine is found against the docker command's.
func TestResolve(t *testing.T) {
	config := t.TempDir()
	certs := writeContext(t, config, "core-02", `{"Name":"core-02","Endpoints":{"docker":{"Host":"tcp://core-02:2376","SkipTLSVerify":false}}}`)
	for name, address := range map[string]string{"plain": "core-02:2375", "forwarded": "127.0.0.1:2375"} {
		if err := os.Remove(writeContext(t, config, name, `{"Endpoints":{"docker":{"Host":"tcp://`+address+`"}}}`)); err != nil { // without certificates
			t.Fatal(err)
		}
	}
	writeContext(t, config, "unverified", `{"Endpoints":{"docker":{"Host":"tcp://core-02:2376","SkipTLSVerify":true}}}`)
	writeContext(t, config, "empty", `{"Name":"empty","Endpoints":{}}`)
	writeContext(t, config, "broken", `{`)
	file := filepath.Join(config, "config.json")
	fromContext := endpoint{address: "tcp://core-02:2376", certs: certs}
	named := func(e endpoint) endpoint { e.named = true; return e }
	for _, c := range []struct {
		name   string
		o      Options
		env    map[string]string
		config string
		want   endpoint
		err    string
	}{
		{"nothing", Options{}, nil, `{}`, endpoint{address: "unix:///var/run/docker.sock"}, ""},
		{"current context", Options{}, nil, `{"currentContext":"core-02"}`, fromContext, ""},
		{"DOCKER_CONTEXT before it", Options{}, map[string]string{"DOCKER_CONTEXT": "default"}, `{"currentContext":"core-02"}`, named(endpoint{address: "unix:///var/run/docker.sock"}), ""},
		{"DOCKER_HOST before it", Options{}, map[string]string{"DOCKER_HOST": "tcp://a:1", "DOCKER_CONTEXT": "core-02"}, `{}`, named(endpoint{address: "tcp://a:1"}), ""},
		{"endpoint before it", Options{Endpoint: "ssh://b"}, map[string]string{"DOCKER_HOST": "tcp://a:1"}, `{}`, named(endpoint{address: "ssh://b"}), ""},
		{"context before it", Options{Endpoint: "ssh://b", Context: "core-02"}, map[string]string{"DOCKER_HOST": "tcp://a:1"}, `{}`, named(fromContext), ""},
		{"TLS of the environment", Options{}, map[string]string{"DOCKER_HOST": "tcp://a:1", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/certs"}, `{}`, named(endpoint{address: "tcp://a:1", certs: "/certs"}), ""},
		{"TLS of the configuration", Options{Endpoint: "tcp://a:1"}, map[string]string{"DOCKER_TLS_VERIFY": "1"}, `{}`, named(endpoint{address: "tcp://a:1", certs: config}), ""},
		{"TLS whatever the environment says", Options{Endpoint: "tcp://a:1", TLS: true}, map[string]string{"DOCKER_CERT_PATH": "/certs"}, `{}`, named(endpoint{address: "tcp://a:1", certs: "/certs"}), ""},
		{"no TLS on a socket", Options{Endpoint: "unix:///s"}, map[string]string{"DOCKER_TLS_VERIFY": "1"}, `{}`, named(endpoint{address: "unix:///s"}), ""},
		{"a plain context", Options{Context: "plain"}, nil, `{}`, named(endpoint{address: "tcp://core-02:2375"}), ""},
		{"a plain context that keys go to", Options{Context: "plain", TLS: true}, nil, `{}`, endpoint{}, "in the clear"},
		{"a context that verifies nothing", Options{Context: "unverified", TLS: true}, nil, `{}`, endpoint{}, "to anybody"},
		{"a plain context of this machine", Options{Context: "forwarded", TLS: true}, nil, `{}`, named(endpoint{address: "tcp://127.0.0.1:2375"}), ""},
		{"context without an engine", Options{Context: "empty"}, nil, `{}`, endpoint{}, `docker context "empty" names no engine`},
		{"broken context", Options{Context: "broken"}, nil, `{}`, endpoint{}, `docker context "broken": `},
		{"broken configuration", Options{}, nil, `{`, endpoint{}, "docker's configuration: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			write(t, file, c.config)
			c.o.Getenv = func(name string) string {
				if name == "DOCKER_CONFIG" {
					return config
				}
				return c.env[name]
			}
			got, err := resolve(c.o)
			if c.err != "" {
				expect(t, err, c.err)
				return
			}
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(endpoint{})); err != nil || diff != "" {
				t.Errorf("error %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// TestEngineOverTLS reaches the engine through a context with certificates: requests, and the hijacked streams of
// a courier. The engine is not on this machine then, so its files take a courier.
func TestEngineOverTLS(t *testing.T) {
	_, _ = engine(t)
	ca, config := newAuthority(t), t.TempDir()
	server := ca.issue(t, 1, ca.root.NotAfter)
	l := listenTLS(t, ca, server)
	certs := writeContext(t, config, "remote", `{"Endpoints":{"docker":{"Host":"tcp://`+l+`"}}}`)
	getenv := func(name string) string { return map[string]string{"DOCKER_CONFIG": config}[name] }
	o := Options{Context: "remote", Getenv: getenv, Project: t.Name(), CourierBinary: courierBinary(t)}
	if state := New("local", o).List(soon(t)); !strings.Contains(state.Err, "unknown authority") {
		t.Errorf("without the CA: %q", state.Err)
	}
	client := ca.issue(t, 2, ca.root.NotAfter)
	ca.lay(t, certs, client, client, 0)
	e := New("core-02", o)
	if state := e.List(soon(t)); state.Err != "" {
		t.Fatal(state.Err)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "cert.pem"), "read")
	query := reconcile.PlaceQuery{At: reconcile.Location{Host: "core-02", Dir: dir, Machine: true}, Files: []string{"cert.pem"}}
	got := Places{Engines: Engines{"core-02": e}}.Read(soon(t), []reconcile.PlaceQuery{query}, true)[0]
	if got.Err != nil || string(got.Files["cert.pem"].Data) != "read" {
		t.Errorf("read %q: %v", got.Files["cert.pem"].Data, got.Err)
	}
	write(t, filepath.Join(certs, "cert.pem"), "nonsense")
	if state := New("local", o).List(soon(t)); !strings.Contains(state.Err, "client certificate of the engine in") {
		t.Errorf("with a broken certificate: %q", state.Err)
	}
}

// listenTLS puts a TLS front that wants client certificates before the recorder, and returns its address.
func listenTLS(t *testing.T, ca authority, server reconcile.Issued) string {
	t.Helper()
	config, err := reload.TLS(reconcile.ReloadEnv{Client: &server, Roots: [][]byte{ca.root.Raw}}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: config.Certificates, ClientAuth: tls.RequireAnyClientCert,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	front := http.Server{Handler: proxy.Handler, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = front.Serve(l) }()
	return l.Addr().String()
}

// TestEngineOverSSH lets a script stand in for ssh: it gets the arguments that ssh would, and relays to the engine.
func TestEngineOverSSH(t *testing.T) {
	_, _ = engine(t)
	dir := t.TempDir()
	args := filepath.Join(dir, "args")
	script := "#!/bin/sh\necho \"$@\" > " + args + "\nCERTWRIGHT_ROLE=relay exec " + os.Args[0] + "\n"
	if err := os.WriteFile(filepath.Join(dir, "ssh"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("CERTWRIGHT_SOCKET", proxy.Socket)
	o := Options{
		Endpoint: "ssh://core@core-02:2222", Getenv: func(string) string { return "" },
		Project: t.Name(), CourierBinary: courierBinary(t),
	}
	e := New("core-02", o)
	if state := e.List(soon(t)); state.Err != "" {
		t.Fatal(state.Err)
	}
	got, err := os.ReadFile(args)
	if want := "-o ConnectTimeout=10 -T -l core -p 2222 -- core-02 docker system dial-stdio\n"; err != nil || string(got) != want {
		t.Errorf("ssh was called with %q: %v", got, err)
	}
	s, err := e.hire(soon(t), filesJob)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.ask(soon(t), request{}); err != nil {
		t.Errorf("a courier over ssh: %v", err)
	}
	s.Close()

	if err := os.WriteFile(filepath.Join(dir, "ssh"), []byte("#!/bin/sh\necho Permission denied >&2; exit 255\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for range 50 { // it may end before, while or after it is written to
		if state := New("core-02", o).List(soon(t)); !strings.Contains(state.Err, "does not answer: ssh: Permission denied; see that `ssh ssh://core@core-02:2222 docker version` works") {
			t.Fatalf("a refused login: %q", state.Err)
		}
	}
	for _, bad := range []string{"ssh://core:secret@core-02", "ssh://-oProxyCommand=x", "ssh://"} {
		if state := New("x", Options{Endpoint: bad, Getenv: o.Getenv}).List(soon(t)); state.Err == "" || strings.Contains(state.Err, "secret") {
			t.Errorf("%s: %q", bad, state.Err)
		}
	}
}

// TestSSHEnvironment gives ssh the environment it is said to have, and nothing else.
func TestSSHEnvironment(t *testing.T) {
	dir := t.TempDir()
	seen := filepath.Join(dir, "seen")
	if err := os.WriteFile(filepath.Join(dir, "ssh"), []byte("#!/bin/sh\nenv > "+seen+"\nexit 255\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("STORE_PASSPHRASE", "correct horse")
	o := Options{Endpoint: "ssh://core-02", Getenv: func(string) string { return "" }, Environ: []string{"SSH_AUTH_SOCK=/agent"}}
	_ = New("core-02", o).List(soon(t))
	got, err := os.ReadFile(seen)
	if err != nil || strings.Contains(string(got), "correct horse") || !strings.Contains(string(got), "SSH_AUTH_SOCK=/agent") {
		t.Errorf("%v: ssh has the environment\n%s", err, got)
	}
}

// relay is the far end of TestEngineOverSSH: it joins the engine's socket with the standard input and output.
func relay() {
	conn, err := net.Dial("unix", os.Getenv("CERTWRIGHT_SOCKET"))
	if err != nil {
		os.Exit(1)
	}
	go func() {
		_, _ = io.Copy(conn, os.Stdin)
		_ = conn.(*net.UnixConn).CloseWrite()
	}()
	_, _ = io.Copy(os.Stdout, conn)
}

// TestUnproved has an engine that is reached by a docker context that does not verify it.
func TestUnproved(t *testing.T) {
	config := t.TempDir()
	writeContext(t, config, "skips", `{"Endpoints":{"docker":{"Host":"tcp://127.0.0.1:1","SkipTLSVerify":true}}}`)
	if err := os.Remove(writeContext(t, config, "plain", `{"Endpoints":{"docker":{"Host":"tcp://127.0.0.1:1"}}}`)); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"skips": true, "plain": false} {
		e := New("local", Options{Context: name, Getenv: func(v string) string { return map[string]string{"DOCKER_CONFIG": config}[v] }})
		if state := e.List(t.Context()); state.Unproved != want {
			t.Errorf("%s: %+v", name, state)
		}
	}
}
