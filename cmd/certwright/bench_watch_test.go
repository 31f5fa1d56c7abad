package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"golang.org/x/sys/unix"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// BenchmarkWatch alters and removes placed files of a thousand bindings, one after the other, and says how long it took until
// each was back and durable, which a step says when it ends; the debounce of 50 ms is in it. It also says what watch costs
// while nothing happens, and for a pass over everything.
func BenchmarkWatch(b *testing.B) {
	manager := listenAsManager(b)
	w := newWatch(b, thousandYAML(1000), "--interval", "1h")
	// No binding has to do with an engine; what others do on this machine's is not to be measured.
	w.cmd.Env = append(w.cmd.Env, "NOTIFY_SOCKET="+manager.socket, "DOCKER_HOST=unix://"+filepath.Join(w.dir, "none"))
	w.start()
	heard := 0
	passed := func() { heard, _ = manager.hears(heard, `READY=1\nSTATUS=1000 bindings: 1000 Unverified`) }
	passed()
	time.Sleep(6 * time.Second) // what changes sooner is taken for the first writing, under way
	var took []time.Duration
	for n := 0; b.Loop(); n++ {
		binding := fmt.Sprintf("%05d", rand.IntN(1000))
		at := filepath.Join(w.dir, "certs", binding)
		name := filepath.Join(at, "cert.pem")
		want, err := os.ReadFile(name)
		if err != nil {
			b.Fatal(err)
		}
		quiet := len(w.text())
		start := time.Now()
		if n%2 == 0 {
			err = os.WriteFile(name, []byte("other"), 0o644)
		} else {
			err = os.Remove(filepath.Join(at, "..data", "cert.pem"))
		}
		if err != nil {
			b.Fatal(err)
		}
		back := regexp.MustCompile(`"time":"([^"]*)"[^}]*"action":"place b` + binding).FindStringSubmatch
		var said []string
		for late := time.After(time.Minute); said == nil; said = back(w.text()[quiet:]) {
			select {
			case <-w.more: // to look again and again would take the time of one processor
			case <-late:
				b.Fatalf("%s is not put right", name)
			}
		}
		done, err := time.Parse(time.RFC3339Nano, said[1]) // when it was, not when that was heard here
		if err != nil {
			b.Fatal(err)
		}
		took = append(took, done.Sub(start))
		if is, err := os.ReadFile(name); err != nil || !bytes.Equal(is, want) {
			b.Fatalf("%s is not what it was: %v", name, err)
		}
		passed()
	}
	slices.Sort(took)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(ms(took[len(took)/2]), "ms-median")
	b.ReportMetric(ms(took[len(took)*95/100]), "ms-p95")

	rest := func() { // until it uses no time any more
		for before := used(b, w.cmd.Process.Pid); ; {
			time.Sleep(500 * time.Millisecond)
			now := used(b, w.cmd.Process.Pid)
			if now-before < time.Millisecond {
				return
			}
			before = now
		}
	}
	rest()
	before := used(b, w.cmd.Process.Pid)
	time.Sleep(20 * time.Second)
	idle := used(b, w.cmd.Process.Pid) - before
	b.ReportMetric(float64(idle)/float64(20*time.Second)*100, "%-idle")
	before = used(b, w.cmd.Process.Pid)
	const passes = 10
	for range passes {
		w.signal(syscall.SIGHUP)
		passed()
	}
	rest()
	b.ReportMetric(ms(used(b, w.cmd.Process.Pid)-before)/passes, "ms-CPU/pass")
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		for _, key := range []string{"VmRSS", "VmHWM"} {
			if kib, is := strings.CutPrefix(line, key+":"); is {
				n, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(kib), "kB")))
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(n)/1024, "MiB-"+key)
			}
		}
	}
	if strings.Contains(w.text(), `"level":"ERROR"`) {
		b.Errorf("it says %s", w.text())
	}
	w.end()
}

// BenchmarkRecreated makes a server's container anew, and says how long after its start watch knew that the new one serves
// what it should.
func BenchmarkRecreated(b *testing.B) {
	places := b.TempDir()
	c := dockertest.Run(b, dockertest.Container{
		Image: dockertest.Image(b, dockertest.GoServer), Name: "recreated", Ports: []int{8443},
		Cmd:    []string{"-cert", "/certs/cert.pem", "-key", "/certs/key.pem", "-reload", "hot"},
		Mounts: []mount.Mount{{Type: mount.TypeBind, Source: places, Target: "/certs"}},
	})
	cli, ctx := dockertest.Engine(b), b.Context()
	w := startWatch(b, "", strings.Replace(watchYAML, "directory: ./web", "directory: "+places+", container: "+c.Name+", reload: none, probe: {port: 8443}", 1), "--interval", "1h")
	w.says(0, `"state":"Waiting"`)
	is, err := cli.ContainerInspect(ctx, c.ID)
	if err != nil {
		b.Fatal(err)
	}
	var took []time.Duration
	id := c.ID
	for b.Loop() {
		quiet := len(w.text())
		if err := cli.ContainerRemove(ctx, id, container.RemoveOptions{Force: true}); err != nil {
			b.Fatal(err)
		}
		made, err := cli.ContainerCreate(ctx, is.Config, is.HostConfig, nil, nil, c.Name)
		if err != nil {
			b.Fatal(err)
		}
		id = made.ID
		if len(took) > 0 {
			w.says(quiet, `"state":"Waiting"`)
		}
		start := time.Now()
		if err := cli.ContainerStart(ctx, id, container.StartOptions{}); err != nil {
			b.Fatal(err)
		}
		w.says(quiet, `"state":"Ready"`)
		took = append(took, time.Since(start))
	}
	if err := cli.ContainerRemove(ctx, id, container.RemoveOptions{Force: true}); err != nil {
		b.Fatal(err)
	}
	slices.Sort(took)
	b.ReportMetric(took[len(took)/2].Seconds(), "s-median")
	b.ReportMetric(took[len(took)-1].Seconds(), "s-slowest")
}

// used is the processor time of a process (clock_getcpuclockid(3): the clock of a process is its id, inverted, and a two).
func used(b *testing.B, pid int) time.Duration {
	b.Helper()
	var at unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|2), &at); err != nil {
		b.Fatal(err)
	}
	return time.Duration(at.Nano())
}
