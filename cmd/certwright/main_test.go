package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/term"
)

// TestMain registers certwright as a command of the scripts, and looks for keys in everything that was said after
// all tests ran.
func TestMain(m *testing.M) {
	testscript.Main(suite{m}, map[string]func(){"certwright": script})
}

type suite struct{ *testing.M }

func (s suite) Run() int {
	_ = os.Unsetenv("CI") // the runner's own is not the tests'
	code := s.M.Run()
	if binaries != "" {
		_ = os.RemoveAll(binaries)
	}
	if leaks := leaked(); len(leaks) > 0 {
		for _, l := range leaks {
			fmt.Fprintln(os.Stderr, "key material:", l)
		}
		code = max(code, 1)
	}
	return code
}

// script is certwright in a script: with a fixed clock if CERTWRIGHT_TEST_NOW has one, and with all it says copied
// to CERTWRIGHT_TEST_TRANSCRIPT.
func script() {
	e := env{in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv, now: time.Now}
	if s := os.Getenv("CERTWRIGHT_TEST_NOW"); s != "" {
		now, err := time.Parse(time.RFC3339, s)
		if err != nil {
			panic(err)
		}
		e.now = func() time.Time { return now }
	}
	if name := os.Getenv("CERTWRIGHT_TEST_TRANSCRIPT"); name != "" {
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		if err != nil {
			panic(err)
		}
		defer f.Close()
		e.err = io.MultiWriter(os.Stderr, f)
		if !term.IsTerminal(int(os.Stdout.Fd())) { // a terminal has to stay one: its output is coloured
			e.out = io.MultiWriter(os.Stdout, f)
		}
	}
	os.Exit(run(context.Background(), os.Args[1:], e))
}
