package main

import (
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/certwright/certwright"

// goPackage is what `go list -json` says of a package.
type goPackage struct {
	Dir, ImportPath           string
	GoFiles, Imports          []string
	TestGoFiles, XTestGoFiles []string
	TestImports, XTestImports []string
	IgnoredGoFiles            []string
}

// packages lists the packages of the module, by import path without the module's.
func packages(t *testing.T) map[string]goPackage {
	t.Helper()
	list := exec.Command("go", "list", "-json", "./...")
	list.Dir, list.Stderr = "../..", os.Stderr
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]goPackage{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimPrefix(p.ImportPath, module+"/")] = p
	}
}

// forTests reports whether a package exists for tests alone: they may import anything.
func forTests(path string) bool {
	return strings.Contains(path, "test") || path == "providers/memory" || strings.HasPrefix(path, "providers/memory/") ||
		path == "providers/probe/zoo" || path == "providers/probe/load" || strings.HasPrefix(path, "providers/probe/load/")
}

// shared are the providers that others are built on: the file system, commands of the user's, having servers reload, MySQL's protocol, asking CAs,
// and the trust stores of containers.
var shared = []string{"disk", "command", "reload", "mysql", "exchange", "truststore"}

// forbidden says why a package may not import another, or "".
func forbidden(from, to string) string {
	layer := func(path string) string { top, _, _ := strings.Cut(path, "/"); return top }
	provider := func(path string) string { parts := strings.SplitN(path, "/", 3); return parts[1] }
	switch {
	case layer(from) == layer(to) && layer(from) != "providers":
		return ""
	case forTests(to):
		return "it exists for tests alone"
	case layer(from) == "cmd":
		return ""
	case layer(from) == "providers" && layer(to) == "providers":
		if provider(from) == provider(to) || slices.Contains(shared, provider(to)) {
			return ""
		}
		return "providers know nothing of each other"
	case layer(from) == "providers" && (to == "reconcile" || to == "spec"), from == "reconcile" && to == "spec":
		return ""
	}
	return "imports run cmd → providers → reconcile → spec"
}

func TestImports(t *testing.T) {
	checked := 0
	for from, p := range packages(t) {
		if forTests(from) {
			continue
		}
		for _, i := range p.Imports {
			if to, ours := strings.CutPrefix(i, module+"/"); ours {
				checked++
				if why := forbidden(from, to); why != "" {
					t.Errorf("%s imports %s: %s", from, to, why)
				}
			}
			if (from == "reconcile" || from == "spec") && strings.Contains(i, "docker") {
				t.Errorf("%s imports %s: it knows no Docker", from, i)
			}
		}
	}
	if checked < 20 {
		t.Errorf("only %d imports were looked at", checked)
	}
	for _, wrong := range [][2]string{
		{"reconcile", "providers/disk"},
		{"spec", "reconcile"},
		{"providers/store", "providers/docker"},
		{"providers/disk", "cmd/certwright"},
		{"cmd/certwright", "providers/memory"},
	} {
		if forbidden(wrong[0], wrong[1]) == "" {
			t.Errorf("%s may import %s", wrong[0], wrong[1])
		}
	}
}

// TestPackageComments wants exactly one package comment per package, in the file named after it or its
// folder, and none elsewhere.
func TestPackageComments(t *testing.T) {
	for path, p := range packages(t) {
		var commented []string
		name := ""
		for _, file := range slices.Concat(p.GoFiles, p.TestGoFiles, p.XTestGoFiles, p.IgnoredGoFiles) {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, file), nil, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			if f.Doc != nil {
				commented = append(commented, file)
			}
			if !strings.HasSuffix(file, "_test.go") {
				name = f.Name.Name
			}
		}
		if len(p.GoFiles) == 0 {
			continue
		}
		if want := []string{name + ".go"}; !slices.Equal(commented, want) && !slices.Equal(commented, []string{filepath.Base(path) + ".go"}) {
			t.Errorf("%s: package comments are in %v, want one in %v", path, commented, want)
		}
	}
}
