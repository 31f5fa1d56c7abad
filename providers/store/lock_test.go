package store

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/certwright/certwright/reconcile"
)

// shortly is a context that does not wait for another writer.
func shortly(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*knock)
	t.Cleanup(cancel)
	return ctx
}

func TestSecondWriterIsTold(t *testing.T) {
	path := made(t, Options{Writer: true})
	a := opened(t, path, Options{Writer: true})
	_, err := open(shortly(t), path, Options{Writer: true}, cheap)
	refused(t, err, "another certwright is at work", path)
	// Readers do not wait.
	same(t, with(1), loaded(t, opened(t, path, Options{})))
	must(t, a.Close())
	opened(t, path, Options{Writer: true})
}

func TestFirstCommitsSerialise(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	a, b := opened(t, path, Options{Writer: true}), opened(t, path, Options{Writer: true})
	must(t, a.Commit(t.Context(), with(1)))
	refused(t, b.Commit(shortly(t), with(2)), "another certwright is at work")
	must(t, a.Close())
	refused(t, b.Commit(t.Context(), with(2)), "changed")
	same(t, with(1), loaded(t, b))
}

// TestMain turns the test binary into a writer, for tests with several processes.
func TestMain(m *testing.M) {
	switch os.Getenv("STORE_TEST_PROCESS") {
	case "count":
		exit(count(os.Getenv("STORE_TEST_PATH")))
	case "hold":
		exit(holdForever(os.Getenv("STORE_TEST_PATH")))
	}
	os.Exit(m.Run())
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// process starts the test binary as a writer.
func process(t *testing.T, what, path string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), "STORE_TEST_PROCESS="+what, "STORE_TEST_PATH="+path)
	return cmd
}

const rounds = 20

// count adds one to a number in the store, again and again.
func count(path string) error {
	ctx := context.Background()
	for range rounds {
		s, err := open(ctx, path, Options{Writer: true, Project: "shop"}, cheap)
		if err != nil {
			return err
		}
		state, err := s.Load(ctx)
		if err != nil {
			return err
		}
		n, _ := strconv.Atoi(state.Wishes["count"].Serial)
		state.Wishes["count"] = reconcile.Wish{Serial: strconv.Itoa(n + 1)}
		if err := s.Commit(ctx, state); err != nil {
			return err
		}
		if err := s.Close(); err != nil {
			return err
		}
	}
	return nil
}

// TestLeftoversGoWithTheLock: what a killed writer left can be every key in clear, and nothing may be committed for
// months.
func TestLeftoversGoWithTheLock(t *testing.T) {
	path := made(t, Options{Writer: true})
	for _, name := range []string{stateFile, storeFile, ignoreFile} {
		must(t, os.WriteFile(filepath.Join(path, name+fresh), []byte("a key"), 0o600))
	}
	opened(t, path, Options{Writer: true})
	if left, err := filepath.Glob(filepath.Join(path, "*"+fresh)); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestProcessesSerialise(t *testing.T) {
	path := made(t, Options{Writer: true})
	const processes = 8
	stop := make(chan struct{})
	var readers, writers sync.WaitGroup
	reads := 0
	readers.Go(func() {
		for last := 0; ; reads++ {
			s, _ := open(context.Background(), path, Options{Project: "shop"}, cheap)
			state, err := s.Load(context.Background())
			if err != nil {
				t.Errorf("a reader saw: %v", err)
				return
			}
			if n, _ := strconv.Atoi(state.Wishes["count"].Serial); n < last {
				t.Errorf("a reader saw %d after %d", n, last)
			} else {
				last = n
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	for range processes {
		cmd := process(t, "count", path)
		writers.Go(func() {
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
	s := opened(t, path, Options{})
	if got := loaded(t, s).Wishes["count"].Serial; got != strconv.Itoa(processes*rounds) {
		t.Errorf("%s commits are there, want %d", got, processes*rounds)
	}
	if got := s.seen.header.Generation; got != processes*rounds+1 {
		t.Errorf("generation %d, want %d", got, processes*rounds+1)
	}
	t.Logf("%d reads meanwhile", reads)
}

// holdForever takes the lock, says so, and waits for its end.
func holdForever(path string) error {
	s, err := open(context.Background(), path, Options{Writer: true, Project: "shop"}, cheap)
	if err != nil {
		return err
	}
	defer s.Close()
	fmt.Println("held")
	select {}
}

// TestAKilledHolderFreesTheLock stops a holder first: a lock does not age.
func TestAKilledHolderFreesTheLock(t *testing.T) {
	path := made(t, Options{Writer: true})
	cmd := process(t, "hold", path)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	line := make([]byte, 5)
	if _, err := out.Read(line); err != nil || !strings.HasPrefix(string(line), "held") {
		t.Fatalf("the holder said %q, %v", line, err)
	}
	must(t, cmd.Process.Signal(syscall.SIGSTOP))
	_, err = open(shortly(t), path, Options{Writer: true}, cheap)
	refused(t, err, "another certwright is at work")
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	start := time.Now()
	opened(t, path, Options{Writer: true})
	if took := time.Since(start); took > time.Second {
		t.Errorf("the next writer waited %v", took)
	}
}
