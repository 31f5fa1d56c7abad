package main

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

const (
	unitFolder   = "../../docs/systemd"
	watchUnit    = "certwright.service"
	applyUnit    = "certwright-apply.service"
	programInUse = "/usr/local/bin/certwright" // as the units have it
)

// unit is the file of a unit: its settings by section, in the order they stand there.
func unit(t *testing.T, name string) map[string][]string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(unitFolder, name))
	if err != nil {
		t.Fatal(err)
	}
	sections, section := map[string][]string{}, ""
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if head, ok := strings.CutPrefix(line, "["); ok {
			section = strings.TrimSuffix(head, "]")
		} else if line != "" && !strings.HasPrefix(line, "#") {
			sections[section] = append(sections[section], line)
		}
	}
	return sections
}

// TestUnits has systemd read the units, and judge how much they are exposed.
func TestUnits(t *testing.T) {
	t.Parallel()
	dockertest.Servers(t, "systemd-analyze")
	dir := t.TempDir()
	files, err := os.ReadDir(unitFolder)
	if err != nil {
		t.Fatal(err)
	}
	var units []string
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(unitFolder, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(data), programInUse, staticBinary(t)) // it has to be there
		if err := os.WriteFile(filepath.Join(dir, f.Name()), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		units = append(units, f.Name())
	}
	if want := []string{applyUnit, "certwright-apply.timer", watchUnit}; !slices.Equal(units, want) {
		t.Fatalf("there are %v", units)
	}
	analyze := func(args ...string) (string, error) {
		c := exec.CommandContext(t.Context(), "systemd-analyze", args...)
		c.Dir = dir
		out, err := c.CombinedOutput()
		return string(out), err
	}
	for _, name := range units {
		if out, err := analyze("verify", "--man=no", "./"+name); err != nil || out != "" {
			t.Errorf("verify %s: %v\n%s", name, err, out)
		}
	}
	for _, name := range []string{watchUnit, applyUnit} {
		// A service without any of it is at 96.
		if out, err := analyze("security", "--offline=true", "--threshold=25", "./"+name); err != nil {
			t.Errorf("security of %s: %v\n%s", name, err, out)
		}
	}
}

// TestUnitsAgree wants the two services to be bounded in the same way.
func TestUnitsAgree(t *testing.T) {
	bounds := func(name string) (lines []string) {
		for _, l := range unit(t, name)["Service"] {
			key, _, _ := strings.Cut(l, "=")
			if !slices.Contains([]string{"Type", "ExecStart", "ExecReload", "Restart", "RestartSec", "WatchdogSec", "TimeoutStartSec"}, key) {
				lines = append(lines, l)
			}
		}
		return lines
	}
	watch := bounds(watchUnit)
	if d := cmp.Diff(watch, bounds(applyUnit)); d != "" {
		t.Errorf("%s has -, %s has +\n%s", watchUnit, applyUnit, d)
	}
	if len(watch) < 20 {
		t.Errorf("only %d bounds: %v", len(watch), slices.Sorted(maps.Keys(unit(t, watchUnit))))
	}
}
