package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestACMEKilled ends certwright after every effect of an issue, each time with a new store, and lets it finish. The order is
// finished, and not made again, unless it was lost on its way here, or the server looked for a proof while nobody gave one.
func TestACMEKilled(t *testing.T) {
	const lanes = 4 // most of the time is waited
	for lane := range lanes {
		t.Run(fmt.Sprint(lane), func(t *testing.T) {
			t.Parallel()
			killedIssues(t, 1+lane, lanes)
		})
	}
}

// killedIssues ends certwright after the first effect, and others so many apart, until there are no more.
func killedIssues(t *testing.T, first, apart int) {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	base := t.TempDir()
	server, err := newPebble(pebble(t), base, "-http", port)
	if err != nil {
		t.Fatal(err)
	}
	defer server.end()
	points, orders, finalized := 0, 0, 0
	for n := first; ; n += apart {
		k := killed{t: t, dir: filepath.Join(base, fmt.Sprint(n))}
		if err := os.Mkdir(k.dir, 0o755); err != nil {
			t.Fatal(err)
		}
		k.write(fmt.Sprintf(`version: 1
project: shop
cas:
  pebble: {acme: {directory: "%s", roots: %s/roots.pem, http01: {listen: "127.0.0.1:%s"}}}
identities:
  web: {ca: pebble, names: [web.test, www.web.test]}
bindings:
  web: {identity: web, trust: [pebble], directory: %s/certs}
`, server.Directory, base, port, k.dir))
		what := k.at(n, "")
		early := server.count(t, "/finalize-order") == finalized
		k.run("apply")
		k.run("plan", "--exit-code")
		made := server.count(t, "/order-plz") - orders
		orders, finalized = orders+made, server.count(t, "/finalize-order")
		again := early && slices.ContainsFunc([]string{"/order-plz", "state.new", "/chalZ", "/authZ"}, func(part string) bool { return strings.Contains(what, part) })
		if made > 2 || made > 1 && !again {
			t.Errorf("killed after %q (effect %d): %d orders", what, n, made)
		}
		if what == "" {
			break
		}
		points++
	}
	t.Logf("%d crash points, %d orders", points, orders)
	if points < 10 {
		t.Error("those are too few: is anything done at all?")
	}
}

// killed is a certwright that is ended.
type killed struct {
	t   *testing.T
	dir string
}

func (k killed) write(spec string) {
	if err := os.WriteFile(filepath.Join(k.dir, "tls.yaml"), []byte(spec), 0o600); err != nil {
		k.t.Fatal(err)
	}
}

// at applies in a process that ends after its n-th effect of those that begin with a word, and returns that, or "" if there is
// none.
func (k killed) at(n int, word string) string {
	k.t.Helper()
	self, err := os.Executable()
	if err != nil {
		k.t.Fatal(err)
	}
	said := filepath.Join(k.dir, "crashed")
	cmd := exec.CommandContext(k.t.Context(), self, "-f", filepath.Join(k.dir, "tls.yaml"), "apply")
	// The clock of that process stands, and the server's certificates are valid from when it makes them.
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d.after.%s", crashEnv, n, word), crashedEnv+"="+said,
		crashNowEnv+"="+time.Now().Add(time.Minute).Format(time.RFC3339Nano), "CI=", "DOCKER_HOST=unix:///nonexistent/docker.sock")
	out, err := cmd.CombinedOutput()
	what, _ := os.ReadFile(said)
	var exit *exec.ExitError
	dead := errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
	if dead != (len(what) > 0) || err != nil && !dead {
		k.t.Fatalf("effect %d (%s): %v\n%s", n, what, err, out)
	}
	return string(what)
}

// run calls certwright, which must succeed.
func (k killed) run(args ...string) {
	k.t.Helper()
	var out bytes.Buffer
	code := run(context.Background(), append([]string{"-f", filepath.Join(k.dir, "tls.yaml")}, args...), env{
		in: strings.NewReader(""), out: &out, err: &out, getenv: func(string) string { return "" }, now: time.Now,
	})
	if code != exitDone {
		k.t.Fatalf("%v exits with %d\n%s", args, code, out.String())
	}
}
