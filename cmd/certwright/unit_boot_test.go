package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/mount"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// With patienceEnv the test binary is certwright, with another least patience.
const patienceEnv = "CERTWRIGHT_TEST_PATIENCE"

func init() {
	if s := os.Getenv(patienceEnv); s != "" {
		patience, err := time.ParseDuration(s)
		if err != nil {
			panic(err)
		}
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		os.Exit(run(ctx, os.Args[1:], env{
			in: strings.NewReader(""), out: os.Stdout, err: os.Stderr, getenv: os.Getenv, now: time.Now, patience: patience,
		}))
	}
}

// TestUnitRuns does what docs/service.md says, under systemd: within what the unit leaves it, watch places files that are
// another user's, reaches the engine, writes a volume through a courier, and proves a server. What hangs is started again.
func TestUnitRuns(t *testing.T) {
	t.Parallel()
	places, volume := dockertest.Volume(t), dockertest.Volume(t)
	folder := mountpoint(t, places)
	server := dockertest.Run(t, dockertest.Container{
		Image: dockertest.Image(t, dockertest.GoServer), Name: "unit", User: "101:101",
		Cmd:    []string{"-cert", "/certs/cert.pem", "-key", "/certs/key.pem", "-reload", "hot"},
		Mounts: []mount.Mount{bindMount(folder, "/certs")},
	})
	program := staticBinary(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b := boot(t, folder)
	b.dir = repository(t)
	page := pageOf(t, "service.md", strings.NewReplacer(
		"/srv/shop/certs", folder, `owner: "101:101"}`, fmt.Sprintf("owner: \"101:101\", container: %s, reload: none, probe: {port: 8443, timeout: 1s}}\n  beside: {identity: web, volume: %s}", server.Name, volume),
	))
	b.do("cp " + program + " /usr/local/bin/built")
	b.do(page.file(t, "tls.yaml") + page.file(t, "places.conf"))
	b.do("go() { cp /usr/local/bin/built certwright; }\n" + page.sh[0])
	b.do("install -D -m 644 /dev/stdin /etc/systemd/system/certwright.service.d/log.conf <<-'EOF'\n[Service]\nStandardError=append:/run/said\nEOF")
	t.Cleanup(func() {
		if t.Failed() {
			said, _ := b.run("cat /run/said; systemctl --no-pager status certwright certwright-apply")
			t.Log(said)
		}
	})
	t.Log(b.do(page.sh[1]))
	dockertest.Start(t, server.ID)
	b.await(watchUnit, "StatusText", "2 bindings: 1 Ready, 1 Unverified")
	if is := b.property(watchUnit, "ActiveState"); is != "active" {
		t.Errorf("it is %s", is)
	}
	info, err := os.Stat(filepath.Join(folder, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if st := info.Sys().(*syscall.Stat_t); st.Uid != 101 || st.Gid != 101 || info.Mode().Perm() != 0o600 {
		t.Errorf("key.pem is %v of %d:%d", info.Mode(), st.Uid, st.Gid)
	}
	if _, err := os.Stat(filepath.Join(mountpoint(t, volume), "key.pem")); err != nil {
		t.Errorf("nothing is in the volume: %v", err)
	}
	status := b.do("cat /proc/" + b.property(watchUnit, "MainPID") + "/status")
	for _, want := range []string{"CapBnd:\t000000000000000b\n", "CapEff:\t000000000000000b\n", "NoNewPrivs:\t1\n", "Seccomp:\t2\n"} {
		if !strings.Contains(status, want) {
			t.Errorf("its process is not as bounded as the unit says: no %q in\n%s", want, status)
		}
	}

	b.do("rm " + folder + "/cert.pem && systemctl reload certwright")
	dockertest.Poll(t, time.Minute, "the pass that reload makes", func() error {
		_, err := os.Stat(filepath.Join(folder, "cert.pem"))
		return err
	})

	t.Log("a pass may be longer than the watchdog's time, and one that hangs is ended")
	b.do("cp " + self + " /usr/local/bin/impatient")
	b.do(fmt.Sprintf("install -D -m 644 /dev/stdin /etc/systemd/system/certwright.service.d/impatient.conf <<-'EOF'\n[Service]\nWatchdogSec=3s\nEnvironment=%s=9s\n"+
		"ExecStart=\nExecStart=/usr/local/bin/impatient -f /etc/certwright/tls.yaml watch --interval 1s\nEOF\nsystemctl daemon-reload; systemctl restart certwright", patienceEnv))
	b.await(watchUnit, "StatusText", "2 bindings: 1 Ready, 1 Unverified")
	process := b.property(watchUnit, "MainPID")
	slow := fmt.Sprintf(`sh, -c, "sleep 6; touch %s/slept; cat ${CREDENTIALS_DIRECTORY}/passphrase"`, folder)
	b.do("sed -i 's|passphrase: .*|passphrase: {command: [" + slow + "]}|' /etc/certwright/tls.yaml")
	dockertest.Poll(t, time.Minute, "a pass of six seconds", func() error {
		_, err := os.Stat(filepath.Join(folder, "slept"))
		return err
	})
	b.await(watchUnit, "StatusText", "2 bindings: 1 Ready, 1 Unverified")
	if is := b.property(watchUnit, "MainPID"); is != process {
		t.Errorf("it was ended, and is process %s instead of %s", is, process)
	}
	b.do("mkfifo /etc/certwright/next && mv /etc/certwright/next /etc/certwright/tls.yaml")
	b.within(time.Minute, watchUnit, "Result", "watchdog")
	b.do("install -m 600 tls.yaml /etc/certwright/")
	b.within(time.Minute, watchUnit, "NRestarts", "1")
	b.await(watchUnit, "ActiveState", "active")

	b.do("systemctl disable --now certwright")
	if is := b.property(watchUnit, "Result"); is != "success" {
		t.Errorf("it ends with %s", is)
	}

	t.Log("the timer, and what it starts")
	b.do("rm " + folder + "/cert.pem")
	b.do(page.sh[2])
	b.await("certwright-apply.timer", "SubState", "waiting")
	b.do("systemctl start certwright-apply")
	if _, err := os.Stat(filepath.Join(folder, "cert.pem")); err != nil {
		t.Errorf("apply has not placed it: %v", err)
	}
}

// page is what a page of docs has in its blocks.
type page struct {
	files map[string]string
	sh    []string
}

func pageOf(t *testing.T, name string, change *strings.Replacer) page {
	t.Helper()
	p := page{files: map[string]string{}}
	for _, b := range blocks(t, "../../docs/"+name) {
		kind, file, _ := strings.Cut(b.info, " ")
		text := change.Replace(b.text)
		switch {
		case file != "":
			p.files[file] = text
		case kind == "sh":
			p.sh = append(p.sh, text)
		}
	}
	return p
}

// file is the command that writes a file of a page.
func (p page) file(t *testing.T, name string) string {
	t.Helper()
	text, ok := p.files[name]
	if !ok {
		t.Fatalf("the page has no %s", name)
	}
	return fmt.Sprintf("cat > %s <<'END'\n%sEND\n", name, text)
}
