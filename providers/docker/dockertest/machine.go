package dockertest

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// machine is what an engine takes for a machine: namespaces for its network, host name, mounts and processes. Its cable
// goes to a bridge in a network namespace that is there for that alone, so that nothing of the real machine's network
// is touched, nor its firewall in the way.
type machine struct {
	name, address string // of its network namespace, and its host name
	bridge, port  string // the namespace the bridge is in, and the end of the cable there
	dir, socket   string
	arguments     string    // of dockerd, beside those of all
	process       *exec.Cmd // dockerd, which is the machine's init; nil while it is off
	ended         chan struct{}
	output        *os.File
}

// machines makes machines that share a bridge. They are off, and are removed when the test ends.
func machines(t testing.TB, n int) []*machine {
	t.Helper()
	Reserve(t, n)
	dir, err := os.MkdirTemp("", "certwright-swarm-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	bridge := "cw-" + strings.ToLower(rand.Text()[:8])
	namespace(t, bridge)
	command(t, "ip", "-n", bridge, "link", "add", "bridge", "type", "bridge")
	command(t, "ip", "-n", bridge, "addr", "add", "10.99.0.254/24", "dev", "bridge")
	command(t, "ip", "-n", bridge, "link", "set", "bridge", "up")
	all := make([]*machine, n)
	for i := range all {
		m := &machine{
			name: fmt.Sprintf("%s-%d", bridge, i+1), address: fmt.Sprintf("10.99.0.%d", i+1),
			bridge: bridge, port: fmt.Sprintf("port%d", i+1), dir: filepath.Join(dir, fmt.Sprint(i+1)),
		}
		m.socket = filepath.Join(m.dir, "docker.sock")
		if err := os.Mkdir(m.dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(m.dir, "daemon.json"), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
		if m.output, err = os.Create(filepath.Join(m.dir, "output")); err != nil {
			t.Fatal(err)
		}
		namespace(t, m.name)
		command(t, "ip", "-n", bridge, "link", "add", m.port, "type", "veth", "peer", "name", "eth0", "netns", m.name)
		command(t, "ip", "-n", bridge, "link", "set", m.port, "master", "bridge", "up")
		command(t, "ip", "-n", m.name, "addr", "add", m.address+"/24", "dev", "eth0")
		command(t, "ip", "-n", m.name, "link", "set", "lo", "up")
		command(t, "ip", "-n", m.name, "link", "set", "eth0", "up")
		all[i] = m
	}
	t.Cleanup(func() {
		var off sync.WaitGroup
		for _, m := range all {
			off.Go(m.stop)
		}
		off.Wait()
		for _, m := range all {
			m.tell(t)
		}
	})
	return all
}

// namespace makes a network namespace that goes when the test ends.
func namespace(t testing.TB, name string) {
	t.Helper()
	command(t, "ip", "netns", "add", name)
	t.Cleanup(func() {
		if out, err := exec.Command("ip", "netns", "delete", name).CombinedOutput(); err != nil {
			t.Errorf("remove network namespace %s: %v: %s", name, err, out)
		}
	})
}

// start runs dockerd as the init of a PID namespace, so that whatever it started ends with it. `ip netns exec` would hide
// the cgroups from it, so it is nsenter. /run is empty as after a boot: what says there which processes run does not
// outlive them. What it runs finds its socket in /run, as on any machine.
func (m *machine) start(t testing.TB) {
	t.Helper()
	script := fmt.Sprintf("echo %[1]s > /proc/sys/kernel/hostname && mount -t proc proc /proc && mount -t tmpfs tmpfs /run && exec "+
		"dockerd --config-file %[2]s/daemon.json --data-root %[2]s/data --exec-root /run/docker --pidfile /run/docker.pid "+
		"-H unix://%[3]s -H unix:///run/docker.sock --bip 172.31.0.1/24 --cgroup-parent /%[1]s %[4]s", m.name, m.dir, m.socket, m.arguments)
	cmd := exec.Command("nsenter", "--net=/run/netns/"+m.name, "unshare", "--mount", "--uts", "sh", "-c", script)
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = m.output, m.output, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start dockerd: %v", err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	m.process, m.ended = cmd, ended
}

// kill ends the machine's init, and the kernel all else there with it.
func (m *machine) kill() {
	_ = m.process.Process.Kill()
	<-m.ended
	m.sweep()
}

// sweep removes the control groups of containers, of which the kernel keeps the directories.
func (m *machine) sweep() {
	for _, of := range []string{"/*", ""} {
		dirs, _ := filepath.Glob("/sys/fs/cgroup/*/" + m.name + of)
		whole, _ := filepath.Glob("/sys/fs/cgroup/" + m.name + of) // version 2 has one tree
		for _, dir := range append(dirs, whole...) {
			_ = os.Remove(dir)
		}
	}
}

// stop lets the engine end what it runs, and gives it a minute.
func (m *machine) stop() {
	if m.process == nil {
		return
	}
	_ = m.process.Process.Signal(syscall.SIGTERM)
	_ = m.process.Process.Signal(syscall.SIGCONT)
	select {
	case <-m.ended:
		m.sweep()
	case <-time.After(time.Minute):
		m.kill()
	}
}

// tell shows the last lines that the engine of a test that failed printed.
func (m *machine) tell(t testing.TB) {
	_ = m.output.Close()
	if !t.Failed() {
		return
	}
	said, _ := os.ReadFile(m.output.Name())
	lines := strings.Split(string(said), "\n")
	t.Logf("the engine of %s:\n%s", m.name, strings.Join(lines[max(0, len(lines)-30):], "\n"))
}

func (m *machine) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := m.process.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

func (m *machine) link(t testing.TB, state string) {
	t.Helper()
	command(t, "ip", "-n", m.bridge, "link", "set", m.port, state)
}

func command(t testing.TB, argv ...string) {
	t.Helper()
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(argv, " "), err, out)
	}
}
