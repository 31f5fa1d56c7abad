package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// farEngine is a machine with systemd and dockerd that another one, this, reaches over ssh. Of that one only the network is
// shared: it has another file system, and other processes.
type farEngine struct {
	engineMachine
	home string // here
}

// farSSH lets root in by a key, and a user without rights.
const farSSH = `mkdir -p /run/sshd /srv/ssh
cat > /srv/ssh/user.pub
useradd --create-home --shell /bin/sh --password '*' core
ssh-keygen -q -t ed25519 -N '' -f /srv/ssh/host
cat > /srv/ssh/config <<-'E'
ListenAddress 127.0.0.1:22
HostKey /srv/ssh/host
AuthorizedKeysFile /srv/ssh/user.pub
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
E
cat > /etc/systemd/system/ssh.service <<-'E'
[Unit]
DefaultDependencies=no
[Service]
ExecStart=/usr/sbin/sshd -D -e -f /srv/ssh/config
Restart=always
RestartSec=0
KillMode=process
StandardError=append:/run/said
E
systemctl start ssh.service
cat /srv/ssh/host.pub`

func farEngineOf(t *testing.T) farEngine {
	t.Helper()
	dockertest.Servers(t, "sshd", "ssh", "ssh-keygen", "useradd")
	m := farEngine{engineOf(t, "\n  \"hosts\": [\"unix:///run/docker.sock\", \"tcp://ADDRESS:2375\"],", ""), t.TempDir()}
	at := func(name string) string { return filepath.Join(m.home, name) }
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", at("user")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	key, err := os.ReadFile(at("user.pub"))
	if err != nil {
		t.Fatal(err)
	}
	host := m.do("exec <<-'KEY'\n" + string(key) + "KEY\n" + farSSH)
	for name, text := range map[string]string{
		"config": fmt.Sprintf("Host core\nHostName 127.0.0.1\nHostKeyAlias core\nIdentityFile %s\nIdentitiesOnly yes\nUserKnownHostsFile %s\nBatchMode yes\n",
			at("user"), at("known")),
		"known":       "core " + host,
		"bin/ssh":     fmt.Sprintf("#!/bin/sh\nexec /usr/bin/ssh -F %s \"$@\"\n", at("config")),
		"shop/folder": "",
	} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(at(name)), 0o700), os.WriteFile(at(name), []byte(text), 0o700)); err != nil {
			t.Fatal(err)
		}
	}
	m.sshAnswers()
	return m
}

func (m farEngine) sshAnswers() {
	m.t.Helper()
	dockertest.Poll(m.t, dockertest.Patience, "sshd to answer", func() error {
		if out, err := m.here("ssh root@core true"); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}

// here runs commands on this machine, in the network of the other.
func (m farEngine) here(script string) (string, error) {
	c := exec.Command("nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", m.pid), "sh", "-e", "-c", script)
	c.Dir = filepath.Join(m.home, "shop")
	c.Env = append(os.Environ(), "HOME="+c.Dir, "DOCKER_HOST=", "DOCKER_CONFIG=", "DOCKER_CERT_PATH=", "CI=", "PATH="+filepath.Join(m.home, "bin")+":"+os.Getenv("PATH"))
	out, err := c.CombinedOutput()
	return string(out), err
}

func (m farEngine) certwright(code int, args string) string {
	m.t.Helper()
	out, err := m.here("set +e; " + staticBinary(m.t) + " " + args + " 2>&1; echo exit $?")
	return exited(m.t, args, out, err, code)
}

func (m farEngine) spec(text string) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.home, "shop/tls.yaml"), []byte(strings.ReplaceAll(text, "ADDRESS", m.address)), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

// works wants this machine's client to be let in, a stranger refused, and nothing left there but what dockerd needs.
func (m farEngine) works(when string) {
	m.t.Helper()
	if out, err := m.here("docker --context core info --format '{{.Driver}}'"); err != nil || out != "vfs\n" {
		m.t.Errorf("%s: %v\n%s", when, err, out)
	}
	out, err := m.here("docker --tlsverify -H tcp://127.0.0.1:2376 --tlscacert=$(echo .docker/contexts/tls/*/docker/ca.pem) --tlscert= --tlskey= info")
	if err == nil || !strings.Contains(out, "remote error: tls: ") {
		m.t.Errorf("%s, a stranger is let in: %v\n%s", when, err, out)
	}
	m.disarmed(when)
	dockertest.Poll(m.t, 20*time.Second, "the program to be taken away", func() error {
		if out := m.do("ls /tmp/tmp.*/certwright 2>/dev/null || true; ps -e -o args= | grep '[c]ertwright courier' || true"); out != "" {
			return errors.New(out)
		}
		return nil
	})
}

// farSpec is the page's, with a limit on restarts that fail above what a test needs.
func farSpec(t *testing.T) string {
	page := pageOf(t, "engine.md", strings.NewReplacer("[core-02, 10.0.0.12]", "[ADDRESS]", "0.0.0.0:2376", "ADDRESS:2376", "core-02:2376", "ADDRESS:2376", "core-02", "core"))
	return page.files["fleet.yaml"] + "defaults: {limits: {restartsPerHour: 60}}\n"
}

// TestEngineOverSSH leads the dockerd of another machine from plain TCP to mutual TLS by one apply, and on.
func TestEngineOverSSH(t *testing.T) {
	t.Parallel()
	m, farSpec := farEngineOf(t), farSpec(t)
	m.spec(farSpec)
	if plan := m.certwright(exitDone, "plan"); !strings.Contains(plan, "restart docker.service, to read core: /etc/docker/tls/a") {
		t.Errorf("the plan does not say that it restarts:\n%s", plan)
	}
	m.certwright(exitDone, "apply --wait 1m")
	m.works("at first")
	m.certwright(exitDone, "plan --exit-code")
	if out := m.certwright(exitDone, "status --exit-code"); !strings.Contains(out, "engine  Ready") {
		t.Errorf("it is not Ready:\n%s", out)
	}
	if n := m.starts(); n != 2 {
		t.Errorf("it was started %d times", n)
	}
	if _, err := os.Stat("/etc/docker/tls"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("files of the other machine are on this one: %v", err)
	}

	t.Log("a renewal")
	m.certwright(exitDone, "rotate identity/engine")
	m.works("after a renewal")
	if n := m.starts(); n != 3 {
		t.Errorf("it was started %d times", n)
	}

	hook := func(script string) {
		t.Helper()
		m.do("cat > /run/hook <<-'E'\n#!/bin/sh\nrm /run/hook\n" + script + "\nE\nchmod +x /run/hook")
	}
	t.Log("a certificate it cannot start with")
	hook(`echo broken > "$(sed -n 's/.*"tlscert": "\(.*\)",/\1/p' /etc/docker/daemon.json)"`)
	if out := m.certwright(exitPart, "rotate identity/engine"); !strings.Contains(out, "the configuration of before is back, and dockerd runs with it") {
		t.Errorf("it does not say that it is back:\n%s", out)
	}
	m.works("after the way back")
	if n := m.starts(); n != 5 {
		t.Errorf("it was started %d times", n)
	}

	// What runs there is ended by its id: certwright's program if it is to be, and all connections. Nobody gets there any more.
	end := func(words string) string {
		return `for p in /proc/[0-9]*; do case "$(tr '\0' ' ' < $p/cmdline)" in ` + words + `) kill -9 ${p#/proc/};; esac; done 2>/dev/null || true`
	}
	m.do("mkdir -p /etc/systemd/system/certwright-engine-rollback-.timer.d\n" +
		"printf '[Timer]\\nOnActiveSec=\\nOnActiveSec=45s\\n' > /etc/systemd/system/certwright-engine-rollback-.timer.d/test.conf")
	for what, script := range map[string]string{
		"ssh is cut off":                        "systemctl stop ssh.service\n" + end("*sshd*"),
		"ssh is cut off and the program killed": "systemctl stop ssh.service\n" + end("*courier?engine*") + "\n" + end("*sshd*"),
	} {
		t.Log(what)
		starts := m.starts()
		hook(script)
		if out := m.certwright(exitPart, "rotate identity/engine"); !strings.Contains(out, "goes back by itself unless all is well") {
			t.Errorf("%s, and it does not say what that means:\n%s", what, out)
		}
		dockertest.Poll(t, 45*time.Second+time.Minute, "dockerd to go back", func() error {
			if out := m.do("ls -a /etc/docker; systemctl is-active docker.service || true"); strings.Contains(out, "before-certwright") || !strings.Contains(out, "\nactive") {
				return errors.New(out)
			}
			return nil
		})
		m.do("systemctl start ssh.service")
		m.sshAnswers()
		m.works(what)
		if n := m.starts(); n != starts+2 {
			t.Errorf("%s: it was started %d times", what, n-starts)
		}
	}
	m.certwright(exitDone, "apply --wait 1m")
	m.works("in the end")
	m.certwright(exitDone, "plan --exit-code")

	t.Log("ways that lead to no machine")
	if out := m.certwright(exitDone, "plan --no-couriers"); !strings.Contains(out, "which --no-couriers does not bring there") {
		t.Errorf("a look that changes nothing:\n%s", out)
	}
	m.do("systemctl stop ssh.service")
	if out := m.certwright(exitPart, "apply"); !strings.Contains(out, "Failed      the machine of core does not answer: ") {
		t.Errorf("nobody answers there:\n%s", out)
	}
	m.do("systemctl start ssh.service")
	m.sshAnswers()
	m.spec(strings.Replace(farSpec, "ssh://root@core", "ssh://core@core", 1))
	if out := m.certwright(exitDone, "plan"); !strings.Contains(out, `the user "core" that ssh logs in as is not root`) {
		t.Errorf("a user without rights:\n%s", out)
	}
	m.spec(strings.Replace(farSpec, `endpoint: "ssh://root@core"`, "context: core", 1))
	if out := m.certwright(exitDone, "plan"); !strings.Contains(out, "host core is reached at tcp://127.0.0.1:2376, and dockerd is restarted where its service manager is") {
		t.Errorf("a context that leads to a TCP address:\n%s", out)
	}
}
