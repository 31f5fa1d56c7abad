package files

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/certwright/certwright/reconcile"
)

// benchUnits are a thousand places of three files of the sizes certificates and keys have.
func benchUnits(root, version string) []reconcile.Unit {
	units := make([]reconcile.Unit, 1000)
	for i := range units {
		units[i] = unit(filepath.Join(root, fmt.Sprint(i)), version)
		for f, size := range []int{600, 900, 240} {
			units[i].Files[f].Data = make([]byte, size)
		}
	}
	return units
}

// benchDir is on the file system named by CERTWRIGHT_BENCH_DIR, or where temporary files are.
func benchDir(b *testing.B) string {
	b.Helper()
	dir, err := os.MkdirTemp(os.Getenv("CERTWRIGHT_BENCH_DIR"), "bench")
	must(b, err)
	b.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// processor reports the processor time of an operation, which says more than the clock on a busy machine.
func processor(b *testing.B) func() {
	used := func() time.Duration {
		var r unix.Rusage
		must(b, unix.Getrusage(unix.RUSAGE_SELF, &r))
		return time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	start := used()
	return func() { b.ReportMetric(float64((used()-start).Milliseconds())/float64(b.N), "cpu-ms/op") }
}

// BenchmarkRead reads a thousand places; BenchmarkReadBare reads the same files knowing where they are.
func BenchmarkRead(b *testing.B) {
	units := benchUnits(benchDir(b), "1")
	queries := make([]reconcile.PlaceQuery, len(units))
	for i, err := range local(nil).Write(context.Background(), units) {
		must(b, err)
		queries[i] = reconcile.PlaceQuery{At: units[i].At, Files: names(units[i])}
	}
	defer processor(b)()
	for b.Loop() {
		for _, c := range local(nil).Read(context.Background(), queries, false) {
			if c.Err != nil || !c.Files["key.pem"].Ours {
				b.Fatal(c.Err)
			}
		}
	}
}

func BenchmarkReadBare(b *testing.B) {
	root := benchDir(b)
	units := benchUnits(root, "1")
	must(b, bareWrite(units))
	defer processor(b)()
	for b.Loop() {
		for _, u := range units {
			for _, f := range u.Files {
				must(b, bareRead(filepath.Join(u.At.Dir, f.Name)))
			}
		}
	}
}

func bareRead(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	_, err = unix.Read(fd, make([]byte, st.Size))
	return err
}

// BenchmarkWrite puts a thousand units in place where nothing is; BenchmarkWriteBare writes the same files, durably
// too: temporary files, one sync of the file system, renames, and one sync again.
func BenchmarkWrite(b *testing.B) {
	root := benchDir(b)
	n := 0
	defer processor(b)()
	for b.Loop() {
		n++
		for _, err := range local(nil).Write(context.Background(), benchUnits(filepath.Join(root, fmt.Sprint(n)), "1")) {
			must(b, err)
		}
	}
}

func BenchmarkWriteBare(b *testing.B) {
	root := benchDir(b)
	n := 0
	defer processor(b)()
	for b.Loop() {
		n++
		must(b, bareWrite(benchUnits(filepath.Join(root, fmt.Sprint(n)), "1")))
	}
}

func bareWrite(units []reconcile.Unit) error {
	errs := make([]error, len(units))
	run := func(step func(u reconcile.Unit) error) error {
		each(len(units), func(i int) {
			if errs[i] == nil {
				errs[i] = step(units[i])
			}
		})
		for _, err := range errs {
			if err != nil {
				return err
			}
		}
		dir, err := os.Open(units[0].At.Dir)
		if err != nil {
			return err
		}
		defer dir.Close()
		return unix.Syncfs(int(dir.Fd()))
	}
	if err := run(func(u reconcile.Unit) error {
		if err := os.MkdirAll(u.At.Dir, 0o755); err != nil {
			return err
		}
		for _, f := range u.Files {
			if err := os.WriteFile(filepath.Join(u.At.Dir, f.Name+".tmp"), f.Data, f.Mode); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	return run(func(u reconcile.Unit) error {
		for _, f := range u.Files {
			name := filepath.Join(u.At.Dir, f.Name)
			if err := os.Rename(name+".tmp", name); err != nil {
				return err
			}
		}
		return nil
	})
}
