package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs testdata/script: each script is one command or concept, as a person would use it.
//
// No script sees an engine: docker's current context is one whose socket does not exist, so that none was named
// either. The clock stands at $CERTWRIGHT_TEST_NOW.
func TestScripts(t *testing.T) {
	testscript.Run(t, params(t, "../../testdata/script"))
}

func params(t *testing.T, dir string) testscript.Params {
	root := t.TempDir()
	return testscript.Params{
		Dir:                 dir,
		WorkdirRoot:         root, // keys are looked for when a script has ended
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("CERTWRIGHT_TEST_NOW", "2026-11-22T12:00:00Z")
			e.Setenv("CERTWRIGHT_TEST_TRANSCRIPT", filepath.Join(root, filepath.Base(e.WorkDir)+".transcript"))
			e.Setenv("DOCKER_CONFIG", filepath.Join(e.WorkDir, ".docker"))
			e.Setenv("REPO", repository(t))
			e.Defer(func() { keep(e.WorkDir, e.Getenv("CERTWRIGHT_TEST_TRANSCRIPT")) })
			return withoutEngine(e.Getenv("DOCKER_CONFIG"))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "prints": prints, "keys": keysOf, "tree": treeCommand, "same": same, "replace": replace, "fill": fill,
		},
	}
}

func repository(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// withoutEngine writes a configuration of docker whose current context is an engine that is not there.
func withoutEngine(dir string) error {
	// The folder of a context is the SHA-256 of its name.
	meta := filepath.Join(dir, "contexts/meta/5ad38304b535c2987dbd24657c1a11b884984ff600d9f389deb0d4e634fee792")
	return errors.Join(
		os.MkdirAll(meta, 0o700),
		os.WriteFile(filepath.Join(meta, "meta.json"), []byte(`{"Name":"absent","Endpoints":{"docker":{"Host":"unix:///nonexistent/docker.sock"}}}`), 0o600),
		os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"currentContext":"absent"}`), 0o600),
	)
}

// exits runs a program and wants an exit code: exits 3 certwright plan --exit-code. What it prints is for stdout
// and stderr to compare.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARGUMENT...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var ended *exec.ExitError
		if !errors.As(err, &ended) {
			ts.Fatalf("%v", err)
		}
		code = ended.ExitCode()
	}
	if code != want {
		ts.Fatalf("exit %d, want %d", code, want)
	}
}

// What differs from run to run: serials, key ids and fingerprints, and the time of a renewal, which has a random part.
var (
	randomHex = regexp.MustCompile(`\b([0-9a-f]{64}|[0-9a-f]{40}|[0-9a-f]{24,32}|[0-9a-f]{12})\b`)
	// The columns of a table are as wide as the script's directory is long.
	columns = regexp.MustCompile(`(\S) {2,}`)
	// What takes long on a slow machine is said to be under way.
	underWay   = regexp.MustCompile(`(?m)^  … .*\n`)
	randomTime = regexp.MustCompile(`((?:renews|nothing before|"renewAt":|"next":) "?)[0-9-]{10}T[0-9:]{8}Z`)
)

// steady is what was said in a directory without what differs from run to run.
func steady(said, dir string) string {
	said = strings.ReplaceAll(said, dir, "$WORK")
	said = randomHex.ReplaceAllStringFunc(said, func(s string) string {
		if len(s) < 32 && len(s) > 12 {
			return strings.Repeat("x", 32) // a serial with zeros before it
		}
		return strings.Repeat("x", len(s))
	})
	said = underWay.ReplaceAllString(said, "")
	said = columns.ReplaceAllString(said, "$1  ")
	return randomTime.ReplaceAllString(said, "${1}T")
}

// prints compares all that the last program printed with a file: prints stdout want. What is random is written as
// as many x, a moment as T, the script's directory as $WORK, and columns stand two blanks apart.
func prints(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: prints stdout|stderr FILE")
	}
	got := steady(ts.ReadFile(args[0]), ts.Getenv("WORK"))
	if want := ts.ReadFile(args[1]); got != want {
		ts.Logf("%s is:\n%s", args[0], got)
		ts.Fatalf("(-%s +%s):\n%s", args[1], args[0], cmp.Diff(want, got))
	}
}

// keysOf compares the keys of the JSON that was printed with a file of their paths: keys stdout want.
func keysOf(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: keys stdout FILE")
	}
	var document any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &document))
	all := map[string]bool{}
	paths(all, "", document)
	got := strings.Join(slices.Sorted(maps.Keys(all)), "\n") + "\n"
	if want := ts.ReadFile(args[1]); got != want {
		ts.Logf("keys are:\n%s", got)
		ts.Fatalf("(-%s +%s):\n%s", args[1], args[0], cmp.Diff(want, got))
	}
}

func paths(all map[string]bool, at string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			all[at+"."+k] = true
			paths(all, at+"."+k, inner)
		}
	case []any:
		for _, inner := range v {
			paths(all, at+"[]", inner)
		}
	}
}

// fill writes a file of a size: fill FILE LINE TIMES.
func fill(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: fill FILE LINE TIMES")
	}
	times, err := strconv.Atoi(args[2])
	ts.Check(err)
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	ts.Check(err)
	_, err = f.WriteString(strings.Repeat(args[1]+"\n", times))
	ts.Check(errors.Join(err, f.Close()))
}

// treeCommand writes down what a directory is like, for same: tree DIRECTORY FILE.
func treeCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: tree DIRECTORY FILE")
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(listing(ts, ts.MkAbs(args[0]), ts.MkAbs(args[1]))), 0o600))
}

// same wants a directory to be as tree saw it: same DIRECTORY FILE.
func same(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: same DIRECTORY FILE")
	}
	before, now := ts.ReadFile(args[1]), listing(ts, ts.MkAbs(args[0]), ts.MkAbs(args[1]))
	if (before == now) == neg {
		ts.Fatalf("before:\n%s\nnow:\n%s", before, now)
	}
}

// listing is everything below dir with mode, time and a hash of what it holds, but for one file.
func listing(ts *testscript.TestScript, dir, without string) string {
	var all strings.Builder
	ts.Check(filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == without || path == dir || entry.Name() == ".docker" {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		var data []byte
		if info.Mode().IsRegular() {
			data, err = os.ReadFile(path)
		}
		link, _ := os.Readlink(path)
		rel, _ := filepath.Rel(dir, path)
		fmt.Fprintf(&all, "%s %v %d %x %s\n", rel, info.Mode(), info.ModTime().UnixNano(), sha256.Sum256(data), link)
		return err
	}))
	return all.String()
}

// replace changes a file: replace FILE OLD NEW.
func replace(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: replace FILE OLD NEW")
	}
	text := ts.ReadFile(args[0])
	if !strings.Contains(text, args[1]) {
		ts.Fatalf("%s does not hold %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.ReplaceAll(text, args[1], args[2])), 0o644))
}
