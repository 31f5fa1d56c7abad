package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// BenchmarkWatch alters and removes placed files of a thousand bindings, one after the other, and says how long it took until
// each was back; the debounce of 50 ms is in it. It also says what watch costs while nothing happens, and for a pass over
// everything.
func BenchmarkWatch(b *testing.B) {
	dir := thousand(b, 1000)
	cmd := exec.Command(staticBinary(b), "watch", "--interval", "1h")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CI=")
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}()
	last := filepath.Join(dir, "certs", "00999", "key.pem")
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(last); err == nil {
			break
		}
		if time.Now().After(end) {
			b.Fatalf("it places nothing\n%s", said.String())
		}
	}
	rest := func() { // until it uses no time any more
		for before := used(b, cmd.Process.Pid); ; {
			time.Sleep(500 * time.Millisecond)
			now := used(b, cmd.Process.Pid)
			if now == before {
				return
			}
			before = now
		}
	}
	rest()
	var took []time.Duration
	for n := 0; b.Loop(); n++ {
		at := filepath.Join(dir, "certs", fmt.Sprintf("%05d", rand.IntN(1000)))
		name := filepath.Join(at, "cert.pem")
		want, err := os.ReadFile(name)
		if err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		if n%2 == 0 {
			err = os.WriteFile(name, []byte("other"), 0o644)
		} else {
			err = os.Remove(filepath.Join(at, "..data", "cert.pem"))
		}
		if err != nil {
			b.Fatal(err)
		}
		for end := start.Add(time.Minute); ; time.Sleep(100 * time.Microsecond) {
			if is, err := os.ReadFile(name); err == nil && bytes.Equal(is, want) {
				break
			}
			if time.Now().After(end) {
				b.Fatalf("%s is not put right\n%s", name, said.String())
			}
		}
		took = append(took, time.Since(start))
		time.Sleep(20 * time.Millisecond) // its look at what it did
	}
	slices.Sort(took)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(ms(took[len(took)/2]), "ms-median")
	b.ReportMetric(ms(took[len(took)*95/100]), "ms-p95")

	rest()
	before := used(b, cmd.Process.Pid)
	time.Sleep(20 * time.Second)
	idle := used(b, cmd.Process.Pid) - before
	b.ReportMetric(float64(idle)/float64(20*time.Second)*100, "%-idle")
	before = used(b, cmd.Process.Pid)
	const passes = 10
	for range passes {
		if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
			b.Fatal(err)
		}
		rest()
	}
	b.ReportMetric(ms(used(b, cmd.Process.Pid)-before)/passes, "ms-CPU/pass")
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
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
	if strings.Contains(said.String(), "level=ERROR") {
		b.Errorf("it says %s", said.String())
	}
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

// used is the processor time of a process (proc_pid_stat(5), utime and stime, in hundredths of a second).
func used(b *testing.B, pid int) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	ticks := 0
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
