package zoo

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Postfix starts Postfix with the files of cert and clients of trust, and returns the address of its SMTP server. Postfix has
// to be started by root.
func Postfix(t testing.TB, cert, trust Cert, settings ...string) string {
	t.Helper()
	postfix, master := need(t, "postfix", "/usr/sbin/postfix"), need(t, "master", "/usr/lib/postfix/sbin/master")
	dir := t.TempDir()
	reachable(t, dir)
	cert.Write(t, dir, trust)
	for _, sub := range []string{"etc", "queue", "data"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	give(t, "postfix", filepath.Join(dir, "data"))
	return start(t, func(port int) (*exec.Cmd, func() bool) {
		write(t, filepath.Join(dir, "etc/main.cf"), strings.Join(append([]string{
			"compatibility_level = 3.6", "queue_directory = " + dir + "/queue", "data_directory = " + dir + "/data",
			"inet_interfaces = 127.0.0.1", "inet_protocols = ipv4", "myhostname = mail.test", "mynetworks = 127.0.0.0/8",
			"maillog_file = /dev/stdout", "alias_maps =", "local_recipient_maps =",
			"smtpd_tls_chain_files = " + dir + "/key.pem, " + dir + "/cert.pem", "smtpd_tls_CAfile = " + dir + "/ca.pem",
			"smtpd_tls_security_level = may", "smtpd_peername_lookup = no",
		}, append(settings, "")...), "\n"))
		write(t, filepath.Join(dir, "etc/master.cf"), fmt.Sprintf(`127.0.0.1:%d inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
`, port))
		if out, err := exec.Command(postfix, "-c", filepath.Join(dir, "etc"), "check").CombinedOutput(); err != nil {
			t.Fatalf("postfix check: %v\n%s", err, out) // it makes the queue's directories
		}
		return exec.Command(master, "-c", filepath.Join(dir, "etc"), "-s"), accepts(loopback(port))
	})
}

// Dovecot starts Dovecot with the files of cert and clients of trust, and returns the address of its IMAP server. Dovecot has
// to be started by root.
func Dovecot(t testing.TB, cert, trust Cert, settings ...string) string {
	t.Helper()
	dovecot := need(t, "dovecot", "/usr/sbin/dovecot")
	dir := t.TempDir()
	reachable(t, dir)
	cert.Write(t, dir, trust)
	return start(t, func(port int) (*exec.Cmd, func() bool) {
		write(t, filepath.Join(dir, "dovecot.conf"), fmt.Sprintf(`protocols = imap
listen = 127.0.0.1
base_dir = %[1]s/run
state_dir = %[1]s/state
log_path = /dev/stderr
ssl_cert = <%[1]s/cert.pem
ssl_key = <%[1]s/key.pem
ssl_ca = <%[1]s/ca.pem
ssl_require_crl = no
service imap-login {
  inet_listener imap {
    port = %[2]d
  }
  inet_listener imaps {
    port = 0
  }
}
passdb {
  driver = static
  args = nopassword=y
}
userdb {
  driver = static
  args = uid=nobody gid=nogroup home=/nonexistent
}
%[3]s
`, dir, port, strings.Join(settings, "\n")))
		return exec.Command(dovecot, "-F", "-c", filepath.Join(dir, "dovecot.conf")), accepts(loopback(port))
	})
}
