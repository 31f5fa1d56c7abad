package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// laptop is a folder with a tls.yaml of docker contexts, and docker's configuration beside it.
type laptop struct{ command }

// docker runs a shell script as a person would who has that configuration, with no engine in the environment.
func (c laptop) docker(script string) (string, error) {
	c.t.Helper()
	sh := exec.Command("sh", "-ec", script)
	sh.Dir = c.dir
	sh.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + c.dir}
	out, err := sh.CombinedOutput()
	return string(out), err
}

// works wants docker to reach an engine, and to have nothing to say about its configuration.
func (c laptop) works(how, script string) {
	c.t.Helper()
	if out, err := c.docker(script + " info --format '{{.ServerVersion}}'"); err != nil || strings.Count(out, "\n") != 1 || out == "\n" {
		c.t.Errorf("%s: %v\n%s", how, err, out)
	}
}

// frontOf ends mutual TLS before the socket of the real engine, with what lies in a directory as it is at each handshake.
func frontOf(t *testing.T, dir string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	config := &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
		if err != nil {
			return nil, err
		}
		roots, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(roots)
		return &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}, nil
	}}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go carry(tls.Server(conn, config))
		}
	}()
	return l.Addr().String()
}

// carry connects a client to the engine until one of them ends.
func carry(client net.Conn) {
	defer client.Close()
	engine, err := net.Dial("unix", dockertest.EngineSocket())
	if err != nil {
		return
	}
	defer engine.Close()
	go func() {
		_, _ = io.Copy(engine, client)
		_ = engine.Close()
	}()
	_, _ = io.Copy(client, engine)
}

// TestContext has the real docker CLI reach an engine by mutual TLS: by context, by DOCKER_CERT_PATH and by flags, before and
// after its certificate is renewed, and not without one.
func TestContext(t *testing.T) {
	t.Parallel()
	dockertest.Engine(t)
	dockertest.Servers(t, "docker")
	dir := t.TempDir()
	c := laptop{command{t: t, dir: dir, vars: map[string]string{"HOME": dir, "DOCKER_CONFIG": ""}}}
	server := filepath.Join(dir, "server")
	endpoint := frontOf(t, server)
	spec := func(bindings string) {
		t.Helper()
		text := fmt.Sprintf(`version: 1
project: shop
cas:
  internal: {local: {lifetime: 10y}}
identities:
  engine: {ca: internal, names: [127.0.0.1]}
  ops: {ca: internal, usages: [client]}
bindings:
  engine: {identity: engine, directory: %s}
%s`, server, bindings)
		if err := os.WriteFile(filepath.Join(dir, "tls.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	contexts := fmt.Sprintf("  ops: {identity: ops, context: {name: core-02, endpoint: \"tcp://%[1]s\"}}\n"+
		"  laptop: {identity: ops, context: {name: default, endpoint: \"tcp://%[1]s\"}}\n", endpoint)
	spec(contexts)
	c.want(exitDone, "apply")
	every := func(when string) {
		t.Helper()
		c.works(when+", by context", "docker --context core-02")
		c.works(when+", by the current context", "docker context use core-02 >/dev/null 2>&1; docker")
		c.works(when+", by DOCKER_CERT_PATH", c.want(exitDone, "env", "ops").out+"docker")
		c.works(when+", by docker's own files", c.want(exitDone, "env", "laptop").out+"docker")
		c.works(when+", by flags", "docker --tlsverify -H tcp://"+endpoint)
	}
	every("at first")
	if out, err := c.docker("docker --tlsverify --tlscert= --tlskey= -H tcp://" + endpoint + " info"); err == nil || !strings.Contains(out, "certificate required") {
		t.Errorf("without a certificate: %v\n%s", err, out)
	}
	before := placed(t, filepath.Join(dir, ".docker"))
	c.want(exitDone, "rotate", "identity/ops")
	if after := placed(t, filepath.Join(dir, ".docker")); after == before {
		t.Error("the client still has its old certificate")
	}
	every("after a renewal")

	spec("")
	c.want(exitDone, "apply", "--prune=all")
	if out, err := c.docker("docker --context core-02 version"); err == nil || !strings.Contains(out, "not found") {
		t.Errorf("the context is left: %v\n%s", err, out)
	}
}
