package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// engineMachine is a machine with systemd, and a dockerd that listens on its loopback.
type engineMachine struct {
	*booted
	address string
}

// The engine runs no containers: all it needs is its sockets. It can be asked about its configuration, as one of 23.0 can. starts has a line for each time it started.
const engineScript = `umount /run/docker.sock; rm -f /run/docker.sock
cp %s /usr/local/bin/certwright
mkdir -p /etc/docker /srv/shop
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=stranger -keyout /srv/foreign-key.pem -out /srv/foreign.pem 2>/dev/null
cat > /etc/docker/daemon.json
cat > /usr/local/bin/dockerd <<-'E'
#!/bin/sh
case " $* " in
*" --help "*) echo "      --validate   Validate daemon configuration and exit";;
*" --validate "*) [ ! -e /run/invalid ];;
*) exec /usr/sbin/dockerd "$@";;
esac
E
chmod +x /usr/local/bin/dockerd
cat > /etc/systemd/system/docker.service <<-'E'
[Unit]
DefaultDependencies=no
[Service]
Type=notify
ExecStartPre=/bin/sh -c 'echo x >> /run/starts; [ ! -x /run/hook ] || /run/hook'
ExecStart=/usr/local/bin/dockerd %s
Restart=no
StandardError=append:/run/said
E
systemctl daemon-reload
systemctl start docker.service`

// engineOf boots a machine whose dockerd has a configuration file with more in it than what listens, and flags of its unit.
func engineOf(t *testing.T, hosts, flags string) engineMachine {
	t.Helper()
	dockertest.Servers(t, "dockerd", "docker", "openssl")
	program := staticBinary(t)
	m := engineMachine{booted: bootAlone(t), address: "127.0.0.1"}
	t.Cleanup(func() {
		if t.Failed() {
			said, _ := m.run("ps -e -o pid,ppid,etimes,stat,wchan:30,args; tail -n 30 /run/said; cat /etc/docker/daemon.json; systemctl --no-pager cat docker.service; systemctl --no-pager status docker.service")
			t.Log(said)
		}
		if out, err := m.run("systemctl stop docker.service"); err != nil {
			t.Errorf("stop dockerd: %v\n%s", err, out)
		}
	})
	file := fmt.Sprintf(`{
  "storage-driver": "vfs", "data-root": "/run/data",
  "bridge": "none", "iptables": false, "ip-forward": false, "ip-masq": false,%s
  "labels": ["kept=1.50"]
}`, strings.ReplaceAll(hosts, "ADDRESS", m.address))
	m.do(fmt.Sprintf("cat > /srv/daemon.json <<-'E'\n%s\nE\n", file))
	m.dir = "/srv"
	m.do("exec < /srv/daemon.json\n" + fmt.Sprintf(engineScript, program, strings.ReplaceAll(flags, "ADDRESS", m.address)))
	m.dir = "/srv/shop"
	return m
}

// spec writes tls.yaml; ADDRESS is where the engine listens.
func (m engineMachine) spec(text string) {
	m.t.Helper()
	m.do("cat > tls.yaml <<-'E'\n" + strings.ReplaceAll(text, "ADDRESS", m.address) + "\nE\n")
}

// certwright runs the program there, and wants an exit code.
func (m engineMachine) certwright(code int, args string) string {
	m.t.Helper()
	out, err := m.run("export HOME=/srv/shop DOCKER_HOST= DOCKER_CONFIG= CI=\nset +e; certwright " + args + " 2>&1; echo exit $?")
	return exited(m.t, args, out, err, code)
}

// exited wants a script to have ended well whose last line is the exit code of certwright.
func exited(t *testing.T, args, out string, err error, code int) string {
	t.Helper()
	if err != nil || !strings.HasSuffix(out, fmt.Sprintf("exit %d\n", code)) {
		t.Fatalf("certwright %s: want exit %d, %v\n%s", args, code, err, out)
	}
	note(out)
	return out
}

// crash applies in a process that is killed at an effect, see crashEnv.
func (m engineMachine) crash(at string) {
	m.t.Helper()
	self, err := os.Executable()
	if err != nil {
		m.t.Fatal(err)
	}
	out, err := m.run(fmt.Sprintf("export HOME=/srv/shop DOCKER_HOST= DOCKER_CONFIG= CI= '%s=%s' %s=/run/crashed %s=%s\nset +e; %s -f tls.yaml apply 2>&1; echo exit $?",
		crashEnv, at, crashedEnv, crashNowEnv, time.Now().Format(time.RFC3339Nano), self))
	if err != nil || !strings.HasSuffix(out, "exit 137\n") {
		m.t.Fatalf("it was not killed at %s: %v\n%s", at, err, out)
	}
	note(out)
}

// docker runs the real client there, as somebody whose configuration certwright writes.
func (m engineMachine) docker(script string) (string, error) {
	return m.run("export HOME=/srv/shop DOCKER_HOST= DOCKER_CONFIG= DOCKER_CERT_PATH= DOCKER_TLS_VERIFY=\n" + strings.ReplaceAll(script, "ADDRESS", m.address))
}

// works wants the client to be let in in every way there is.
func (m engineMachine) works(when string) {
	m.t.Helper()
	for how, script := range map[string]string{
		"context":          "docker --context core",
		"DOCKER_CERT_PATH": `eval "$(certwright env ops)"; docker`,
		"flags":            "docker --tlsverify -H tcp://ADDRESS:2376",
	} {
		if out, err := m.docker(script + " info --format '{{.Driver}}'"); err != nil || out != "vfs\n" {
			m.t.Errorf("%s, by %s: %v\n%s", when, how, err, out)
		}
	}
}

// refused wants clients without a certificate, and with one of a CA the engine does not know, to be refused.
func (m engineMachine) refused(when string) {
	m.t.Helper()
	for who, flags := range map[string]string{
		"nobody":     "--tlscert= --tlskey=",
		"a stranger": "--tlscert=/srv/foreign.pem --tlskey=/srv/foreign-key.pem",
	} {
		out, err := m.docker("docker --tlsverify -H tcp://ADDRESS:2376 --tlscacert=/srv/shop/.docker/ca.pem " + flags + " info")
		if err == nil || !strings.Contains(out, "remote error: tls: ") {
			m.t.Errorf("%s, %s is let in: %v\n%s", when, who, err, out)
		}
	}
}

// starts is how often dockerd was started.
func (m engineMachine) starts() int {
	m.t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(m.do("wc -l < /run/starts")))
	if err != nil {
		m.t.Fatal(err)
	}
	return n
}

// disarmed wants nothing there that goes back by itself.
func (m engineMachine) disarmed(when string) {
	m.t.Helper()
	if out := m.do("systemctl list-units --no-legend 'certwright*'; find /etc/docker /etc/systemd/system -name '*certwright-back' -o -name '*before-certwright'"); out != "" {
		m.t.Errorf("%s, of a way back are left:\n%s", when, out)
	}
}

const engineSpec = `version: 1
project: shop
cas:
  internal: {local: {lifetime: 10y}}
  next: {local: {lifetime: 10y}}
identities:
  engine: {ca: internal, names: [ADDRESS]}
  ops: {ca: internal, usages: [client]}
bindings:
  engine: {identity: engine, engine: {listen: ["tcp://ADDRESS:2376"], allowRestart: true}}
  ops: {identity: ops, context: {name: core, endpoint: "tcp://ADDRESS:2376"}}
  laptop: {identity: ops, context: {name: default, endpoint: "tcp://ADDRESS:2376"}}`

// TestEngine leads a real dockerd under systemd from plain TCP to mutual TLS by one apply, and on: to the next certificate, to
// another CA, and back when it cannot start. Each is one restart.
func TestEngine(t *testing.T) {
	t.Parallel()
	m := engineOf(t, "\n  \"hosts\": [\"unix:///run/docker.sock\", \"tcp://ADDRESS:2375\"],", "")
	if out, err := m.docker("docker -H tcp://ADDRESS:2375 info --format '{{.Driver}}'"); err != nil {
		t.Fatalf("it is not reached in plain: %v\n%s", err, out)
	}
	m.spec(engineSpec)
	if out := m.certwright(exitDone, "status"); !strings.Contains(out, "local  "+m.address+":2375 lets anybody in, without TLS") {
		t.Errorf("status does not say that it is open:\n%s", out)
	}
	plan := m.certwright(exitDone, "plan")
	if !strings.Contains(plan, "restart docker.service, to read /etc/docker/tls/a") || !strings.Contains(plan, "interrupting binding/engine") {
		t.Errorf("the plan does not say that it restarts:\n%s", plan)
	}
	page := pageOf(t, "engine.md", strings.NewReplacer("[core-02, 10.0.0.12]", "[ADDRESS]", "0.0.0.0:2376", "ADDRESS:2376", "core-02:2376", "ADDRESS:2376"))
	m.do("cat > core-02.yaml <<-'E'\n" + strings.ReplaceAll(page.files["core-02.yaml"], "ADDRESS", m.address) + "\nE\n")
	if out, err := m.docker(page.sh[1]); err != nil || !strings.Contains(out, "Storage Driver: vfs") {
		t.Fatalf("what the page says: %v\n%s", err, out)
	}
	m.certwright(exitDone, "apply") // more clients, and no restart
	m.works("at first")
	m.refused("at first")
	m.disarmed("at first")
	if out, err := m.docker("docker -H tcp://ADDRESS:2375 info"); err == nil {
		t.Errorf("it is still reached in plain:\n%s", out)
	}
	if out := m.do("cat /etc/docker/daemon.json"); !strings.Contains(out, `"kept=1.50"`) || !strings.Contains(out, `"unix:///run/docker.sock"`) {
		t.Errorf("what else stood in its file is not there:\n%s", out)
	}
	if out := m.certwright(exitDone, "status"); !strings.Contains(out, "Ready") || strings.Contains(out, "root there") {
		t.Errorf("it is not Ready, or open:\n%s", out)
	}
	m.certwright(exitDone, "plan --exit-code")
	if n := m.starts(); n != 2 {
		t.Errorf("it was started %d times", n)
	}

	t.Log("a renewal")
	m.certwright(exitDone, "rotate identity/engine")
	m.works("after a renewal")
	if n := m.starts(); n != 3 {
		t.Errorf("it was started %d times", n)
	}
	if out := m.do("ls /etc/docker/tls/a /etc/docker/tls/b; ls -a /etc/docker"); strings.Count(out, "key.pem") != 1 || strings.Contains(out, "before-certwright") {
		t.Errorf("more is left than it needs:\n%s", out)
	}

	t.Log("another CA")
	m.spec(strings.NewReplacer("ca: internal, names", "ca: next, names", "ca: internal, usages", "ca: next, usages").Replace(engineSpec))
	m.certwright(exitDone, "apply")
	m.works("after a change of its CA")
	m.refused("after a change of its CA")
	if n := m.starts(); n != 4 {
		t.Errorf("it was started %d times", n)
	}

	t.Log("a certificate it cannot start with")
	m.do(`cat > /run/hook <<-'E'
#!/bin/sh
rm /run/hook
echo broken > "$(sed -n 's/.*"tlscert": "\(.*\)",/\1/p' /etc/docker/daemon.json)"
E
chmod +x /run/hook`)
	out := m.certwright(exitPart, "rotate identity/engine")
	if !strings.Contains(out, "the configuration of before is back, and dockerd runs with it") {
		t.Errorf("it does not say that it is back:\n%s", out)
	}
	m.works("after the way back")
	m.refused("after the way back")
	if n := m.starts(); n != 6 {
		t.Errorf("it was started %d times", n)
	}
	m.certwright(exitDone, "apply")
	m.works("at the second try")
	if n := m.starts(); n != 7 {
		t.Errorf("it was started %d times", n)
	}

	t.Log("a clash of the file and the unit")
	m.do("mkdir -p /etc/systemd/system/docker.service.d\n" +
		"printf '[Service]\\nExecStart=\\nExecStart=/usr/sbin/dockerd -H fd://\\n' > /etc/systemd/system/docker.service.d/override.conf\nsystemctl daemon-reload")
	out = m.certwright(exitPart, "apply")
	for _, want := range []string{"hosts is in /etc/docker/daemon.json:", "-H in /etc/systemd/system/docker.service.d/override.conf:3", "take one of the two away"} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
	if n := m.starts(); n != 7 {
		t.Errorf("it was started %d times", n)
	}
}

// TestEngineFlags has a unit that says where dockerd listens, and a TLS that lets in everybody. The unit gets a drop-in, once.
// Whenever certwright is killed, the next run brings the engine back.
func TestEngineFlags(t *testing.T) {
	t.Parallel()
	m := engineOf(t, "", "-H unix:///run/docker.sock -H tcp://ADDRESS:2376 --tls --tlsverify=false --tlscacert=/srv/foreign.pem --tlscert=/srv/foreign.pem --tlskey=/srv/foreign-key.pem --max-concurrent-uploads=3")
	m.spec(engineSpec)
	if out := m.certwright(exitDone, "status"); !strings.Contains(out, "local  "+m.address+":2376 lets in clients without a certificate") {
		t.Errorf("status does not say that it is open:\n%s", out)
	}
	if plan := m.certwright(exitDone, "plan"); !strings.Contains(plan, "/etc/systemd/system/docker.service:6 says some of it itself") {
		t.Errorf("the plan does not say why the unit changes:\n%s", plan)
	}
	if out := m.certwright(exitDone, "-v apply --wait 1m"); strings.Count(out, "systemctl daemon-reload") != 1 {
		t.Errorf("systemd was not told of a drop-in, or more than once:\n%s", out)
	}
	m.works("at first")
	m.refused("at first")
	dropIn := m.do("cat /etc/systemd/system/docker.service.d/zz-certwright.conf")
	if !strings.HasSuffix(dropIn, "[Service]\nExecStart=\nExecStart=/usr/local/bin/dockerd --max-concurrent-uploads=3\n") {
		t.Errorf("the drop-in is\n%s", dropIn)
	}
	if out := m.certwright(exitDone, "-v rotate identity/engine"); strings.Contains(out, "daemon-reload") || strings.Count(out, "systemctl restart docker.service") != 1 {
		t.Errorf("a renewal does more than restart, or less:\n%s", out)
	}

	t.Log("a configuration that dockerd says it would not take")
	before := m.starts()
	m.do("touch /run/invalid")
	if out := m.certwright(exitPart, "rotate identity/engine"); !strings.Contains(out, "its configuration is as it was, and nothing was restarted") {
		t.Errorf("it does not say that it asked:\n%s", out)
	}
	m.do("rm /run/invalid")
	m.works("while it waits")
	m.certwright(exitDone, "apply --wait 1m")
	if n := m.starts(); n != before+1 {
		t.Errorf("it was started %d times", n-before)
	}

	hook := func(script string) {
		t.Helper()
		m.do("cat > /run/hook <<-'E'\n#!/bin/sh\nrm /run/hook\n" + script + "\nE\nchmod +x /run/hook")
	}
	killed := func() {
		t.Helper()
		out, err := m.run("export HOME=/srv/shop DOCKER_HOST= DOCKER_CONFIG= CI=\nset +e; sh -c 'echo $$ > /run/pid; exec certwright rotate identity/engine' 2>&1; echo exit $?")
		if err != nil || !strings.Contains(out, "exit 137\n") {
			t.Fatalf("it was not killed: %v\n%s", err, out)
		}
		note(out)
	}
	settled := func(when string) {
		t.Helper()
		if out := m.do("ls -a /etc/docker"); strings.Contains(out, "before-certwright") {
			t.Errorf("%s, what was there before is still kept:\n%s", when, out)
		}
	}
	t.Log("killed while dockerd starts")
	hook("kill -9 $(cat /run/pid)")
	killed()
	m.await("docker.service", "ActiveState", "active")
	m.works("after a kill")
	starts := m.starts()
	m.certwright(exitDone, "apply --wait 1m")
	if n := m.starts(); n != starts {
		t.Errorf("what runs as it should was started %d times more", n-starts)
	}
	settled("after a kill")

	t.Log("killed while dockerd fails to start")
	hook("kill -9 $(cat /run/pid)\n" + `echo broken > "$(sed -n 's/.*"tlskey": "\(.*\)",\?/\1/p' /etc/docker/daemon.json)"`)
	killed()
	m.await("docker.service", "ActiveState", "failed")
	m.certwright(exitDone, "-H unix:///run/docker.sock apply --wait 1m") // that it does not answer is no reason to leave it so
	m.works("after a kill that left it down")
	m.refused("after a kill that left it down")
	m.certwright(exitDone, "plan --exit-code")
	settled("after a kill that left it down")

	m.spec(strings.Replace(engineSpec, "bindings:", "defaults: {limits: {restartsPerHour: 60}}\nbindings:", 1)) // one that is killed counts
	boot := "systemctl stop 'certwright-engine-rollback-*.timer'; systemctl daemon-reload; systemctl reset-failed docker.service; systemctl restart docker.service"
	for _, row := range []struct {
		after  string // the effect that certwright is killed after, and the how manieth of its kind
		back   bool   // on its way back, since dockerd did not start
		then   string
		starts int // by the next run
	}{
		{"1.after.rename .daemon.json.before-certwright", false, "", 1},
		{"1.after.rename .daemon.json.certwright-back", false, "", 1},
		{"1.after.systemd-run", false, "", 1},
		{"1.after.systemd-run", false, boot, 1},
		{"1.after.rename zz-certwright.conf", false, "", 1},
		{"1.after.systemctl daemon-reload", false, "", 1},
		{"1.after.systemctl daemon-reload", false, boot, 1},
		{"1.after.rename daemon.json", false, "", 1},
		{"1.after.rename daemon.json", false, boot, 0},
		{"1.after.systemctl restart", false, "", 0},
		{"2.after.systemctl stop", false, "", 0},
		{"2.after.systemctl stop", false, boot, 0},
		{"1.after.remove .daemon.json.certwright-back", false, "", 0},
		{"2.after.rename daemon.json", true, "", 1},
		{"2.after.systemctl daemon-reload", true, boot, 1},
	} {
		when := "killed " + row.after + ", " + row.then
		t.Log(when)
		m.do("rm -rf /etc/systemd/system/docker.service.d; cp /srv/daemon.json /etc/docker/daemon.json\n" + boot)
		if row.back {
			hook(`echo broken > "$(sed -n 's/.*"tlskey": "\(.*\)",\?/\1/p' /etc/docker/daemon.json)"`)
		}
		m.crash(row.after)
		m.do(row.then)
		starts := m.starts()
		if out := m.certwright(exitDone, "-v -H unix:///run/docker.sock apply --wait 1m"); strings.Contains(out, "nothing was restarted") {
			t.Errorf("%s: not at the first try:\n%s", when, out)
		}
		if n := m.starts(); n != starts+row.starts {
			t.Errorf("%s: it was started %d times more", when, n-starts)
		}
		m.works(when)
		settled(when)
		m.disarmed(when)
		if out := m.do("cat /etc/docker/daemon.json"); !strings.Contains(out, `"unix:///run/docker.sock"`) {
			t.Errorf("%s, it does not listen on its socket any more:\n%s", when, out)
		}
	}
}

// TestEngineBackByItself kills certwright while it changes dockerd, and does not run it again: the machine's own systemd brings
// back what was there, and restarts dockerd if that has something else.
func TestEngineBackByItself(t *testing.T) {
	t.Parallel()
	m := engineOf(t, "", "-H unix:///run/docker.sock -H tcp://ADDRESS:2376 --tls --tlsverify=false --tlscacert=/srv/foreign.pem --tlscert=/srv/foreign.pem --tlskey=/srv/foreign-key.pem")
	m.spec(strings.Replace(engineSpec, "bindings:", "defaults: {limits: {restartsPerHour: 60}}\nbindings:", 1))
	timer := func(after string) {
		t.Helper()
		m.do("mkdir -p /etc/systemd/system/certwright-engine-rollback-.timer.d\nprintf '[Timer]\\nOnActiveSec=\\nOnActiveSec=" + after +
			"\\n' > /etc/systemd/system/certwright-engine-rollback-.timer.d/test.conf")
	}
	hook := func(file, with string) {
		t.Helper()
		m.do("cat > /run/hook <<-'E'\n#!/bin/sh\nrm /run/hook\n" + with + ` > "$(sed -n 's/.*"tls` + file + `": "\(.*\)",\?/\1/p' /etc/docker/daemon.json)"` + "\nE\nchmod +x /run/hook")
	}
	back := func(when string, starts int) {
		t.Helper()
		dockertest.Poll(t, 45*time.Second+time.Minute, "dockerd to go back by itself", func() error {
			if out := m.do("systemctl list-units --no-legend 'certwright*'"); out != "" {
				return errors.New(out)
			}
			return nil
		})
		m.disarmed(when)
		if is := m.property("docker.service", "ActiveState"); is != "active" {
			t.Errorf("%s: dockerd is %s", when, is)
		}
		if n := m.starts(); n != starts {
			t.Errorf("%s: it was started %d times", when, n)
		}
	}
	before := m.do("cat /etc/docker/daemon.json")
	timer("30s")
	for _, row := range []struct {
		after string
		more  int // restarts
	}{
		{"1.after.rename daemon.json", 0},
		{"1.after.systemctl restart", 2},
	} {
		starts := m.starts()
		m.crash(row.after)
		if out := m.do(pageOf(t, "engine.md", strings.NewReplacer()).sh[2]); !strings.Contains(out, "1 timers listed") || !strings.Contains(out, "mv -fT") {
			t.Errorf("killed %s, it is not seen that it goes back:\n%s", row.after, out)
		}
		back("killed "+row.after+" at first", starts+row.more)
		if now := m.do("cat /etc/docker/daemon.json; cat /etc/systemd/system/docker.service.d/* 2>&1 || true"); !strings.HasPrefix(now, before) || !strings.Contains(now, "No such file") {
			t.Errorf("killed %s, it is configured with\n%s", row.after, now)
		}
		if out, err := m.docker("docker -H tcp://ADDRESS:2376 --tls info --format '{{.Driver}}'"); err != nil || out != "vfs\n" {
			t.Errorf("killed %s, it is not what it was: %v\n%s", row.after, err, out)
		}
	}
	m.certwright(exitDone, "apply --wait 1m")
	m.works("at first")
	m.disarmed("at first")
	configured := m.do("cat /etc/docker/daemon.json")

	for _, row := range []struct {
		what, file, with string
		again            string // where the next run is killed
	}{
		{"a certificate that it cannot start with", "cert", "echo broken", ""},
		{"a CA that does not prove it", "cacert", "cat /srv/foreign.pem", ""},
		{"a CA that does not prove it, twice", "cacert", "cat /srv/foreign.pem", "1.after.systemctl restart certwright"},
	} {
		t.Log(row.what)
		starts := m.starts()
		hook(row.file, row.with)
		m.certwright(exitDone, "rotate --defer identity/engine")
		if row.again != "" {
			timer("45s")
		}
		m.crash("1.after.systemctl restart docker")
		if out := m.do("ls -a /etc/docker; cat /etc/docker/daemon.json"); !strings.Contains(out, ".daemon.json.before-certwright") || strings.Contains(out, configured) {
			t.Errorf("%s: it was not killed while it was at it:\n%s", row.what, out)
		}
		if row.again != "" {
			m.crash(row.again)
		}
		back(row.what, starts+2)
		m.works(row.what)
		m.refused(row.what)
		if now := m.do("cat /etc/docker/daemon.json"); now != configured {
			t.Errorf("%s: it is configured with\n%s", row.what, now)
		}
	}

	t.Log("down, and the next run finds out before it restarts it that it cannot be")
	timer("1h")
	hook("cert", "echo broken")
	m.certwright(exitDone, "rotate --defer identity/engine")
	m.crash("1.after.systemctl restart docker")
	m.do("touch /run/invalid")
	if out := m.certwright(exitPart, "-H unix:///run/docker.sock apply"); !strings.Contains(out, "the configuration of before is back, and dockerd runs with it") {
		t.Errorf("it does not say that it is back:\n%s", out)
	}
	m.do("rm /run/invalid")
	m.works("after a second run that failed")
	m.disarmed("after a second run that failed")
	m.certwright(exitDone, "apply --wait 1m")
	m.works("in the end")
	m.disarmed("in the end")
}
