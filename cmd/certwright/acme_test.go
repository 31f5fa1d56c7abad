package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestACME runs testdata/acme against Pebble, Let's Encrypt's ACME server for tests, which here refuses a fifth of all nonces.
func TestACME(t *testing.T) {
	server := pebble(t)
	p := params(t, "../../testdata/acme")
	setup := p.Setup
	p.Setup = func(e *testscript.Env) error {
		err := setup(e)
		e.Setenv("CERTWRIGHT_TEST_NOW", "") // Pebble's certificates are of today
		return err
	}
	p.Cmds["pebble"] = func(ts *testscript.TestScript, neg bool, args []string) { startPebble(ts, server, neg, args) }
	p.Cmds["serve"], p.Cmds["fail"], p.Cmds["again"] = serveDirectory, failOrders, triedAgain
	p.Cmds["named"], p.Cmds["records"] = startNamed, records
	p.Cmds["advise"], p.Cmds["renews"], p.Cmds["down"] = advise, renews, down
	testscript.Run(t, p)
}

// failOrders has the server answer the next orders with an error: fail TIMES TYPE STATUS [RETRY-AFTER].
func failOrders(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: fail TIMES TYPE STATUS [RETRY-AFTER]")
	}
	form := url.Values{"path": {"/order-plz"}, "times": args[:1], "type": args[1:2], "status": args[2:3], "retryAfter": args[3:]}
	answer, err := http.PostForm(ts.Getenv("CONTROL")+"/fail", form)
	ts.Check(err)
	ts.Check(answer.Body.Close())
}

var nextTry = regexp.MustCompile("watch tries again after ([0-9TZ:-]+Z)")

// triedAgain wants the next try to be in so long: again LEAST MOST.
func triedAgain(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: again LEAST MOST")
	}
	least, err := time.ParseDuration(args[0])
	ts.Check(err)
	most, err := time.ParseDuration(args[1])
	ts.Check(err)
	found := nextTry.FindStringSubmatch(ts.ReadFile("stdout"))
	if found == nil {
		ts.Fatalf("it does not say when")
	}
	at, err := time.Parse(time.RFC3339, found[1])
	ts.Check(err)
	if wait := time.Until(at); wait < least-time.Minute || wait > most {
		ts.Fatalf("it is tried again in %s", wait)
	}
}

// serveDirectory serves a directory at HTTP_PORT, as the user's own web server does: serve DIRECTORY.
func serveDirectory(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: serve DIRECTORY")
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+ts.Getenv("HTTP_PORT"))
	ts.Check(err)
	srv := &http.Server{Handler: http.FileServer(http.Dir(ts.MkAbs(args[0])))}
	go func() { _ = srv.Serve(l) }()
	ts.Defer(func() { _ = srv.Close() })
}

// pebble is the program, or the test is skipped.
func pebble(t *testing.T) string {
	t.Helper()
	server, err := buildPebble()
	switch {
	case err == nil:
	case slices.Contains(strings.Split(os.Getenv("CERTWRIGHT_TEST_REQUIRE"), ","), "servers"):
		t.Fatal(err)
	default:
		t.Skip(err)
	}
	return server
}

// buildPebble builds the server once for all tests, from a module of its own: what it needs is nothing of the product's.
var buildPebble = sync.OnceValues(func() (string, error) {
	if _, err := buildStatic(); err != nil { // it makes the folder
		return "", err
	}
	path := filepath.Join(binaries, "pebble")
	build := exec.Command("go", "build", "-o", path, ".")
	build.Dir = "../../testdata/pebble"
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build pebble: %w\n%s", err, out)
	}
	return path, nil
})

// startPebble starts a server with ports of its own that ends with the script: pebble [FLAG...]. Its roots are in roots.pem.
// DIRECTORY, CONTROL, HTTP_PORT and TLS_PORT say the rest.
func startPebble(ts *testscript.TestScript, server string, neg bool, args []string) {
	if neg {
		ts.Fatalf("usage: pebble [FLAG...]")
	}
	for _, name := range []string{"HTTP_PORT", "TLS_PORT"} {
		if ts.Getenv(name) == "" {
			port, err := freePort()
			ts.Check(err)
			ts.Setenv(name, port)
		}
	}
	p, err := newPebble(server, ts.MkAbs("."), append([]string{"-http", ts.Getenv("HTTP_PORT"), "-tls", ts.Getenv("TLS_PORT")}, args...)...)
	ts.Check(err)
	ts.Defer(p.end)
	running.Store(ts, p.end)
	ts.Setenv("DIRECTORY", p.Directory)
	ts.Setenv("CONTROL", p.Control)
}

// pebbleServer is a Pebble that runs.
type pebbleServer struct {
	Directory, Control string
	end                func()
}

// newPebble starts one whose roots are in roots.pem of a directory.
func newPebble(server, dir string, args ...string) (pebbleServer, error) {
	var p pebbleServer
	cmd := exec.Command(server, append([]string{"-roots", filepath.Join(dir, "roots.pem")}, args...)...)
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=20", "PEBBLE_AUTHZREUSE=0")
	log, err := os.Create(filepath.Join(dir, "pebble.log"))
	if err != nil {
		return p, err
	}
	cmd.Stderr = log
	in, err := cmd.StdinPipe()
	if err != nil {
		return p, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return p, err
	}
	if err := cmd.Start(); err != nil {
		return p, err
	}
	p.end = func() { _, _, _ = in.Close(), cmd.Wait(), log.Close() }
	line, err := bufio.NewReader(out).ReadString('\n')
	if err == nil {
		err = json.Unmarshal([]byte(line), &p)
	}
	if err != nil {
		p.end()
	}
	return p, err
}

// count is how many requests to a path the server has answered well.
func (p pebbleServer) count(t *testing.T, path string) int { return p.number(t, "/count?path="+path) }

// orders tells of each order, in turn, whether it was new or replaces a certificate.
func (p pebbleServer) orders(t *testing.T) []string { return strings.Fields(p.told(t, "/orders")) }

func (p pebbleServer) number(t *testing.T, path string) int {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(p.told(t, path)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (p pebbleServer) told(t *testing.T, path string) string {
	t.Helper()
	answer, err := http.Get(p.Control + path)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// ports counts those that were given away.
var ports atomic.Int64

// freePort is a port that nobody listens on. It is none that the system gives to whoever asks for any, as another test may before
// this one is used (ip_local_port_range, ip(7)), and is given once.
func freePort() (string, error) {
	const first, last = 20000, 32000
	for range last - first {
		port := strconv.FormatInt(first+ports.Add(1)%(last-first), 10)
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			return port, l.Close()
		}
	}
	return "", fmt.Errorf("no port from %d to %d is free", first, last)
}
