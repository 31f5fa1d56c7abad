package zoo

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// OpenLDAP starts slapd with the files of cert and clients of trust, and returns its address: of ldap, not of ldaps.
func OpenLDAP(t testing.TB, cert, trust Cert, settings ...string) string {
	t.Helper()
	slapd := need(t, "slapd", "/usr/sbin/slapd")
	dir := t.TempDir()
	cert.Write(t, dir, trust)
	write(t, filepath.Join(dir, "slapd.conf"), fmt.Sprintf(`include /etc/ldap/schema/core.schema
pidfile %[1]s/pid
TLSCertificateFile %[1]s/cert.pem
TLSCertificateKeyFile %[1]s/key.pem
TLSCACertificateFile %[1]s/ca.pem
%[2]s
`, dir, strings.Join(settings, "\n")))
	return start(t, func(port int) (*exec.Cmd, func() bool) {
		return exec.Command(slapd, "-h", "ldap://"+loopback(port), "-f", filepath.Join(dir, "slapd.conf"), "-d", "0"), accepts(loopback(port))
	})
}

// Mosquitto starts Mosquitto with the files of cert and clients of trust, and returns its address.
func Mosquitto(t testing.TB, cert, trust Cert, settings ...string) string {
	t.Helper()
	mosquitto := need(t, "mosquitto", "/usr/sbin/mosquitto")
	dir := t.TempDir()
	cert.Write(t, dir, trust)
	return start(t, func(port int) (*exec.Cmd, func() bool) {
		write(t, filepath.Join(dir, "mosquitto.conf"), fmt.Sprintf("user root\nlistener %[2]d 127.0.0.1\ncertfile %[1]s/cert.pem\nkeyfile %[1]s/key.pem\ncafile %[1]s/ca.pem\n%[3]s\n",
			dir, port, strings.Join(settings, "\n")))
		return exec.Command(mosquitto, "-c", filepath.Join(dir, "mosquitto.conf")), accepts(loopback(port))
	})
}

// NATS starts nats-server with the files of cert and clients of trust, and returns its address.
func NATS(t testing.TB, cert, trust Cert, args ...string) string {
	t.Helper()
	nats := need(t, "nats-server")
	dir := t.TempDir()
	cert.Write(t, dir, trust)
	return start(t, func(port int) (*exec.Cmd, func() bool) {
		return exec.Command(nats, append([]string{
			"-a", "127.0.0.1", "-p", strconv.Itoa(port), "--tlscert", dir + "/cert.pem", "--tlskey", dir + "/key.pem", "--tlscacert", dir + "/ca.pem",
		}, args...)...), accepts(loopback(port))
	})
}

// reachable lets a server's processes, which change their user, into the test's directory.
func reachable(t testing.TB, dir string) {
	t.Helper()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o711); err != nil {
			t.Fatal(err)
		}
	}
}

// give makes a user of this machine the owner.
func give(t testing.TB, name, path string) {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, uid, -1); err != nil {
		t.Fatal(err)
	}
}
