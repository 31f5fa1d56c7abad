package spec_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-multierror"

	"github.com/certwright/certwright/spec"
)

var update = flag.Bool("update", false, "write the .out files of testdata/spec/err anew")

const testdata = "../testdata/spec"

// env is the environment of every test.
func env(name string) (string, bool) {
	switch name {
	case "NAME":
		return "shop", true
	case "PORT":
		return "8443", true
	case "HOME":
		return "/home/ops", true
	case "EMPTY":
		return "", true
	}
	return "", false
}

// parse reads a file under the name tls.yaml.
func parse(t *testing.T, file string) (*spec.Spec, error) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return spec.Parse([]spec.Input{{Name: "tls.yaml", Data: data}}, env)
}

func files(t *testing.T, folder string, least int) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(testdata, folder, "*.yaml"))
	if err != nil || len(found) < least {
		t.Fatalf("%d files in %s, want at least %d (%v)", len(found), folder, least, err)
	}
	return found
}

func TestOK(t *testing.T) {
	for _, file := range files(t, "ok", 15) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			s, err := parse(t, file)
			if err != nil {
				t.Fatal(err)
			}
			if s.Project == "" {
				t.Error("no project")
			}
			for _, w := range s.Warnings {
				t.Errorf("warning: %v", w)
			}
		})
	}
}

// TestErr compares everything that is said about a bad file: the errors, or for w-*.yaml the warnings.
func TestErr(t *testing.T) {
	for _, file := range files(t, "err", 130) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			s, err := parse(t, file)
			var got strings.Builder
			switch {
			case err != nil:
				got.WriteString(err.Error() + "\n")
			default:
				for _, w := range s.Warnings {
					got.WriteString("warning: " + w.String() + "\n")
				}
			}
			out := strings.TrimSuffix(file, ".yaml") + ".out"
			if *update {
				if err := os.WriteFile(out, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			if len(want) == 0 {
				t.Error("nothing is wrong with this file")
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestErrorType pins what callers may rely on.
func TestErrorType(t *testing.T) {
	_, err := spec.Parse([]spec.Input{{Name: "tls.yaml", Data: []byte("version: 1\nproject: shop\nbindings: 3\nidentities: []\n")}}, nil)
	var all *multierror.Error
	if !errors.As(err, &all) || len(all.Errors) != 2 {
		t.Fatalf("%T %v", err, err)
	}
	var first *spec.Error
	if !errors.As(all.Errors[0], &first) {
		t.Fatalf("%T", all.Errors[0])
	}
	want := spec.Error{Pos: spec.Pos{File: "tls.yaml", Line: 3, Column: 1}, Path: "bindings", Msg: "must be a mapping, not a number"}
	if diff := cmp.Diff(want, *first); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
