package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/certwright/certwright/providers/docker"
)

// TestDocs runs the README and every page of docs as a reader would: in a folder of its own, from top to bottom.
//
// In a console block each line after "$ " is run, and must succeed; what follows it is what it must print, where
// "…" stands for any lines. A yaml block or a script with a file name is written to that file; a yaml block with a version must be good.
func TestDocs(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(pages) < 12 {
		t.Fatalf("docs: %v, %v", pages, err)
	}
	for _, page := range append(pages, "../../README.md") {
		t.Run(filepath.Base(page), func(t *testing.T) {
			t.Parallel()
			r := reader{t: t, dir: t.TempDir()}
			r.prepare()
			for _, b := range blocks(t, page) {
				r.follow(b)
			}
			keep(r.dir, r.transcript())
		})
	}
}

// block is a fenced block of a page.
type block struct {
	where, info, text string
}

func blocks(t *testing.T, page string) (all []block) {
	t.Helper()
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var open *block
	for i, line := range strings.Split(string(data), "\n") {
		info, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && open == nil:
			open = &block{where: fmt.Sprintf("%s:%d", filepath.Base(page), i+1), info: info}
		case fence:
			all, open = append(all, *open), nil
		case open != nil:
			open.text += line + "\n"
		}
	}
	if open != nil {
		t.Fatalf("%s: the block is not closed", open.where)
	}
	return all
}

type reader struct {
	t   *testing.T
	dir string
}

func (r reader) transcript() string { return r.dir + ".transcript" }

// prepare makes the folder look like a checkout, as far as the pages need one.
func (r reader) prepare() {
	r.t.Helper()
	for _, name := range []string{"go.mod", "go.sum", "cmd", "spec", "reconcile", "providers", "tls.yaml.example"} {
		if err := os.Symlink(filepath.Join(repository(r.t), name), filepath.Join(r.dir, name)); err != nil {
			r.t.Fatal(err)
		}
	}
	if err := withoutEngine(filepath.Join(r.dir, ".docker")); err != nil {
		r.t.Fatal(err)
	}
}

func (r reader) follow(b block) {
	r.t.Helper()
	if strings.Contains(b.text, "$WORK") {
		r.t.Errorf("%s: $WORK is the tests' own: a reader's folder is /home/ops", b.where)
	}
	kind, name, _ := strings.Cut(b.info, " ")
	switch {
	case kind == "console":
		for _, c := range strings.Split("\n"+b.text, "\n$ ")[1:] {
			command, want, _ := strings.Cut(c, "\n")
			r.run(b.where, command, strings.TrimSuffix(want, "\n"))
		}
	case kind == "yaml" && name != "", kind == "sh" && strings.HasSuffix(name, ".sh"):
		if err := errors.Join(os.MkdirAll(filepath.Join(r.dir, filepath.Dir(name)), 0o700), os.WriteFile(filepath.Join(r.dir, name), []byte(b.text), 0o600)); err != nil {
			r.t.Fatal(err)
		}
	case kind == "yaml" && strings.HasPrefix(b.text, "version:"):
		if err := os.WriteFile(filepath.Join(r.dir, "page.yaml"), []byte(b.text), 0o600); err != nil {
			r.t.Fatal(err)
		}
		r.run(b.where, "certwright validate -f page.yaml", "…")
	}
}

func (r reader) run(where, command, want string) {
	r.t.Helper()
	sh := exec.CommandContext(r.t.Context(), "sh", "-c", command)
	sh.Dir = r.dir
	sh.Env = append(os.Environ(), "DOCKER_HOST=", "NO_COLOR=", "DOCKER_CONFIG="+filepath.Join(r.dir, ".docker"),
		"CERTWRIGHT_TEST_TRANSCRIPT="+r.transcript())
	out, err := sh.CombinedOutput()
	if err != nil {
		r.t.Errorf("%s: %s: %v\n%s", where, command, err, out)
		return
	}
	if want == "" {
		return
	}
	want = strings.ReplaceAll(want, "/home/ops", r.dir) // whose folder the reader is in
	expression := regexp.QuoteMeta(steady(want+"\n", r.dir))
	expression = strings.ReplaceAll(expression, "…\n", `(?s:.*)`)
	got := steady(string(out), r.dir)
	if !regexp.MustCompile("^" + expression + "$").MatchString(got) {
		r.t.Errorf("%s: %s prints\n%s\nnot\n%s", where, command, got, want)
	}
}

// TestSecurityPage wants the page to list exactly the requests that can be made to an engine.
func TestSecurityPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for _, c := range docker.Calls {
		fmt.Fprintf(&want, "| `%s %s` | %s |\n", c.Method, c.Path, c.Why)
	}
	if !strings.Contains(string(page), "\n|---|---|\n"+want.String()+"\n") {
		t.Errorf("docs/security.md does not list the calls to the engine as docker.Calls has them:\n%s", want.String())
	}
}

// TestDependencyPage wants a line for every module that this one imports from, and for no other.
func TestDependencyPage(t *testing.T) {
	data, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	var modules []string
	for _, m := range regexp.MustCompile(`(?m)^\t(\S+) v`).FindAllSubmatch(data, -1) {
		modules = append(modules, string(m[1]))
	}
	used := map[string]bool{}
	for _, p := range packages(t) {
		for _, i := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			of := "" // the longest path wins: one module may lie below another
			for _, m := range modules {
				if (i == m || strings.HasPrefix(i, m+"/")) && len(m) > len(of) {
					of = m
				}
			}
			if of != "" {
				used[of] = true
			}
		}
	}
	page, err := os.ReadFile("../../docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(string(page), -1) {
		if !used[line[1]] {
			t.Errorf("docs/dependencies.md: nothing imports %s", line[1])
		}
		delete(used, line[1])
	}
	for m := range used {
		t.Errorf("docs/dependencies.md: no line about %s", m)
	}
}
