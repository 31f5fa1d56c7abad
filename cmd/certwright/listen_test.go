package main

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/mount"
	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/docker"
	"github.com/certwright/certwright/providers/docker/dockertest"
	"github.com/certwright/certwright/providers/web/browsertest"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// listens is the address a watch says that it listens at.
func (w *watched) listens() string {
	w.t.Helper()
	said := w.says(0, `"msg":"listening"`)
	return regexp.MustCompile(`"address":"(?:tcp|unix):([^"]+)"`).FindStringSubmatch(said)[1]
}

// get reads a path of a watch, and looks for keys in it when all tests have run.
func get(t testing.TB, address, path string) (int, string) {
	t.Helper()
	resp, err := http.Get("http://" + address + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	note(string(body))
	return resp.StatusCode, string(body)
}

// shows waits until a path answers with a text.
func (w *watched) shows(address, path, text string) string {
	w.t.Helper()
	said := ""
	dockertest.Poll(w.t, time.Minute, path+" to say "+text, func() error {
		if _, said = get(w.t, address, path); !strings.Contains(said, text) {
			return errors.New(said)
		}
		return nil
	})
	return said
}

// certwright runs the program in the folder of a watch, and returns its exit code and all it said.
func (w *watched) certwright(args ...string) (int, string) {
	w.t.Helper()
	c := exec.Command(staticBinary(w.t), args...)
	c.Dir = w.dir
	out, err := c.CombinedOutput()
	note(string(out))
	if err != nil && c.ProcessState == nil {
		w.t.Fatal(err)
	}
	return c.ProcessState.ExitCode(), string(out)
}

// TestWatchListen asks a watch over a real server for everything, while the server goes stale and comes back. A browser shows
// all of it without loading the page again.
func TestWatchListen(t *testing.T) {
	t.Parallel()
	lying, places, id := lyingServer(t)
	w := startWatch(t, "", lying, "--interval", "1h", "--listen", "127.0.0.1:0")
	at := w.listens()
	w.shows(at, "/status.json", `"state":"Waiting"`)
	dockertest.Start(t, id)
	w.shows(at, "/status.json", `"state":"Ready"`)
	if code, text := get(t, at, "/readyz"); code != 200 {
		t.Errorf("/readyz: %d %s", code, text)
	}
	if code, text := w.certwright("health", "--listen", at); code != 0 || !strings.HasPrefix(text, "alive: ") {
		t.Errorf("health: %d %s", code, text)
	}

	page := browsertest.Open(t, "http://"+at+"/", browsertest.Look{})
	page.Says("#picture .node.binding.Ready", "web")
	page.Says("#verdict", "All is settled")
	page.Do("globalThis.never = 'loaded again'")

	// The same document as that of status, but for what was not known when it was made.
	_, out := w.certwright("status", "-o", "json")
	_, text := get(t, at, "/status.json")
	var said, shown map[string]any
	if err := errors.Join(json.Unmarshal([]byte(out), &said), json.Unmarshal([]byte(text), &shown)); err != nil {
		t.Fatal(err)
	}
	for key, value := range said {
		want, _ := json.Marshal(value)
		for _, b := range shown["bindings"].([]any) {
			delete(b.(map[string]any), "causes")
		}
		if got, _ := json.Marshal(shown[key]); string(got) != string(want) {
			t.Errorf("%s is %s, status has %s", key, got, want)
		}
	}

	old := placed(t, places)
	if code, text := w.certwright("rotate", "identity/web"); code != exitPart || !strings.Contains(text, "Stale") {
		t.Fatalf("rotate: %d %s", code, text)
	}
	w.hangUp()
	stale := w.shows(at, "/status.json", `"state":"Stale"`)
	for _, want := range []string{`{"name":"served","text":"`, "serves " + old + ", not " + placed(t, places), `"next":`} {
		if !strings.Contains(stale, want) {
			t.Errorf("/status.json does not say %s:\n%s", want, stale)
		}
	}
	metrics := w.shows(at, "/metrics", `certwright_served_wanted{binding="web",host="local",replica="1"} 0`)
	for _, want := range []string{
		`certwright_binding_state{binding="web",state="Stale"} 1`, `certwright_steps_total{kind="issue",result="done"} 1`,
		`certwright_steps_total{kind="create-ca",result="done"} 1`, "certwright_converged 0\n", `certwright_build_info{goversion="go1.`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("/metrics does not say %s:\n%s", want, metrics)
		}
	}
	alertable(t, metrics)
	page.Says("#picture .node.binding.Stale", "web")
	page.Says("#attention article", "serves "+old+", not "+placed(t, places))
	w.spec(strings.Replace(lying, "reload: {signal: HUP}", "reload: restart", 1))
	w.shows(at, "/metrics", `certwright_served_wanted{binding="web",host="local",replica="1"} 1`)
	w.shows(at, "/metrics", "certwright_converged 1\n")

	page.Says("#picture .node.binding.Ready", "web")
	page.Says("#verdict", "All is settled")

	// A spec that cannot be used is told, without what is in it.
	w.spec("version: 1\nproject: shop\npassphrase: swordfish\n")
	if text := w.shows(at, "/status.json", `"trouble":"spec"`); strings.Contains(text, "swordfish") || !strings.Contains(text, `"state":"Ready"`) {
		t.Errorf("/status.json says %s", text)
	}
	w.shows(at, "/metrics", `certwright_pass_errors_total{cause="spec"} 1`)
	w.shows(at, "/readyz", "tls.yaml cannot be used")
	page.Says("#notices", "tls.yaml cannot be used")
	page.Until("globalThis.never === 'loaded again'")
	if err := w.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-w.ended; err != nil {
		t.Error(err)
	}
	if code, text := w.certwright("health", "--listen", at); code != exitNothing || !strings.Contains(text, "connection refused") {
		t.Errorf("health of a watch that has ended: %d %s", code, text)
	}
}

// TestWatchListenBlind has a store that cannot be read for a while: the bindings are shown as they were seen last, and nobody
// says that nothing is left to do.
func TestWatchListenBlind(t *testing.T) {
	t.Parallel()
	w := startWatch(t, "", watchYAML, "--interval", "1h", "--listen", "127.0.0.1:0")
	at := w.listens()
	w.shows(at, "/status.json", `"converged":true`)
	state := filepath.Join(w.dir, ".certwright", "state")
	good, err := os.ReadFile(state)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(state, good[1:], 0o600); err != nil {
		t.Fatal(err)
	}
	w.hangUp()
	if text := w.shows(at, "/status.json", `"trouble":"pass"`); !strings.Contains(text, `"converged":false`) || !strings.Contains(text, `"state":"Unverified"`) {
		t.Errorf("/status.json says %s", text)
	}
	w.shows(at, "/metrics", "certwright_converged 0\n")
	if err := os.WriteFile(state, good, 0o600); err != nil {
		t.Fatal(err)
	}
	w.hangUp()
	w.shows(at, "/status.json", `"converged":true`)
	w.shows(at, "/metrics", "certwright_converged 1\n")
}

// TestWatchListenPlaces shows what a pass over one binding saw at once, while the next over everything is an hour away. It
// hears of no events: this machine's engine may have others.
func TestWatchListenPlaces(t *testing.T) {
	t.Parallel()
	p := newAllowing(t, dockertest.EngineSocket())
	p.refuses(docker.Call{Method: "GET", Path: "/events"})
	w := newWatch(t, watchYAML+"  other: {identity: web, directory: ./other}\n", "--interval", "1h", "--listen", "127.0.0.1:0")
	w.cmd.Env = append(w.cmd.Env, "DOCKER_HOST=unix://"+p.socket)
	w.start()
	at := w.listens()
	w.shows(at, "/metrics", "certwright_passes_total 1\n")
	w.shows(at, "/metrics", "certwright_converged 1\n")
	key := filepath.Join(w.dir, "web", "key.pem")
	if err := errors.Join(os.Remove(key), os.WriteFile(key, []byte("mine"), 0o600)); err != nil {
		t.Fatal(err)
	}
	w.shows(at, "/metrics", "certwright_passes_total 3\n") // one over web, and as that can do nothing, one over everything
	w.shows(at, "/metrics", "certwright_converged 0\n")
	was := shown(t, at)
	if was.Converged || was.Bindings[0].State != "Blocked" || was.Bindings[0].Causes == nil {
		t.Errorf("/status.json says %+v", was)
	}

	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	w.shows(at, "/metrics", "certwright_passes_total 4\n")
	is := shown(t, at)
	was.Converged, was.Left = true, []leftDocument{}
	was.Bindings[0].State, was.Bindings[0].Reason, was.Bindings[0].Hint, was.Bindings[0].Causes = "Unverified", "no consumer is named", "", nil
	*was.Bindings[0].Conditions.Placed = true
	if diff := cmp.Diff(toJSON(t, was), toJSON(t, is)); diff != "" {
		t.Errorf("/status.json (-want +got):\n%s", diff)
	}
	for _, want := range []string{
		`certwright_binding_state{binding="web",state="Unverified"} 1`, `certwright_binding_state{binding="other",state="Unverified"} 1`,
		`certwright_identity_renewal_timestamp_seconds{identity="web"}`, "certwright_converged 1\n", `certwright_last_pass_trouble{cause="pass"} 0`,
	} {
		w.shows(at, "/metrics", want)
	}
}

// shown is the document of a watch.
func shown(t *testing.T, address string) (d shownDocument) {
	t.Helper()
	_, text := get(t, address, "/status.json")
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// lyingServer makes a server that ignores signals and starts when its files are there. It returns a tls.yaml that keeps it,
// where its files are, and its container.
func lyingServer(t *testing.T) (spec, places, id string) {
	t.Helper()
	places = filepath.Join(t.TempDir(), "certs")
	if err := os.Mkdir(places, 0o755); err != nil {
		t.Fatal(err)
	}
	c := dockertest.Run(t, dockertest.Container{
		Image: dockertest.Image(t, dockertest.GoServer), Name: "lying",
		Cmd: []string{"-reload", "lying"}, Mounts: []mount.Mount{bindMount(places, "/certs")},
	})
	return `version: 1
project: shop
cas:
  internal: {local: {lifetime: 10y}}
identities:
  web: {ca: internal, names: [web]}
bindings:
  web: {identity: web, container: ` + c.Name + ", directory: " + places + `, reload: {signal: HUP}, probe: {port: 8443}}
`, places, c.ID
}

func (w *watched) hangUp() {
	w.t.Helper()
	if err := w.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		w.t.Fatal(err)
	}
}

// TestWatchListenSocket asks at a unix socket, which is gone when watch has ended.
func TestWatchListenSocket(t *testing.T) {
	t.Parallel()
	w := startWatch(t, "", watchYAML, "--listen", "unix:socket")
	w.listens()
	if code, text := w.certwright("health", "--listen", "unix:socket"); code != 0 || !strings.HasPrefix(text, "alive: ") {
		t.Errorf("health: %d %s", code, text)
	}
	c, err := net.Dial("unix", filepath.Join(w.dir, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET /healthz HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if said, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(said), "HTTP/1.0 200 OK") {
		t.Errorf("%s, %v", said, err)
	}
	if err := w.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-w.ended; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(w.dir, "socket")); err == nil {
		t.Error("the socket is still there")
	}
}

// TestShownLeft has a pass over one binding bring up to date what is left of that one, and of no other.
func TestShownLeft(t *testing.T) {
	of, err := spec.Parse([]spec.Input{{Name: "tls.yaml", Data: []byte("version: 1\nproject: shop\ncas: {c: {local: {}}}\nidentities: {i: {ca: c, names: [i]}}\n" +
		"bindings:\n  a: {identity: i, directory: /a}\n  b: {identity: i, directory: /b}\n")}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	saw := func(only []string, beside []reconcile.Refusal, bindings ...reconcile.BindingStatus) *seen {
		return &seen{session: &session{spec: of}, scope: reconcile.Scope{Only: only}, status: reconcile.Status{Bindings: bindings, Beside: beside}}
	}
	var d shownDocument
	first := saw(
		nil, []reconcile.Refusal{{Subject: "host/far", State: reconcile.Failed}},
		reconcile.BindingStatus{Name: "a", State: reconcile.Ready}, reconcile.BindingStatus{Name: "b", State: reconcile.Waiting, Hint: "start it"},
	)
	d.take(first, time.Now())
	d.take(saw([]string{"a"}, nil, reconcile.BindingStatus{Name: "a", State: reconcile.Stale}), time.Now())
	want := []leftDocument{{Subject: "binding/a", State: "Stale"}, {Subject: "binding/b", State: "Waiting", Hint: "start it"}, {Subject: "host/far", State: "Failed"}}
	if diff := cmp.Diff(want, d.Left); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if first.status.Bindings[0].State != reconcile.Ready {
		t.Error("what a pass saw was changed by the next")
	}
}

// TestEndedUnwritten has a pass after which nothing is left to do, and which the store did not take.
func TestEndedUnwritten(t *testing.T) {
	w := &watching{a: &app{env: env{now: time.Now}}, said: map[string]string{}, seen: &seen{session: &session{spec: &spec.Spec{}}}}
	for _, ok := range []bool{true, false, true} {
		if p := w.ended(ok, &shownDocument{}); p.Converged != ok {
			t.Errorf("converged: %t, after a pass that went well: %t", p.Converged, ok)
		}
	}
}
