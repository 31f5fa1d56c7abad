package dockertest

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestNothingIsSkippedInSilence runs TestRun again where there is no engine.
func TestNothingIsSkippedInSilence(t *testing.T) {
	for _, c := range []struct {
		name, require string
		fails         bool
		says          string
	}{
		{"skip", "", false, "SKIPPED: no Docker engine answers"},
		{"other", "servers", false, "SKIPPED: no Docker engine answers"},
		{"require", "servers,engine", true, "CERTWRIGHT_TEST_REQUIRE names engine"},
	} {
		t.Run(c.name, func(t *testing.T) {
			again := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestRun$", "-test.v")
			again.Env = append(os.Environ(), "DOCKER_HOST=unix:///nonexistent/docker.sock", "CERTWRIGHT_TEST_REQUIRE="+c.require)
			out, err := again.CombinedOutput()
			if (err != nil) != c.fails || !strings.Contains(string(out), c.says) {
				t.Errorf("want failure %t and %q; got %v and\n%s", c.fails, c.says, err, out)
			}
		})
	}
}
