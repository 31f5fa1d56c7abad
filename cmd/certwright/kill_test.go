package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// With crashEnv the test binary is certwright that is killed at its N-th effect, of those that begin with a word if
// one is given: N.before or N.after.WORD; or that loses the effect's reply: N.lost. crashedEnv names the file in which
// it says so, crashNowEnv has the time, couriersEnv forces couriers.
const (
	crashEnv    = "CERTWRIGHT_TEST_CRASH"
	crashedEnv  = "CERTWRIGHT_TEST_CRASHED"
	crashNowEnv = "CERTWRIGHT_TEST_CRASH_NOW"
	couriersEnv = "CERTWRIGHT_TEST_COURIERS"
)

func init() {
	if at := os.Getenv(crashEnv); at != "" {
		os.Exit(crashing(at))
	}
}

var errReplyLost = errors.New("the reply got lost")

// crashing is the program with a fault at one effect.
func crashing(at string) int {
	number, when, _ := strings.Cut(at, ".")
	when, word, _ := strings.Cut(when, ".")
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		panic(err)
	}
	now, err := time.Parse(time.RFC3339Nano, os.Getenv(crashNowEnv))
	if err != nil {
		panic(err)
	}
	die := func() {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	var effects atomic.Int64
	around := func(what string, do func() error) error {
		if !strings.HasPrefix(what, word) || effects.Add(1) != n {
			return do()
		}
		if err := os.WriteFile(os.Getenv(crashedEnv), []byte(what), 0o600); err != nil {
			panic(err)
		}
		if when == "before" {
			die()
		}
		err := do()
		if when == "after" {
			die()
		}
		return errors.Join(err, errReplyLost)
	}
	return run(context.Background(), os.Args[1:], env{
		in: strings.NewReader(""), out: os.Stdout, err: os.Stderr, getenv: os.Getenv,
		now: func() time.Time { return now }, around: around, couriers: os.Getenv(couriersEnv) != "",
	})
}

// crash calls certwright in a process that ends at an effect. It returns the effect, "" if the program has no n-th.
func (l *lane) crash(n int, when string, args ...string) string {
	l.t.Helper()
	said := filepath.Join(l.t.TempDir(), "crashed")
	self, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	args = append(append([]string{"-f", filepath.Join(l.dir, "tls.yaml")}, l.args...), args...)
	cmd := exec.CommandContext(l.t.Context(), self, args...)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d.%s.%s", crashEnv, n, when, l.word), crashedEnv+"="+said,
		crashNowEnv+"="+l.at.Format(time.RFC3339Nano), "GOMAXPROCS=1")
	if l.couriers {
		cmd.Env = append(cmd.Env, couriersEnv+"=1")
	}
	out, err := cmd.CombinedOutput()
	transcript.Lock()
	transcript.Write(out)
	transcript.Unlock()
	what, _ := os.ReadFile(said)
	var exit *exec.ExitError
	killed := errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
	if killed != (len(what) > 0 && when != "lost") || err != nil && exit == nil {
		l.t.Fatalf("crash %d.%s (%s): %v\n%s", n, when, what, err, out)
	}
	return string(what)
}

// everywhere ends certwright at every effect of a flow in every way, and each time lets it finish the work. begin
// prepares the lane. Of several lanes of one flow each takes its share of the effects.
func (l *lane) everywhere(share, shares int, args []string, begin func(), finish func(when string)) {
	l.t.Helper()
	points := 0
	for n := 1 + share; ; n += shares {
		whens := []string{"after", "lost"}
		if n == 1 { // before any other is after the one before
			whens = []string{"before", "after", "lost"}
		}
		for _, when := range whens {
			begin()
			what := l.crash(n, when, args...)
			if what == "" {
				l.t.Logf("%d crash points", points)
				if points < 6 {
					l.t.Error("those are too few: is anything done at all?")
				}
				return
			}
			points++
			finish(fmt.Sprintf("%s effect %d, %s", when, n, what))
			if l.t.Failed() {
				l.t.FailNow()
			}
		}
	}
}

// again applies as a person does after a crash, and checks that the lane rests.
func (l *lane) again(when string) {
	l.t.Helper()
	// A CA is never made twice once its key was durable, and never once it is trusted anywhere.
	known := l.stored()
	for _, dir := range []string{l.certs, l.volume} {
		if root := trusted(l.t, dir); root != [32]byte{} && root != known {
			l.t.Errorf("%s: %s trusts a root that the store does not have", when, dir)
		}
	}
	if known != [32]byte{} {
		l.root = known
	}
	l.at = l.at.Add(time.Second)
	if r := l.run("apply"); r.code != exitDone {
		l.t.Fatalf("%s: apply exits with %d\n%s%s", when, r.code, r.out, r.err)
	}
	l.root = max32(l.root, l.stored())
	l.rests(when)
}

// max32 is the first that is not zero.
func max32(a, b [32]byte) [32]byte {
	if a != [32]byte{} {
		return a
	}
	return b
}

// TestKilled ends certwright at every effect of what it does. The next apply finishes the work: the wire shows the
// wanted certificate, the plan is empty, there is one root, and nothing is left lying about. All the while readers
// see pairs that match, and the server serves.
func TestKilled(t *testing.T) {
	t.Parallel()
	dockertest.Engine(t)
	binary := staticBinary(t)
	lane := func(name string, run func(t *testing.T)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t)
		})
	}
	for share := range 2 {
		lane(fmt.Sprintf("first apply %d", share), func(t *testing.T) {
			l := newLane(t, "hup", "{signal: HUP}", "lifetime: 30d")
			watchWire(t, l.web.ID)
			l.everywhere(share, 2, []string{"apply"}, l.wipe, l.again)
		})
		lane(fmt.Sprintf("renewal %d", share), func(t *testing.T) {
			l := newLane(t, "hup", "{signal: HUP}", "lifetime: 1h")
			watchWire(t, l.web.ID)
			l.everywhere(share, 2, []string{"apply"}, func() { l.at = l.at.Add(50 * time.Minute) }, l.again)
		})
		lane(fmt.Sprintf("renewal through couriers %d", share), func(t *testing.T) {
			l := newLane(t, "hot", "none", "lifetime: 1h")
			l.couriers, l.args, l.word = true, []string{"--courier-binary", binary}, "POST /"
			watchWire(t, l.web.ID)
			l.everywhere(share, 2, []string{"apply"}, func() { l.at = l.at.Add(50 * time.Minute) }, l.again)
		})
	}
	for share := range 3 {
		lane(fmt.Sprintf("rotation and restart %d", share), func(t *testing.T) {
			l := newLane(t, "restart", "restart", "lifetime: 1y")
			// A restart that was cut short counts for an hour.
			l.everywhere(share, 3, []string{"rotate", "identity/web"}, func() { l.at = l.at.Add(61 * time.Minute) }, l.again)
		})
	}
	lane("prune", func(t *testing.T) { newLane(t, "hup", "{signal: HUP}", "lifetime: 30d").prune() })
}

// wipe makes the lane one that certwright never saw. The server goes on with what it has.
func (l *lane) wipe() {
	l.t.Helper()
	l.root = [32]byte{}
	for _, dir := range []string{l.certs, l.volume, filepath.Join(l.dir, ".certwright")} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			l.t.Fatal(err)
		}
		for _, e := range entries {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				l.t.Fatal(err)
			}
		}
	}
	if err := os.RemoveAll(filepath.Join(l.dir, ".certwright")); err != nil {
		l.t.Fatal(err)
	}
}

// prune ends certwright while it removes what left the spec: a directory, a volume's files and an identity.
func (l *lane) prune() {
	l.t.Helper()
	less, err := os.ReadFile(filepath.Join(l.dir, "tls.yaml"))
	if err != nil {
		l.t.Fatal(err)
	}
	volume := dockertest.Volume(l.t)
	places := []string{filepath.Join(l.dir, "extra"), mountpoint(l.t.(*testing.T), volume)}
	more := strings.Replace(string(less), "bindings:\n", "  extra: {ca: internal}\nbindings:\n", 1) +
		"  extra: {identity: extra, directory: ./extra}\n  extra-volume: {identity: extra, volume: " + volume + ", layout: plain}\n"
	begin := func() {
		l.write("tls.yaml", more)
		l.want(exitDone, "apply")
		l.write("tls.yaml", string(less))
	}
	l.everywhere(0, 1, []string{"apply"}, begin, func(when string) {
		l.again(when)
		for _, dir := range places {
			if left := orphans(l.t, dir); len(left) > 0 {
				l.t.Errorf("%s: left in %s: %v", when, dir, left)
			}
		}
	})
}
