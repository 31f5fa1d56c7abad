package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

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
	if !slices.Contains([]int{0, 60, 77}, code) { // 60: the server is not trusted; 77: there are no roots at all
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
	for kind, store := range map[dockertest.Kind]struct {
		tool string // "" for none
		dirs []string
	}{
		dockertest.Debian: {"update-ca-certificates", []string{"/etc/ssl/certs", "/usr/local/share/ca-certificates"}},
		dockertest.Fedora: {"update-ca-trust", []string{"/etc/pki/ca-trust/source/anchors", "/etc/pki/ca-trust/extracted/pem"}},
		dockertest.SUSE:   {"update-ca-certificates", []string{"/etc/pki/trust/anchors", "/var/lib/ca-certificates"}},
		dockertest.Arch:   {"trust extract-compat", []string{"/etc/ca-certificates/trust-source/anchors", "/etc/ca-certificates/extracted"}},
		dockertest.Bundle: {"", []string{"/etc/ssl/certs", "/etc/ssl"}},
	} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := newTrusting(t, dockertest.Container{Image: dockertest.Image(t, kind)}, "trustStore: system")
			if store.tool != "" { // what it makes is made at the first run
				if code, said := s.exec("sh", "-c", store.tool); code != 0 {
					t.Fatal(said)
				}
			}
			before := s.files(store.dirs...)
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
			if diff := cmp.Diff(before, s.files(store.dirs...)); diff != "" {
				t.Errorf("the store is not as it was (-want +got):\n%s", diff)
			}
			s.want(exitDone, "plan", "--exit-code")
		})
	}
}

// TestStoreFollows changes the roots of a binding, the store, and the container, and wants what curl accepts to follow.
func TestStoreFollows(t *testing.T) {
	t.Parallel()
	s := newTrusting(t, dockertest.Container{Image: dockertest.Image(t, dockertest.Debian)}, "trustStore: system")
	trusts := func(list string) {
		s.declare(true)
		text := strings.Replace(s.read("tls.yaml"), "trust: [internal]", "trust: "+list, 1)
		s.write("tls.yaml", strings.Replace(text, "cas:\n", "cas:\n  other: {local: {lifetime: 10y}}\n", 1))
		s.want(exitDone, "apply")
		s.want(exitDone, "plan", "--exit-code")
	}
	anchors := func() int {
		_, said := s.exec("ls", "/usr/local/share/ca-certificates")
		return strings.Count(said, "certwright-scene-trust-")
	}
	for _, step := range []struct {
		list    string
		accepts bool
		anchors int
	}{{"[internal]", true, 1}, {"[internal, other]", true, 2}, {"[other]", false, 1}, {"[internal]", true, 1}} {
		trusts(step.list)
		s.accepts(byCurl, step.accepts, "with "+step.list)
		if n := anchors(); n != step.anchors {
			t.Errorf("with %s it has %d roots, want %d", step.list, n, step.anchors)
		}
	}

	if code, said := s.exec("sh", "-c", "rm /usr/local/share/ca-certificates/*; update-ca-certificates"); code != 0 {
		t.Fatal(said)
	}
	s.accepts(byCurl, false, "after somebody removed it")
	s.says(s.want(exitPending, "plan", "--exit-code"), "the roots of internal are not in the system store of "+s.c.Name+" as they were placed")
	s.want(exitDone, "apply")
	s.accepts(byCurl, true, "after that was undone")

	cli := dockertest.Engine(t)
	now := 0
	if err := cli.ContainerStop(t.Context(), s.c.ID, container.StopOptions{Timeout: &now}); err != nil {
		t.Fatal(err)
	}
	s.says(s.want(exitDone, "status"), "Waiting", "is not running (exited)")
	if err := cli.ContainerRemove(t.Context(), s.c.ID, container.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	s.says(s.want(exitDone, "status"), "Waiting", "waits for "+s.c.Name)
	s.c = dockertest.Run(t, dockertest.Container{Image: dockertest.Image(t, dockertest.Debian), Name: s.c.Name, Exact: true, Start: true})
	s.accepts(byCurl, false, "made anew")
	s.says(s.want(exitPending, "plan", "--exit-code"), "1 step", "not placed")
	s.want(exitDone, "apply")
	s.accepts(byCurl, true, "after apply to what was made anew")
	s.want(exitDone, "plan", "--exit-code")

	rested, anew := false, false
	s.watch(func(said string) error {
		switch rested = rested || strings.Contains(said, "state=Unverified"); {
		case !rested:
			return errors.New("its first pass has not ended")
		case !anew:
			anew = true
			if err := cli.ContainerRemove(t.Context(), s.c.ID, container.RemoveOptions{Force: true}); err != nil {
				t.Fatal(err)
			}
			image := dockertest.Image(t, dockertest.Debian)
			if _, err := cli.ContainerCreate(t.Context(), &container.Config{Image: image, Labels: map[string]string{dockertest.Label: os.Getenv("CERTWRIGHT_TEST_RUN")}}, nil, nil, nil, s.c.Name); err != nil {
				t.Fatal(err)
			}
			made, err := cli.ContainerInspect(t.Context(), s.c.Name)
			if err != nil {
				t.Fatal(err)
			}
			s.c.ID = made.ID
			t.Cleanup(func() { _ = cli.ContainerRemove(context.Background(), made.ID, container.RemoveOptions{Force: true}) })
			dockertest.Start(t, s.c.ID)
		}
		if !byCurl(s) {
			return errors.New("watch gave it no roots")
		}
		return nil
	})
}

// TestStoreKilled ends certwright at every call that changes a container, as it adds roots and as it takes them out. The next
// apply finishes the work, and the store is in the end as it was.
func TestStoreKilled(t *testing.T) {
	t.Parallel()
	for kind, dirs := range map[dockertest.Kind][]string{
		dockertest.Debian: {"/etc/ssl/certs", "/usr/local/share/ca-certificates"},
		dockertest.Bundle: {"/etc/ssl/certs"},
	} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := newTrusting(t, dockertest.Container{Image: dockertest.Image(t, kind)}, "trustStore: system")
			l := &lane{scene: s.scene, at: time.Now(), word: "P"} // PUT and POST
			if kind == dockertest.Debian {
				s.exec("update-ca-certificates")
			}
			before := s.files(dirs...)
			points := 0
			for n := 1; ; n++ {
				struck := ""
				for _, when := range []string{"after", "lost"} {
					for _, trust := range []bool{true, false} {
						s.declare(trust)
						what := l.crash(n, when, "apply")
						struck += what
						if what != "" {
							points++
						}
						now := fmt.Sprintf("%s effect %d, %s, trust is %v", when, n, what, trust)
						s.want(exitDone, "apply")
						s.want(exitDone, "plan", "--exit-code")
						s.accepts(byCurl, trust, now)
					}
					if diff := cmp.Diff(before, s.files(dirs...)); diff != "" {
						t.Fatalf("%s effect %d: the store is not as it was (-want +got):\n%s", when, n, diff)
					}
				}
				if struck == "" {
					break
				}
			}
			t.Logf("%d crash points", points)
			if points < 8 {
				t.Errorf("only %d calls were struck", points)
			}
		})
	}
}

// TestStoreRefused has containers whose trust store is none that could be changed: nothing is, and what to do is said.
func TestStoreRefused(t *testing.T) {
	t.Parallel()
	host := t.TempDir() // of the machine, for all to see
	bundle := filepath.Join(host, "ca-certificates.crt")
	if err := os.WriteFile(bundle, []byte("theirs\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		c     dockertest.Container
		store string
		want  string
	}{
		"read-only":   {dockertest.Container{Image: dockertest.Image(t, dockertest.Debian), ReadOnly: true}, "system", "its root file system is read-only, and so is its trust store: give it a bundle in a volume or directory"},
		"none":        {dockertest.Container{Image: dockertest.Image(t, dockertest.Curl)}, "system", "it has no trust store: neither the tool of a distribution nor a bundle file"},
		"a mount":     {dockertest.Container{Image: dockertest.Image(t, dockertest.Bundle), Mounts: []mount.Mount{{Type: mount.TypeBind, Source: host, Target: "/etc/ssl/certs"}}}, "system", "is on a mount, and not its own"},
		"no JVM":      {dockertest.Container{Image: dockertest.Image(t, dockertest.Bundle)}, "java", "it has no cacerts"},
		"no database": {dockertest.Container{Image: dockertest.Image(t, dockertest.Bundle)}, "nss, path: /etc/pki/nssdb", "there is no NSS database in /etc/pki/nssdb"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTrusting(t, row.c, "trustStore: "+row.store)
			s.want(exitPart, "apply")
			if b := s.status().binding(t, "trust"); b.State != "Blocked" || !strings.Contains(b.Reason, row.want) {
				t.Errorf("trust is %s (%s), want %q", b.State, b.Reason, row.want)
			}
			changes, err := dockertest.Engine(t).ContainerDiff(t.Context(), s.c.ID)
			if err != nil || slices.ContainsFunc(changes, func(c container.FilesystemChange) bool { return strings.Contains(c.Path, "certwright") }) {
				t.Errorf("the container was changed: %v (error %v)", changes, err)
			}
		})
	}
	if data, err := os.ReadFile(bundle); err != nil || string(data) != "theirs\n" {
		t.Errorf("a file of the machine was changed (error %v)", err)
	}
}

// byJava has the JVM fetch over https, with the keystore that it trusts by itself.
func byJava(s *trusting) bool {
	s.t.Helper()
	code, said := s.exec("keytool", "-J-XX:+UseSerialGC", "-J-XX:TieredStopAtLevel=1", "-printcrl", "-file", fmt.Sprintf("https://%s:%d/", s.gateway, s.port))
	refused := strings.Contains(said, "PKIX path building failed")
	if !refused && !strings.Contains(said, "CRL") { // what is served is none, which it sees once it trusts who serves it
		s.t.Fatalf("keytool: exit code %d: %s", code, said)
	}
	return !refused
}

// TestJavaStore has a JVM accept a server of a CA after apply, by cacerts in both forms that JDKs have it, and refuse it when the
// CA is no more wanted. The other entries stay.
func TestJavaStore(t *testing.T) {
	t.Parallel()
	for _, form := range []string{"jks", "pkcs12"} {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			s := newTrusting(t, dockertest.Container{Image: dockertest.Image(t, dockertest.Java)}, "trustStore: java")
			if form == "pkcs12" { // as JDK 18 and later have it
				code, said := s.exec("sh", "-c", `keytool -J-Dkeystore.pkcs12.macAlgorithm=NONE -J-Dkeystore.pkcs12.certProtectionAlgorithm=NONE -importkeystore -noprompt \
					-srckeystore /etc/ssl/certs/java/cacerts -srcstorepass changeit -destkeystore /tmp/cacerts -deststoretype PKCS12 -deststorepass changeit &&
					cat /tmp/cacerts >/etc/ssl/certs/java/cacerts`)
				if code != 0 {
					t.Fatal(said)
				}
			}
			list := func() string {
				code, said := s.exec("keytool", "-list", "-cacerts", "-storepass", "changeit")
				if code != 0 {
					t.Fatal(said)
				}
				lines := strings.Split(strings.ReplaceAll(said, ", \n", ", "), "\n")
				slices.Sort(lines)
				return strings.Join(lines, "\n")
			}
			before := list()
			if _, said := s.exec("keytool", "-list", "-cacerts", "-storepass", "changeit"); !strings.Contains(said, "Keystore type: "+strings.ToUpper(form)) {
				t.Fatalf("its keystore is another than %s:\n%.200s", form, said)
			}
			s.accepts(byJava, false, "before")
			s.want(exitDone, "apply")
			s.accepts(byJava, true, "after apply")
			if now := list(); strings.Count(now, "trustedCertEntry") != strings.Count(before, "trustedCertEntry")+1 || !strings.Contains(now, "certwright-scene-trust-") {
				t.Errorf("it has %d entries, and had %d", strings.Count(now, "trustedCertEntry"), strings.Count(before, "trustedCertEntry"))
			}
			s.want(exitDone, "plan", "--exit-code")
			s.declare(false)
			s.want(exitDone, "apply")
			s.accepts(byJava, false, "after the CA left")
			if diff := cmp.Diff(before, list()); diff != "" {
				t.Errorf("the other entries are not as they were (-want +got):\n%s", diff)
			}
		})
	}
}

// byNSS has the client of NSS connect, with what its database trusts.
func byNSS(s *trusting) bool {
	s.t.Helper()
	code, said := s.exec("sh", "-c", fmt.Sprintf("echo | tstclnt -h %s -p %d -d sql:/etc/pki/nssdb -V tls1.2: -Q", s.gateway, s.port))
	if code != 0 && !strings.Contains(said, "SEC_ERROR_UNKNOWN_ISSUER") {
		s.t.Fatalf("tstclnt: exit code %d: %s", code, said)
	}
	return code == 0
}

// TestNSSStore has a client of NSS accept a server of a CA after apply, and refuse it when the CA is no more wanted. What
// somebody else has in the database stays.
func TestNSSStore(t *testing.T) {
	t.Parallel()
	s := newTrusting(t, dockertest.Container{Image: dockertest.Image(t, dockertest.NSS)}, "trustStore: nss, path: /etc/pki/nssdb")
	list := func() string {
		code, said := s.exec("certutil", "-L", "-d", "sql:/etc/pki/nssdb")
		if code != 0 {
			t.Fatal(said)
		}
		return said
	}
	dockertest.Poll(t, 20*time.Second, "the database", func() error {
		if code, said := s.exec("certutil", "-L", "-d", "sql:/etc/pki/nssdb"); code != 0 {
			return errors.New(said)
		}
		return nil
	})
	if code, said := s.exec("sh", "-c", "echo 0123456789012345678901234567890123456789 >/tmp/noise; certutil -S -x -n theirs -s CN=theirs -t C,, -d sql:/etc/pki/nssdb -z /tmp/noise -k ec -q nistp256"); code != 0 {
		t.Fatal(said)
	}
	before := list()
	s.accepts(byNSS, false, "before")
	s.want(exitDone, "apply")
	s.accepts(byNSS, true, "after apply")
	if now := list(); strings.Count(now, "certwright-scene-trust-") != 1 || !strings.Contains(now, "theirs") {
		t.Errorf("the database has\n%s", now)
	}
	s.want(exitDone, "plan", "--exit-code")
	s.declare(false)
	s.want(exitDone, "apply")
	s.accepts(byNSS, false, "after the CA left")
	if diff := cmp.Diff(before, list()); diff != "" {
		t.Errorf("the database is not as it was (-want +got):\n%s", diff)
	}

	// The same root under a name with a space, not trusted, is somebody's business.
	root := filepath.Join(s.certs, "ca.pem")
	data, err := os.ReadFile(root)
	if err != nil {
		t.Fatal(err)
	}
	if code, said := s.exec("sh", "-c", `echo "$1" >/tmp/root.pem; certutil -A -n "my own" -t ,, -i /tmp/root.pem -d sql:/etc/pki/nssdb`, "sh", string(data)); code != 0 {
		t.Fatal(said)
	}
	before = list()
	s.declare(true)
	s.says(s.want(exitPart, "apply"), `already, as "my own"`)
	if diff := cmp.Diff(before, list()); diff != "" {
		t.Errorf("what is not ours was changed (-want +got):\n%s", diff)
	}
}

// TestBundle gives containers without a trust store, or beside it, a bundle in a volume and the variables that compose prints for
// it: curl and a JVM accept a server of the CA, and without them they do not.
func TestBundle(t *testing.T) {
	t.Parallel()
	s := newTrusting(t, dockertest.Container{Image: dockertest.Image(t, dockertest.Curl)}, "trustStore: system")
	s.accepts(byCurl, false, "without a bundle")
	volume := dockertest.Volume(t)
	s.declare(true)
	bundle := "container: worker, volume: " + volume + ", files: {ca.pem: ca, trust.jks: {content: truststore-jks, password: {command: [printf, something]}}}"
	s.write("tls.yaml", strings.Replace(s.read("tls.yaml"), "container: "+s.c.Name+", trustStore: system", bundle, 1))
	s.want(exitDone, "apply")
	var printed composeFile
	if err := yaml.Unmarshal([]byte(s.want(exitDone, "compose").out), &printed); err != nil {
		t.Fatal(err)
	}
	worker := printed.Services["worker"]
	if len(worker.Volumes) != 1 || len(worker.Environment) != 4 {
		t.Fatalf("compose prints %+v", worker)
	}
	var env []string
	for name, value := range worker.Environment {
		env = append(env, name+"="+value)
	}
	with := dockertest.Container{
		Env: env, Mounts: []mount.Mount{{Type: mount.TypeVolume, Source: worker.Volumes[0].Source, Target: worker.Volumes[0].Target, ReadOnly: true}},
		ReadOnly: true, Tmpfs: map[string]string{"/tmp": ""}, Start: true,
	}
	for kind, by := range map[dockertest.Kind]verifier{dockertest.Curl: byCurl, dockertest.Java: byJava} {
		without := dockertest.Container{Image: dockertest.Image(t, kind), Start: true}
		s.c = dockertest.Run(t, without)
		s.accepts(by, false, string(kind)+" without the variables")
		with.Image = without.Image
		s.c = dockertest.Run(t, with)
		s.accepts(by, true, string(kind)+" with the variables")
	}
}
