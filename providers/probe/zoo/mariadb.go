package zoo

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// MariaDB starts MariaDB with the files of cert, clients of trust and accounts made by SQL, and returns its address. It does
// not run as root.
func MariaDB(t testing.TB, cert, trust Cert, sql string, settings ...string) string {
	t.Helper()
	mariadbd, setup := need(t, "mariadbd", "/usr/sbin/mariadbd"), need(t, "mariadb-install-db")
	dir := t.TempDir()
	own, as := unprivileged(t, dir)
	data := filepath.Join(dir, "data")
	install := exec.Command(setup, "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal", "--skip-test-db",
		"--innodb-log-file-size=4M", "--innodb-flush-log-at-trx-commit=0", "--tmpdir="+dir)
	install.SysProcAttr, install.Dir = as, dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("mariadb-install-db: %v\n%s", err, out)
	}
	cert.Write(t, dir, trust)
	write(t, filepath.Join(dir, "init.sql"), sql)
	for _, f := range []string{"cert.pem", "key.pem", "ca.pem", "init.sql"} {
		own(filepath.Join(dir, f))
	}
	return start(t, func(port int) (*exec.Cmd, func() bool) {
		cmd := exec.Command(mariadbd, append([]string{
			"--no-defaults", "--datadir=" + data, "--socket=" + dir + "/sock", "--pid-file=" + dir + "/pid", "--tmpdir=" + dir,
			"--bind-address=127.0.0.1", "--port=" + strconv.Itoa(port), "--init-file=" + dir + "/init.sql", "--skip-name-resolve",
			"--innodb-log-file-size=4M", "--innodb-buffer-pool-size=8M", "--innodb-flush-log-at-trx-commit=0", "--skip-log-bin",
			"--ssl-cert=" + dir + "/cert.pem", "--ssl-key=" + dir + "/key.pem", "--ssl-ca=" + dir + "/ca.pem",
		}, settings...)...)
		cmd.SysProcAttr, cmd.Dir = as, dir
		return cmd, accepts(loopback(port)) // it listens once the accounts are there
	})
}
