package docker

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/certwright/certwright/providers/docker/dockertest"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// script runs a shell script as the first process of a container. It ends on TERM at once.
func script(t *testing.T, c dockertest.Container, text string) reconcile.Target {
	t.Helper()
	c.Image, c.Name, c.Start = dockertest.Image(t, dockertest.Curl), "reload", true
	c.Cmd = []string{"sh", "-c", `trap 'exit 0' TERM; ` + text + `; while :; do sleep 60 & wait $!; done`}
	made := dockertest.Run(t, c)
	return reconcile.Target{Host: "local", Kind: "container", Name: made.Name, ID: made.ID}
}

// expect compares an error with what it must say; "" is success.
func expect(t *testing.T, err error, says string) {
	t.Helper()
	switch {
	case says == "" && err != nil:
		t.Errorf("error: %v", err)
	case says != "" && (err == nil || !strings.Contains(err.Error(), says)):
		t.Errorf("error %v, want %q", err, says)
	}
}

// settleFor lets a container that must die be watched until it has: on a busy machine that takes a while.
func settleFor(says string) time.Duration {
	if says == "" {
		return 500 * time.Millisecond
	}
	return 30 * time.Second
}

// TestSignal sends HUP to containers that live on, exit, and exit under a restart policy.
func TestSignal(t *testing.T) {
	e, _ := engine(t)
	engines := Engines{"local": e}
	for _, c := range []struct {
		name, script string
		policy       container.RestartPolicyMode
		how          spec.Reload
		says, logs   string
	}{
		{"taken", `trap 'echo took it' HUP; echo ready`, "", spec.Reload{Signal: "HUP"}, "", "took it"},
		{"by preset", `trap 'echo took it' HUP; echo ready`, "", spec.Reload{Preset: "nginx"}, "", "took it"},
		{"another", `trap 'echo took it' USR2; echo ready`, "", spec.Reload{Signal: "USR2"}, "", "took it"},
		{"fatal", `trap 'echo no key; exit 7' HUP; echo ready`, "", spec.Reload{Signal: "HUP"}, "exited on it with code 7; it last said: no key", ""},
		{"hidden by a restart", `trap 'exit 7' HUP; echo ready`, container.RestartPolicyAlways, spec.Reload{Signal: "HUP"}, "the container exited on it", ""},
		{"not allowed", `echo ready`, "", spec.Reload{Signal: "KILL"}, `signal "KILL" is not one of`, "ready"},
		{"no preset", `echo ready`, "", spec.Reload{Preset: "mystery"}, `preset "mystery"`, "ready"},
		{"none", `trap 'echo took it' HUP; echo ready`, "", spec.Reload{None: true}, "", "ready"},
	} {
		t.Run(c.name, func(t *testing.T) {
			target := script(t, dockertest.Container{Restart: c.policy}, c.script)
			logged(t, target.ID, "ready")
			e.settle = settleFor(c.says)
			expect(t, engines.Reload(soon(t), target, c.how, reconcile.ReloadEnv{}), c.says)
			if c.logs != "" {
				logged(t, target.ID, c.logs)
			}
		})
	}
	stopped := dockertest.Run(t, dockertest.Container{Image: dockertest.Image(t, dockertest.Curl), Name: "stopped"})
	err := engines.Reload(soon(t), reconcile.Target{Host: "local", Name: stopped.Name, ID: stopped.ID}, spec.Reload{Signal: "HUP"}, reconcile.ReloadEnv{})
	expect(t, err, "is not running")
}

func logged(t *testing.T, id, line string) {
	t.Helper()
	dockertest.Poll(t, 10*time.Second, line, func() error {
		if log := dockertest.Logs(t, id); !strings.Contains(log, line) {
			return errorf("log: %q", log)
		}
		return nil
	})
}

func TestExec(t *testing.T) {
	e, _ := engine(t)
	target := script(t, dockertest.Container{}, "echo ready")
	for _, c := range []struct {
		name string
		how  spec.Reload
		says string
	}{
		{"succeeds", spec.Reload{Exec: []string{"sh", "-c", "[ $(id -u) = 100 ]"}}, ""},
		{"as a user", spec.Reload{Exec: []string{"sh", "-c", "[ $(id -u) = 0 ]"}, ExecUser: "0:0"}, ""},
		{"is no shell", spec.Reload{Exec: []string{"cat", "$HOME;"}}, "exit code 1: cat: '$HOME;': No such file"},
		{"fails", spec.Reload{Exec: []string{"sh", "-c", "echo bad key >&2; exit 3"}}, "exit code 3: bad key"},
		{"says nothing", spec.Reload{Exec: []string{"sh", "-c", "exit 4"}}, "exit code 4"},
		{"is not there", spec.Reload{Exec: []string{"/nonexistent"}}, "/nonexistent"},
		{"takes too long", spec.Reload{Exec: []string{"sleep", "5"}, Timeout: 300 * time.Millisecond}, "not done in 300ms"},
		{"goes on in silence", spec.Reload{Exec: []string{"sh", "-c", "exec >/dev/null 2>&1; sleep 5"}, Timeout: 300 * time.Millisecond}, "not done in 300ms"},
	} {
		t.Run(c.name, func(t *testing.T) {
			start := time.Now()
			expect(t, e.Reload(soon(t), target, c.how, reconcile.ReloadEnv{}), c.says)
			if took := time.Since(start); took > 4*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
	err := e.Reload(soon(t), target, spec.Reload{Exec: []string{"sh", "-c", "while echo " + strings.Repeat("x", 99) + "; do :; done & sleep 0.2; kill $!; exit 1"}}, reconcile.ReloadEnv{})
	if err == nil || len(err.Error()) > 500 {
		t.Errorf("endless output: %v", err)
	}
}

func TestRestart(t *testing.T) {
	e, _ := engine(t)
	check := func(test string) *container.HealthConfig {
		return &container.HealthConfig{Test: []string{"CMD", "sh", "-c", test}, Interval: 100 * time.Millisecond, Retries: 100}
	}
	sick := check("exit 1")
	sick.Retries = 2
	crash := `[ -e /tmp/ran ] && echo cannot load key && exit 9; : > /tmp/ran`
	for _, c := range []struct {
		name, script string
		health       *container.HealthConfig
		policy       container.RestartPolicyMode
		says         string
	}{
		{"without a health check", "echo ready", nil, "", ""},
		{"healthy after a second", "echo no > /tmp/up; sleep 1; echo yes > /tmp/up; echo ready", check(`[ "$(cat /tmp/up)" = yes ]`), "", ""},
		{"never healthy", "echo ready", sick, "", "is unhealthy after the restart"},
		{"crashes", crash + "; echo ready", nil, "", "exited with code 9 after the restart; it last said: cannot load key"},
		{
			"the cause is not the last line", `[ -e /tmp/ran ] && echo 'FATAL: cannot load key' && echo 'database system is shut down' && exit 9; : > /tmp/ran; echo ready`,
			nil, "", "exited with code 9 after the restart; it last said: FATAL: cannot load key",
		},
		{"crashes again and again", crash + "; echo ready", nil, container.RestartPolicyAlways, "after the restart; it last said: cannot load key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			target := script(t, dockertest.Container{Health: c.health, Restart: c.policy}, c.script)
			logged(t, target.ID, "ready")
			before := dockertest.Inspect(t, target.ID).State.StartedAt
			e.settle = settleFor(c.says)
			expect(t, e.Reload(soon(t), target, spec.Reload{Restart: true}, reconcile.ReloadEnv{}), c.says)
			after := dockertest.Inspect(t, target.ID).State
			if after.StartedAt == before {
				t.Error("it was not restarted")
			}
			if c.says == "" && (!after.Running || c.health != nil && after.Health.Status != container.Healthy) {
				t.Errorf("afterwards: %+v", after)
			}
		})
	}
	t.Run("not in time", func(t *testing.T) {
		target := script(t, dockertest.Container{Health: check("exit 1")}, "echo ready")
		logged(t, target.ID, "ready")
		ctx, cancel := contextFor(t, 8*time.Second) // the restart itself has to fit in
		defer cancel()
		err := e.Reload(ctx, target, spec.Reload{Restart: true}, reconcile.ReloadEnv{})
		expect(t, err, "it is not healthy yet")
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
}

// TestSignalToASilentEngine has an engine that takes the request to wait for a container and never answers it.
func TestSignalToASilentEngine(t *testing.T) {
	t.Parallel() // it takes the whole of answerTimeout
	silent := filepath.Join(t.TempDir(), "silent.sock")
	l, err := net.Listen("unix", silent)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	e := New("local", Options{Endpoint: "unix://" + silent, Getenv: func(string) string { return "" }})
	ctx, cancel := contextFor(t, 2*answerTimeout)
	defer cancel()
	if err := e.signal(ctx, "cafe", "HUP"); !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		t.Errorf("got %v, and the context says %v", err, ctx.Err())
	}
}
