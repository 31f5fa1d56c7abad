package zoo

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a real server may take to start or stop.
const patience = 30 * time.Second

// Nginx starts nginx with one server of that configuration (what follows `listen`), and returns its address.
func Nginx(t testing.TB, server string) string {
	t.Helper()
	nginx := need(t, "nginx", "/usr/sbin/nginx")
	dir := t.TempDir()
	return start(t, func(port int) (*exec.Cmd, func() bool) {
		address := loopback(port)
		conf := fmt.Sprintf(`daemon off; master_process off; pid %[1]s/pid; error_log stderr warn;
events {}
http {
  access_log off;
  client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi;
  uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
  server { listen %[2]s ssl; %[3]s location / { return 200 "hello\n"; } }
}`, dir, address, server)
		write(t, filepath.Join(dir, "nginx.conf"), conf)
		return exec.Command(nginx, "-p", dir, "-e", "stderr", "-c", filepath.Join(dir, "nginx.conf")), accepts(address)
	})
}

// Redis starts redis-server with TLS alone and more arguments, and returns its address.
func Redis(t testing.TB, args ...string) string {
	t.Helper()
	redis := need(t, "redis-server")
	dir := t.TempDir()
	return start(t, func(port int) (*exec.Cmd, func() bool) {
		base := []string{"--port", "0", "--tls-port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", dir, "--save", ""}
		return exec.Command(redis, append(base, args...)...), accepts(loopback(port))
	})
}

// Postgres starts PostgreSQL 15 with the files of cert, clients of trust, and a pg_hba.conf, and returns its
// address. The superuser is postgres. It does not run as root.
func Postgres(t testing.TB, cert, trust Cert, hba string, settings ...string) string {
	t.Helper()
	const bin = "/usr/lib/postgresql/15/bin"
	initdb, postgres := need(t, "initdb", bin+"/initdb"), need(t, "postgres", bin+"/postgres")
	dir := t.TempDir()
	own, as := unprivileged(t, dir)
	data := filepath.Join(dir, "data")
	setup := exec.Command(initdb, "-D", data, "-U", "postgres", "-A", "trust", "--no-sync", "--locale", "C", "-E", "UTF8")
	setup.SysProcAttr, setup.Dir = as, dir
	if out, err := setup.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	cert.Write(t, data, trust)
	write(t, filepath.Join(data, "pg_hba.conf"), hba+"\n")
	for _, f := range []string{"cert.pem", "key.pem", "ca.pem", "pg_hba.conf"} {
		own(filepath.Join(data, f))
	}
	return start(t, func(port int) (*exec.Cmd, func() bool) {
		args := []string{"-D", data}
		for _, s := range append([]string{
			"port=" + strconv.Itoa(port), "listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off",
			"ssl=on", "ssl_cert_file=cert.pem", "ssl_key_file=key.pem", "ssl_ca_file=ca.pem",
		}, settings...) {
			args = append(args, "-c", s)
		}
		cmd := exec.Command(postgres, args...)
		cmd.SysProcAttr, cmd.Dir = as, dir
		return cmd, func() bool {
			// The server listens before it lets anyone in; the last line of this file says when it does.
			pid, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
			return err == nil && bytes.Contains(pid, []byte("ready"))
		}
	})
}

// need finds a program, or skips the test; it fails it when CERTWRIGHT_TEST_REQUIRE contains `servers`.
func need(t testing.TB, name string, paths ...string) string {
	t.Helper()
	for _, p := range append(paths, name) {
		if found, err := exec.LookPath(p); err == nil {
			return found
		}
	}
	if slices.Contains(strings.Split(os.Getenv("CERTWRIGHT_TEST_REQUIRE"), ","), "servers") {
		t.Fatalf("%s is not installed, and CERTWRIGHT_TEST_REQUIRE wants servers", name)
	}
	t.Skipf("SKIPPED: %s is not installed", name)
	return ""
}

// start runs a server in the foreground until the test ends. A port that someone else took first ends the server;
// another one is tried.
func start(t testing.TB, command func(port int) (cmd *exec.Cmd, ready func() bool)) string {
	t.Helper()
	var last string
	for range 5 {
		port := freePort(t)
		cmd, ready := command(port)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if cmd.SysProcAttr == nil {
			cmd.SysProcAttr = &syscall.SysProcAttr{}
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }()
		stop := func() { end(cmd, ended) }
		if await(ended, ready) {
			t.Cleanup(stop)
			return loopback(port)
		}
		stop()
		last = out.String()
	}
	t.Fatalf("the server does not start:\n%s", last)
	return ""
}

// await polls until the server is ready; false when it ended or took too long.
func await(ended <-chan struct{}, ready func() bool) bool {
	deadline := time.After(patience)
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for !ready() {
		select {
		case <-ended:
			return false
		case <-deadline:
			return false
		case <-poll.C:
		}
	}
	select {
	case <-ended: // what answered was someone else
		return false
	default:
		return true
	}
}

// end stops a server: SIGINT is a quick and clean end to PostgreSQL, and SIGTERM to those that do not take SIGINT.
func end(cmd *exec.Cmd, ended <-chan struct{}) {
	_ = cmd.Process.Signal(syscall.SIGINT)
	_ = cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-ended:
	case <-time.After(patience):
		_ = cmd.Process.Kill()
		<-ended
	}
}

// unprivileged makes dir usable by a process that is not root, and returns how to give it a file and how to start
// it. Without root, that is this process's own user.
func unprivileged(t testing.TB, dir string) (own func(string), as *syscall.SysProcAttr) {
	t.Helper()
	if os.Getuid() != 0 {
		return func(string) {}, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		t.Fatal(err)
	}
	uid, uidErr := strconv.Atoi(u.Uid)
	gid, gidErr := strconv.Atoi(u.Gid)
	if err := errors.Join(uidErr, gidErr); err != nil {
		t.Fatal(err)
	}
	own = func(path string) {
		if err := os.Chown(path, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	own(dir)
	if err := os.Chmod(filepath.Dir(dir), 0o711); err != nil { // the test's own, above t.TempDir's
		t.Fatal(err)
	}
	return own, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}

// taken are the ports that this process gave away: a server may need seconds to listen on its own, and the kernel would give it
// to another one meanwhile.
var taken sync.Map

func freePort(t testing.TB) int {
	t.Helper()
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		_ = l.Close()
		if _, was := taken.LoadOrStore(port, true); !was {
			return port
		}
	}
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func accepts(address string) func() bool {
	return func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
