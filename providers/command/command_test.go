package command

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestRun(t *testing.T) {
	sh := func(script string) Command { return Command{Argv: []string{"/bin/sh", "-c", script}} }
	c := sh("cat; echo $A; env | wc -l")
	c.Stdin, c.Env = []byte("in "), []string{"A=b"}
	out, err := c.Run(t.Context())
	if words := strings.Fields(string(out)); err != nil || len(words) != 3 || words[0] != "in" || words[1] != "b" {
		t.Errorf("it printed %q: %v", out, err)
	}
	t.Setenv("CERTWRIGHT_TEST_SECRET", "open sesame")
	if out, err := sh("env").Run(t.Context()); err != nil || strings.Contains(string(out), "CERTWRIGHT_TEST_SECRET") {
		t.Errorf("without an environment it has ours: %v", err)
	}
	_, err = sh("echo first >&2; printf 'the \\033 cause\\n\\n' >&2; exit 3").Run(t.Context())
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 || err.Error() != `/bin/sh: exit status 3: "the cause"` {
		t.Errorf("it failed with %v", err)
	}
	if _, err := (Command{Argv: []string{"/nowhere"}}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "/nowhere") {
		t.Errorf("what is not there: %v", err)
	}
	if out, err := sh("sleep 5 & echo left").Run(t.Context()); err != nil || string(out) != "left\n" {
		t.Errorf("with what it leaves behind it printed %q: %v", out, err)
	}
	if out, err := sh("head -c 1000000 /dev/zero").Run(t.Context()); err != nil || len(out) != maxOutput {
		t.Errorf("%d bytes were kept: %v", len(out), err)
	}
}

// TestRunEnds ends a command with what it started.
func TestRunEnds(t *testing.T) {
	c := Command{Argv: []string{"/bin/sh", "-c", "sleep 600 & sleep 600"}, Timeout: time.Second}
	start := time.Now()
	if _, err := c.Run(t.Context()); err == nil || err.Error() != "/bin/sh did not end within 1s" {
		t.Errorf("it failed with %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Run(ctx); err == nil {
		t.Error("it ran although nobody waits")
	}
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestWords(t *testing.T) {
	first, last := First(5), Last(5)
	for _, w := range []*Words{first, last} {
		for _, part := range []string{"one", "\ntwo", "\n", "three four\n\n"} {
			if n, err := w.Write([]byte(part)); n != len(part) || err != nil {
				t.Errorf("wrote %d: %v", n, err)
			}
		}
	}
	if first.String() != "one t" || first.Line() != "t" || last.String() != "our" || last.Line() != "our" {
		t.Errorf("%q %q, %q %q", first, first.Line(), last, last.Line())
	}
}
