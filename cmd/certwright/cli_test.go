package main

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certwright/certwright/reconcile"
)

// command is a call of the program in this process.
type command struct {
	t        testing.TB
	dir      string
	vars     map[string]string
	now      func() time.Time
	around   reconcile.Around
	settle   time.Duration
	couriers bool
	args     []string // before those of a call
}

// result is how a call ended.
type result struct {
	code     int
	out, err string
}

var transcript struct {
	sync.Mutex
	bytes.Buffer
}

// run calls the program with -f DIR/tls.yaml, and keeps what it says for the search for keys.
func (c command) run(args ...string) result {
	c.t.Helper()
	var out, errs bytes.Buffer
	getenv := func(name string) string {
		if v, ok := c.vars[name]; ok {
			return v
		}
		return os.Getenv(name)
	}
	now := c.now
	if now == nil {
		now = time.Now
	}
	args = slices.Concat([]string{"-f", c.dir + "/tls.yaml"}, c.args, args)
	code := run(c.t.Context(), args, env{
		in: strings.NewReader(""), out: &out, err: &errs, getenv: getenv, now: now,
		around: c.around, settle: c.settle, couriers: c.couriers,
	})
	note(out.String() + errs.String())
	if _, timed := c.t.(*testing.B); !timed {
		harvest(c.dir)
	}
	return result{code, out.String(), errs.String()}
}

// want calls the program and ends the test unless it exits with code.
func (c command) want(code int, args ...string) result {
	c.t.Helper()
	r := c.run(args...)
	if r.code != code {
		c.t.Fatalf("certwright %s: exit %d, want %d\n%s%s", strings.Join(args, " "), r.code, code, r.out, r.err)
	}
	return r
}

// status is `status -o json`.
func (c command) status() statusDocument {
	c.t.Helper()
	var d statusDocument
	r := c.want(exitDone, "status", "-o", "json")
	if err := json.Unmarshal([]byte(r.out), &d); err != nil {
		c.t.Fatalf("status: %v\n%s", err, r.out)
	}
	return d
}

func (d statusDocument) binding(t testing.TB, name string) bindingDocument {
	t.Helper()
	for _, b := range d.Bindings {
		if b.Name == name {
			return b
		}
	}
	t.Fatalf("status has no binding %s", name)
	return bindingDocument{}
}
