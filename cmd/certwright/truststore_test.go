package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// trusting is a container with a trust store, and a server of web that it connects to.
type trusting struct {
	scene
	c       dockertest.Running
	store   string // the binding's lines
	gateway string // where the container finds the server
	port    int
}

// newTrusting makes a scene of two bindings: web, whose files a server of the test serves, and trust, of a container.
func newTrusting(t *testing.T, c dockertest.Container, store string) *trusting {
	t.Helper()
	s := &trusting{scene: newScene(t), store: store}
	c.Start = true
	s.c = dockertest.Run(t, c)
	for _, end := range dockertest.Inspect(t, s.c.ID).NetworkSettings.Networks {
		s.gateway = end.Gateway
	}
	s.declare(true)
	s.want(exitDone, "apply", "--only", "web")
	s.serve()
	return s
}

// declare writes tls.yaml, with the binding trust or without it.
func (s *trusting) declare(trust bool) {
	s.t.Helper()
	text := fmt.Sprintf(`version: 1
project: scene
cas:
  internal: {local: {lifetime: 10y}}
identities:
  web: {ca: internal, names: [%q]}
bindings:
  web: {identity: web, directory: certs}
`, s.gateway)
	if trust {
		text += fmt.Sprintf("  trust: {trust: [internal], container: %s, %s}\n", s.c.Name, s.store)
	}
	s.write("tls.yaml", text)
}

// serve answers TLS connections as web, with nothing that is of use.
func (s *trusting) serve() {
	s.t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(s.certs, "cert.pem"), filepath.Join(s.certs, "key.pem"))
	if err != nil {
		s.t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "0.0.0.0:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = l.Close() })
	s.port = l.Addr().(*net.TCPAddr).Port
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if conn.(*tls.Conn).Handshake() == nil {
					_, _ = conn.Read(make([]byte, 1024))
					_, _ = conn.Write([]byte("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nok\n"))
				}
			}()
		}
	}()
}

// exec runs a command in the container.
func (s *trusting) exec(argv ...string) (code int, said string) {
	s.t.Helper()
	code, out, errs := dockertest.Exec(s.t, s.c.ID, argv...)
	return code, out + errs
}

// verifier connects to web, and reports whether it takes the server for what it is.
type verifier func(s *trusting) bool

// byCurl has curl connect; by the bundle, and by the directory of hashes beside it if there is one.
func byCurl(s *trusting) bool {
	s.t.Helper()
	code, said := s.exec("curl", "-sS", "-m", "20", fmt.Sprintf("https://%s:%d/", s.gateway, s.port))
	if code != 0 && code != 60 { // CURLE_PEER_FAILED_VERIFICATION
		s.t.Fatalf("curl: exit code %d: %s", code, said)
	}
	return code == 0
}

// files are the names and content of what is below directories of the container.
func (s *trusting) files(dirs ...string) string {
	s.t.Helper()
	code, said := s.exec(append([]string{"sh", "-c", `for d; do for f in "$d"/*; do [ ! -f "$f" ] || { echo "$f"; openssl dgst -sha256 -r <"$f"; }; done; done`, "sh"}, dirs...)...)
	if code != 0 {
		s.t.Fatal(said)
	}
	return said
}

// accepts ends the test unless the client takes web for what it is, or does not.
func (s *trusting) accepts(by verifier, want bool, when string) {
	s.t.Helper()
	if got := by(s); got != want {
		s.t.Fatalf("%s: it accepts the server: %v, want %v", when, got, want)
	}
}

// TestSystemStore has curl in containers of each distribution accept a server of a CA after apply, and refuse it again when the
// CA is no more wanted. Nothing else in the store is another by then.
func TestSystemStore(t *testing.T) {
	t.Parallel()
	for kind, dirs := range map[dockertest.Kind][]string{
		dockertest.Debian: {"/etc/ssl/certs", "/usr/local/share/ca-certificates"},
		dockertest.Fedora: {"/etc/pki/ca-trust/source/anchors", "/etc/pki/ca-trust/extracted/pem"},
		dockertest.SUSE:   {"/etc/pki/trust/anchors", "/var/lib/ca-certificates"},
		dockertest.Arch:   {"/etc/ca-certificates/trust-source/anchors", "/etc/ca-certificates/extracted"},
		dockertest.Bundle: {"/etc/ssl/certs", "/etc/ssl"},
	} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := newTrusting(t, dockertest.Container{Image: dockertest.Image(t, kind)}, "trustStore: system")
			if kind == dockertest.Debian { // its links are made at the first run
				if code, said := s.exec("update-ca-certificates"); code != 0 {
					t.Fatal(said)
				}
			}
			before := s.files(dirs...)
			s.accepts(byCurl, false, "before")

			r := s.want(exitPending, "plan", "--exit-code")
			s.says(r, "add the roots of trust to the trust store system of "+s.c.Name)
			s.want(exitDone, "apply")
			s.accepts(byCurl, true, "after apply")
			s.want(exitDone, "plan", "--exit-code")
			b := s.status().binding(t, "trust")
			if b.State != "Unverified" || !strings.Contains(b.Reason, "in the trust store") {
				t.Errorf("trust is %s (%s)", b.State, b.Reason)
			}

			s.declare(false)
			s.says(s.want(exitPending, "plan", "--exit-code"), "take the roots of trust out of the trust store system of "+s.c.Name)
			s.want(exitDone, "apply")
			s.accepts(byCurl, false, "after the CA left")
			if diff := cmp.Diff(before, s.files(dirs...)); diff != "" {
				t.Errorf("the store is not as it was (-want +got):\n%s", diff)
			}
			s.want(exitDone, "plan", "--exit-code")
		})
	}
}
