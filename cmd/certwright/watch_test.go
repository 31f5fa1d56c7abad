package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// watched is `certwright watch` as a process of its own, in a folder with a tls.yaml.
type watched struct {
	t     testing.TB
	dir   string
	cmd   *exec.Cmd
	ended chan error

	mu   sync.Mutex
	said bytes.Buffer
	more chan struct{} // has a word when it said more
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case w.more <- struct{}{}:
	default:
	}
	return w.said.Write(p)
}

func (w *watched) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.said.String()
}

func startWatch(t testing.TB, ci, spec string, args ...string) *watched {
	t.Helper()
	w := newWatch(t, spec, args...)
	w.cmd.Env = append(w.cmd.Env, "CI="+ci)
	w.start()
	return w
}

// newWatch is one that has not been started.
func newWatch(t testing.TB, spec string, args ...string) *watched {
	t.Helper()
	w := &watched{t: t, dir: t.TempDir(), ended: make(chan error, 1), more: make(chan struct{}, 1)}
	w.spec(spec)
	w.cmd = exec.Command(staticBinary(t), append([]string{"--log-format", "json", "watch"}, args...)...)
	w.cmd.Dir, w.cmd.Env, w.cmd.Stdout, w.cmd.Stderr = w.dir, os.Environ(), w, w
	return w
}

func (w *watched) start() {
	w.t.Helper()
	if err := w.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() { w.ended <- w.cmd.Wait() }()
	w.t.Cleanup(func() {
		_ = w.cmd.Process.Kill()
		note(w.text())
		harvest(w.dir)
		if w.t.Failed() {
			w.t.Logf("watch printed\n%s", w.text())
		}
	})
}

// end ends it by SIGTERM.
func (w *watched) end() {
	w.t.Helper()
	w.signal(syscall.SIGTERM)
	select {
	case err := <-w.ended:
		if err != nil {
			w.t.Errorf("on SIGTERM: %v", err)
		}
	case <-time.After(time.Minute):
		w.t.Error("it does not end on SIGTERM")
	}
}

func (w *watched) signal(s syscall.Signal) {
	w.t.Helper()
	if err := w.cmd.Process.Signal(s); err != nil {
		w.t.Fatal(err)
	}
}

func (w *watched) spec(text string) {
	w.t.Helper()
	next := filepath.Join(w.dir, "next")
	if err := os.WriteFile(next, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(next, filepath.Join(w.dir, "tls.yaml")); err != nil { // as git does
		w.t.Fatal(err)
	}
}

// says waits until it has printed a text, and returns all that came after the first from bytes.
func (w *watched) says(from int, text string) string {
	w.t.Helper()
	dockertest.Poll(w.t, time.Minute, fmt.Sprintf("watch to say %q", text), func() error {
		if !strings.Contains(w.text()[from:], text) {
			return errors.New("it has not")
		}
		return nil
	})
	return w.text()[from:]
}

func (w *watched) placed(name string) {
	w.t.Helper()
	dockertest.Poll(w.t, time.Minute, name+" to be placed", func() error {
		_, err := os.Stat(filepath.Join(w.dir, name))
		return err
	})
}

// remove takes a directory away at once: watch may be looking at it.
func (w *watched) remove(name string) {
	w.t.Helper()
	aside := filepath.Join(w.t.TempDir(), name)
	if err := os.Rename(filepath.Join(w.dir, name), aside); err != nil {
		w.t.Fatal(err)
	}
}

const watchYAML = `version: 1
project: shop
cas:
  internal: {local: {lifetime: 10y}}
identities:
  web: {ca: internal, names: [web]}
bindings:
  web: {identity: web, directory: ./web}
`

// TestWatch has a process that goes on: a spec that changes, one that cannot be used, SIGHUP, others beside it, and SIGTERM.
func TestWatch(t *testing.T) {
	t.Parallel()
	w := startWatch(t, "", watchYAML, "--interval", "1h")
	w.placed("web/key.pem")
	w.says(0, `"subject":"binding/web"`)
	quiet := len(w.text())

	w.spec("version: 1\nproject: shop\nwhat: is this\n")
	w.says(quiet, `tls.yaml:3:1: unknown key`)
	w.remove("web")
	w.signal(syscall.SIGHUP)
	w.placed("web/key.pem") // by the last good one
	from := len(w.text())
	w.spec(watchYAML + "  other: {identity: web, directory: ./other}\n")
	w.placed("other/key.pem")
	w.says(from, `"subject":"binding/other"`)

	// Another one works beside it, and what it did is seen.
	beside := exec.Command(staticBinary(t), "rotate", "identity/web")
	beside.Dir = w.dir
	if out, err := beside.CombinedOutput(); err != nil {
		t.Fatalf("rotate: %v\n%s", err, out)
	}
	quiet = len(w.text())
	w.signal(syscall.SIGHUP)
	w.remove("other")
	w.spec(watchYAML + "  other: {identity: web, directory: ./other}\n  third: {trust: [internal], directory: ./third}\n")
	w.placed("third/ca.pem")
	for line := range strings.Lines(w.says(quiet, `"subject":"binding/third"`)) {
		var said struct{ Level, Action, Because string }
		if err := json.Unmarshal([]byte(line), &said); err != nil || said.Level == "ERROR" {
			t.Errorf("it says %s", line)
		}
		if strings.HasPrefix(said.Action, "issue") {
			t.Errorf("it issued once more: %s", line)
		}
	}

	// All is gone, also what would show that there was a store: it knows.
	quiet = len(w.text())
	for _, gone := range []string{".certwright", "web", "other", "third"} {
		w.remove(gone)
	}
	w.signal(syscall.SIGHUP)
	if lost := w.says(quiet, "the store is lost"); strings.Contains(lost, "create CA") || !strings.Contains(lost, "certwright restore FILE") {
		t.Errorf("it says %s", lost)
	}

	w.end()
	w.says(0, `"msg":"ended"`)
}

// TestWatchEvents hears of a container that starts, while its interval is an hour.
func TestWatchEvents(t *testing.T) {
	t.Parallel()
	places := t.TempDir()
	c := dockertest.Run(t, dockertest.Container{
		Image: dockertest.Image(t, dockertest.GoServer), Name: "watched", Ports: []int{8443},
		Cmd:    []string{"-cert", "/certs/cert.pem", "-key", "/certs/key.pem", "-reload", "hot"},
		Mounts: []mount.Mount{{Type: mount.TypeBind, Source: places, Target: "/certs"}},
	})
	w := startWatch(t, "", strings.Replace(watchYAML, "directory: ./web", "directory: "+places+", container: "+c.Name+", reload: none, probe: {port: 8443}", 1), "--interval", "1h")
	w.says(0, `"state":"Waiting"`)
	if err := dockertest.Engine(t).ContainerStart(t.Context(), c.ID, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	w.says(0, `"state":"Ready"`)
	quiet := len(w.text())
	if err := dockertest.Engine(t).ContainerStop(t.Context(), c.ID, container.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	w.says(quiet, `"state":"Waiting"`)
}

// TestWatchBlocked has something in the way that is no binding: it is said once, and when it is over.
func TestWatchBlocked(t *testing.T) {
	t.Parallel()
	more := watchYAML + "  second: {identity: web, directory: ./second}\n  third: {identity: web, directory: ./third}\n"
	w := startWatch(t, "", more, "--interval", "1h")
	w.says(0, `"subject":"binding/third"`)
	from := len(w.text())
	w.spec(strings.Replace(watchYAML, "web: {identity: web, directory: ./web}", "fourth: {identity: web, directory: ./fourth}", 1))
	w.says(from, `"msg":"failed","subject":"prune","error":"3 of 4 bindings left the spec`)
	w.says(from, "certwright apply --prune=all")
	w.signal(syscall.SIGHUP)
	w.remove("fourth")
	w.placed("fourth/key.pem")
	over := len(w.text())
	w.spec(more)
	w.says(over, `"msg":"well again","subject":"prune"`)
	if n := strings.Count(w.text()[from:over], `"subject":"prune"`); n != 1 {
		t.Errorf("it is said %d times:\n%s", n, w.text()[from:over])
	}
}

// TestWatchUnasked makes no pass because a container starts, where no binding has to do with an engine. What other tests do
// while a pass is under way makes one.
func TestWatchUnasked(t *testing.T) {
	t.Parallel()
	c := dockertest.Run(t, dockertest.Container{Image: dockertest.Image(t, dockertest.GoServer), Name: "unasked"})
	w := startWatch(t, "", watchYAML, "--interval", "1h", "--verbose")
	asked := startWatch(t, "", strings.Replace(watchYAML, "directory: ./web", "directory: ./web, container: "+c.Name, 1), "--interval", "1h", "--verbose")
	w.says(0, `"subject":"binding/web"`)
	asked.says(0, `"subject":"binding/web"`)
	for range 5 {
		quiet, before := len(w.text()), len(asked.text())
		dockertest.Run(t, dockertest.Container{Image: dockertest.Image(t, dockertest.GoServer), Name: "other"})
		asked.says(before, `"because":"container create"`)
		w.signal(syscall.SIGHUP)
		if said := w.says(quiet, `"because":"SIGHUP"`); !strings.Contains(said, `"because":"container`) {
			return
		}
	}
	t.Error("each container makes a pass")
}

// TestWatchFromNothing begins with a spec that needs no store: the first one that does is no loss. One whose store cannot be
// opened leaves the last good one in force.
func TestWatchFromNothing(t *testing.T) {
	t.Parallel()
	w := startWatch(t, "", "version: 1\nproject: shop\n", "--interval", "1s", "--verbose")
	w.says(0, `"msg":"pass","because":"interval"`)
	w.spec(watchYAML)
	w.placed("web/key.pem")
	from := len(w.text())
	w.spec(strings.Replace(watchYAML, "cas:", "store: {passphrase: {file: not-there}}\ncas:", 1))
	w.says(from, "not-there")
	w.remove("web")
	w.placed("web/key.pem")
	if strings.Contains(w.text(), "the store is lost") {
		t.Errorf("it says that the store is lost")
	}
}

// TestWatchDeceived takes a spec that has another content, and the time and size of the one before.
func TestWatchDeceived(t *testing.T) {
	t.Parallel()
	w := startWatch(t, "", watchYAML, "--interval", "1s")
	w.says(0, `"subject":"binding/web"`)
	path := filepath.Join(w.dir, "tls.yaml")
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(watchYAML, "names: [web]", "names: [new]", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, before.ModTime(), before.ModTime()); err != nil {
		t.Fatal(err)
	}
	w.says(0, `"because":"names changed"`)
}

// TestWatchPassphrase has a file with the store's passphrase that goes missing, holds another one, and is there again: each
// is said once, and what watch opened the store with stays in force. A new passphrase is taken when the store has it.
func TestWatchPassphrase(t *testing.T) {
	t.Parallel()
	w := newWatch(t, strings.Replace(watchYAML, "cas:", "store: {passphrase: {file: passphrase}}\ncas:", 1), "--interval", "1h", "--listen", "127.0.0.1:0")
	file := filepath.Join(w.dir, "passphrase")
	set := func(passphrase string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(passphrase), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	heals := func() {
		t.Helper()
		if err := os.RemoveAll(filepath.Join(w.dir, "web")); err != nil {
			t.Fatal(err)
		}
		w.placed("web/key.pem")
	}
	set("correct horse battery staple")
	w.start()
	at := w.listens()
	w.shows(at, "/status.json", `"trouble":""`)
	for _, row := range []struct {
		what, says string
		do         func()
	}{
		{"missing", "passphrase: no such file or directory", func() { _ = os.Remove(file) }},
		{"another", "it does not open with this passphrase", func() { set("some other passphrase") }},
	} {
		from := len(w.text())
		row.do()
		for range 2 {
			w.signal(syscall.SIGHUP)
			w.says(from, row.says)
			w.shows(at, "/status.json", `"trouble":"spec"`)
			heals()
		}
		if n := strings.Count(w.text()[from:], row.says); n != 1 {
			t.Errorf("%s: it is said %d times", row.what, n)
		}
	}
	from := len(w.text())
	set("correct horse battery staple")
	w.signal(syscall.SIGHUP)
	w.says(from, `"msg":"well again","subject":"spec"`)
	w.shows(at, "/status.json", `"trouble":""`)

	set("a new one, and longer")
	seal := exec.Command(staticBinary(t), "seal")
	seal.Dir, seal.Env = w.dir, append(os.Environ(), "CERTWRIGHT_OLD_PASSPHRASE=correct horse battery staple")
	if out, err := seal.CombinedOutput(); err != nil {
		t.Fatalf("seal: %v\n%s", err, out)
	}
	w.signal(syscall.SIGHUP)
	heals()
	w.shows(at, "/status.json", `"trouble":""`)
	w.shows(at, "/status.json", `"converged":true`)
}

// TestWatchOnARunner makes no CA that would be lost with the machine.
func TestWatchOnARunner(t *testing.T) {
	t.Parallel()
	w := startWatch(t, "true", watchYAML)
	w.says(0, "CI is set")
	w.says(0, "certwright apply --init-store")
	if _, err := os.Stat(filepath.Join(w.dir, ".certwright")); err == nil {
		t.Error("it made a store")
	}

	// With a store it works, and a spec that names another one, which is not there, leaves the last good one in force.
	first := exec.Command(staticBinary(t), "apply", "--init-store")
	first.Dir, first.Env = w.dir, append(os.Environ(), "CI=true")
	if out, err := first.CombinedOutput(); err != nil {
		t.Fatalf("apply: %v\n%s", err, out)
	}
	w.signal(syscall.SIGHUP)
	w.says(0, `"state":"Unverified"`)
	from := len(w.text())
	w.spec(strings.Replace(watchYAML, "cas:", "store: {directory: elsewhere}\ncas:", 1))
	w.says(from, "elsewhere, and CI is set")
	w.remove("web")
	w.signal(syscall.SIGHUP)
	w.placed("web/key.pem")
}

// TestWatchPlaces puts right what somebody does to placed files, at once, while its interval is an hour; and its own doing
// wakes it no more.
func TestWatchPlaces(t *testing.T) {
	t.Parallel()
	w := newWatch(t, watchYAML+"  other: {identity: web, directory: ./deep/other}\n", "--interval", "1h", "--verbose")
	w.cmd.Env = append(w.cmd.Env, "DOCKER_HOST=unix://"+filepath.Join(w.dir, "none")) // this machine's engine may have others' events
	w.start()
	w.placed("deep/other/key.pem")
	w.says(0, `"subject":"binding/other"`)
	heal := func(what string, do func(dir string) error) {
		t.Helper()
		quiet := len(w.text())
		if err := do(filepath.Join(w.dir, "web")); err != nil {
			t.Fatal(err)
		}
		dockertest.Poll(t, time.Minute, what+" to be put right", func() error {
			said := w.text()[quiet:]
			if !strings.Contains(said, `"action":"place web in `) {
				return errors.New("it is not")
			}
			return nil
		})
		for line := range strings.Lines(w.text()[quiet:]) {
			if strings.Contains(line, `"msg":"pass"`) && !strings.Contains(line, `"because":"places changed"`) || strings.Contains(line, "place other") {
				t.Errorf("%s: it says %s", what, line)
			}
		}
	}
	heal("an altered file", func(dir string) error { return os.WriteFile(filepath.Join(dir, "cert.pem"), []byte("other"), 0o644) })
	heal("a removed file", func(dir string) error { return os.Remove(filepath.Join(dir, "..data", "key.pem")) })
	heal("a removed link", func(dir string) error { return os.Remove(filepath.Join(dir, "key.pem")) })
	heal("a mode", func(dir string) error { return os.Chmod(filepath.Join(dir, "key.pem"), 0o644) })
	heal("a removed place", os.RemoveAll)
	heal("an altered file of the place that is there again", func(dir string) error {
		return os.WriteFile(filepath.Join(dir, "ca.pem"), nil, 0o644)
	})

	// What it did itself is no reason: only the word that is sent now makes a pass.
	passes := strings.Count(w.text(), `"msg":"pass"`)
	if err := w.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	w.says(0, `"because":"SIGHUP"`)
	if n := strings.Count(w.text(), `"msg":"pass"`); n != passes+1 {
		t.Errorf("it made %d passes, want one\n%s", n-passes, w.text())
	}
}
