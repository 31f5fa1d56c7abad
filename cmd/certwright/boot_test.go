package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// booted is systemd as the init of namespaces: of mounts, processes, names and control groups, and of the network where it is alone. Its file
// system is this machine's; what is written there is gone with it. There are no units but those a test brings.
type booted struct {
	t   *testing.T
	dir string // where commands run
	pid int
}

// boot needs no more of the machine's own units than these.
var emptyTargets = []string{"sysinit.target", "basic.target", "multi-user.target", "timers.target", "shutdown.target"}

// bootScript mounts a file system over the machine's, and makes it the root of systemd. /proc/sys is not to be written to:
// most of it is the machine's. Nor is root's home there: what somebody runs at each login may keep the next one waiting.
const bootScript = `set -e
mkdir top groups
mount -t cgroup -o none,name=systemd cgroup groups
mkdir "groups/$NAME" && echo 0 > "groups/$NAME/cgroup.procs"
exec unshare --cgroup sh -e -c '
mount -t tmpfs tmpfs top
mkdir top/upper top/work top/root
mount -t overlay -o lowerdir=/,upperdir=top/upper,workdir=top/work overlay top/root
cd top/root
mount -t proc proc proc
mount --bind proc/sys proc/sys && mount -o remount,ro,bind proc/sys
mount -t sysfs -o ro sysfs sys
mount -t tmpfs tmpfs sys/fs/cgroup && mkdir sys/fs/cgroup/systemd
mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
mount -t tmpfs tmpfs root
mount -t tmpfs tmpfs run && touch run/docker.sock && mount --bind "$ENGINE" run/docker.sock
for d in $BOTH; do mkdir -p ".$d" && mount --bind "$d" ".$d"; done
mount -t tmpfs tmpfs dev
for d in null zero full random urandom tty; do touch dev/$d && mount --bind /dev/$d dev/$d; done
ln -s pts/ptmx dev/ptmx
mount -t tmpfs tmpfs etc/systemd/system
for u in $TARGETS; do printf "[Unit]\nDefaultDependencies=no\n" > etc/systemd/system/$u; done
for d in etc/systemd usr/local/lib/systemd lib/systemd; do mkdir -p $d/system-generators && mount -t tmpfs tmpfs $d/system-generators; done
mkdir -p .old && pivot_root . .old && umount -l /.old
mount --make-rshared /
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=certwright SYSTEMD_UNIT_PATH=/etc/systemd/system:/run/systemd/transient /lib/systemd/systemd --system --unit=basic.target
'`

// boot starts systemd. both are directories that the machine and its engine see as well.
func boot(t *testing.T, both ...string) *booted {
	t.Helper()
	return bootWith(t, bootScript, nil, both...)
}

// bootAlone starts systemd in a network of its own, which has a loopback.
func bootAlone(t *testing.T) *booted {
	t.Helper()
	return bootWith(t, "ip link set lo up\n"+bootScript, []string{"--net"})
}

func bootWith(t *testing.T, script string, apart []string, both ...string) *booted {
	t.Helper()
	dockertest.Servers(t, "systemd-analyze", "/lib/systemd/systemd", "unshare", "nsenter")
	dir := t.TempDir()
	name := "certwright-test-" + filepath.Base(filepath.Dir(dir))
	cmd := exec.Command("unshare", append(apart, "--mount", "--uts", "--ipc", "sh", "-e", "-c", script)...)
	cmd.Dir, cmd.SysProcAttr = dir, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	cmd.Env = append(os.Environ(), "NAME="+name, "ENGINE="+dockertest.EngineSocket(), "BOTH="+strings.Join(both, " "), "TARGETS="+strings.Join(emptyTargets, " "))
	said, err := os.Create(filepath.Join(dir, "said"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // and the kernel all else there with it
		<-ended
		groups := fmt.Sprintf("mount -t cgroup -o none,name=systemd cgroup %[1]s/groups && find %[1]s/groups/%[2]s -depth -type d -exec rmdir {} ';'", dir, name)
		if out, err := exec.Command("unshare", "--mount", "sh", "-c", groups).CombinedOutput(); err != nil {
			t.Errorf("remove the control groups: %v\n%s", err, out)
		}
	})
	b := &booted{t: t, dir: "/root", pid: cmd.Process.Pid}
	dockertest.Poll(t, dockertest.Patience, "systemd to run", func() error {
		select {
		case <-ended:
			text, _ := os.ReadFile(said.Name())
			t.Fatalf("systemd does not start: %s", text)
		default:
		}
		out, err := b.run("systemctl is-active basic.target")
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	return b
}

// run runs commands there.
func (b *booted) run(script string) (string, error) {
	c := exec.Command("nsenter", "--target", fmt.Sprint(b.pid), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup",
		"env", "--chdir="+b.dir, "SYSTEMD_UNIT_PATH=/etc/systemd/system:/run/systemd/transient", "SYSTEMD_PAGER=", "sh", "-e", "-c", script)
	out, err := c.CombinedOutput()
	return string(out), err
}

// do runs commands there that have to succeed.
func (b *booted) do(script string) string {
	b.t.Helper()
	out, err := b.run(script)
	if err != nil {
		b.t.Fatalf("%s\n%v\n%s", script, err, out)
	}
	return out
}

// await waits until a property of a unit has a value.
func (b *booted) await(unit, property, want string) {
	b.t.Helper()
	b.within(dockertest.Patience, unit, property, want)
}

// within is await with a limit.
func (b *booted) within(limit time.Duration, unit, property, want string) {
	b.t.Helper()
	dockertest.Poll(b.t, limit, fmt.Sprintf("%s of %s to be %s", property, unit, want), func() error {
		if is := b.property(unit, property); is != want {
			return fmt.Errorf("it is %q", is)
		}
		return nil
	})
}

func (b *booted) property(unit, property string) string {
	b.t.Helper()
	return strings.TrimSpace(b.do("systemctl show --value -p " + property + " " + unit))
}
