// The number of processors stays what it was at the start. To ask for it each second costs more than all that watch does while
// it waits.
//go:debug updatemaxprocs=0

// Command certwright keeps the TLS of Docker hosts as tls.yaml says.
//
// It reads flags, wires the providers, prints, and sets the exit code; it decides nothing about TLS.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/certwright/certwright/reconcile"
)

// The exit codes (DESIGN.md 1.3).
const (
	exitDone    = 0
	exitNothing = 1 // nothing was done: bad spec, store does not open, no engine
	exitPending = 2 // plan --exit-code: there are steps
	exitPart    = 3 // something failed, is blocked, or was not Ready in time
)

// env is the outside of the program, so that a test can be another one.
type env struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string
	now      func() time.Time
	// around is put around every side effect; nil in the product.
	around reconcile.Around
	// settle is how long a rung may take to show on the wire; zero, the Applier's own, in the product.
	settle time.Duration
	// couriers takes a courier also where there is a shorter way; false in the product.
	couriers bool
	// patience is the least that systemd is asked for during a pass; zero, leastPatience, in the product.
	patience time.Duration
}

func main() {
	ctx, end := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		// The first one ends what is under way well, a second one at once: from before anything shows that the first was heard.
		signal.Stop(signals)
		end()
	}()
	os.Exit(run(ctx, os.Args[1:], env{in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv, now: time.Now}))
}

// exit is an error that has its own exit code. A nil err says nothing.
type exit struct {
	code int
	err  error
}

func (e exit) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e exit) Unwrap() error { return e.err }

// hinted is an error that ends with what to do.
type hinted struct {
	err  error
	hint string
}

func (h hinted) Error() string { return h.err.Error() }
func (h hinted) Unwrap() error { return h.err }
func (h hinted) Hint() string  { return h.hint }

// hintOf is what an error says is to be done, or "".
func hintOf(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}

// run is the program: it returns the exit code.
func run(ctx context.Context, args []string, e env) int {
	e.err = &whole{w: e.err}
	a := &app{env: e}
	cmd := a.root()
	cmd.SetArgs(args)
	cmd.SetIn(e.in)
	cmd.SetOut(e.out)
	cmd.SetErr(e.err)
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	if text := err.Error(); text != "" {
		for line := range strings.Lines(text) {
			fmt.Fprintf(e.err, "certwright: %s\n", strings.TrimRight(line, "\n"))
		}
	}
	if hint := hintOf(err); hint != "" {
		printHint(e.err, "certwright: ", hint)
	}
	var x exit
	if errors.As(err, &x) {
		return x.code
	}
	return exitNothing
}

// whole lets several goroutines write, one write at a time.
type whole struct {
	mu sync.Mutex
	w  io.Writer
}

func (w *whole) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.w.Write(p)
}
