package spec_test

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/hashicorp/go-multierror"
	"gopkg.in/yaml.v3"

	"github.com/certwright/certwright/spec"
)

// FuzzParse feeds anything: it never panics, ends soon, says the same twice, says where each error is on a line of
// its own, and accepts nothing that the schema refuses.
func FuzzParse(f *testing.F) {
	seeds, err := filepath.Glob(filepath.Join(testdata, "*", "*.yaml"))
	if err != nil || len(seeds) < 100 {
		f.Fatalf("%d seeds (%v)", len(seeds), err)
	}
	for _, seed := range seeds {
		data, err := os.ReadFile(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	schema := compile(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		start := time.Now()
		s, err := spec.Parse([]spec.Input{{Name: "tls.yaml", Data: data}}, env)
		if took := time.Since(start); took > 5*time.Second && len(data) < 100_000 {
			t.Errorf("took %v", took)
		}
		again, err2 := spec.Parse([]spec.Input{{Name: "tls.yaml", Data: data}}, env)
		if diff := cmp.Diff(s, again, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
			t.Errorf("differs the second time:\n%s", diff)
		}
		if err == nil {
			if s == nil || err2 != nil {
				t.Fatal("no spec and no error")
			}
			checkSchema(t, schema.Validate, data)
			return
		}
		if err.Error() != err2.Error() {
			t.Errorf("says once\n%s\nand then\n%s", err, err2)
		}
		lines := 1
		for _, brk := range []string{"\n", "\r", "\u0085", "\u2028", "\u2029"} { // as YAML 1.1 has them
			lines += bytes.Count(data, []byte(brk))
		}
		checkErrors(t, err, lines)
	})
}

// checkErrors looks at every error: it has a position inside the file and stays on its line.
func checkErrors(t *testing.T, err error, lines int) {
	t.Helper()
	var all *multierror.Error
	if !errors.As(err, &all) || len(all.Errors) == 0 {
		t.Fatalf("%T %v", err, err)
	}
	for _, each := range all.Errors {
		e, ok := each.(*spec.Error)
		if !ok {
			t.Fatalf("%T %v", each, each)
		}
		if e.Pos.File != "tls.yaml" || e.Pos.Line < 1 || e.Pos.Line > lines+1 || e.Pos.Column < 1 {
			t.Errorf("nowhere (%d lines): %v", lines, e)
		}
		if text := e.Error(); strings.ContainsAny(text, "\n\r\x00\x1b") {
			t.Errorf("breaks its line: %q", text)
		}
	}
}

// checkSchema holds what Parse accepted against the schema. Lines and paragraphs that YAML 1.1 counts as breaks
// aside, both read the same document.
func checkSchema(t *testing.T, validate func(any) error, data []byte) {
	t.Helper()
	var v map[string]any
	if yaml.Unmarshal(data, &v) != nil {
		return // below x- anything may stand, also what yaml.v3 cannot put into a map
	}
	for key := range v {
		if strings.HasPrefix(key, "x-") {
			delete(v, key)
		}
	}
	if err := validate(asJSON(v)); err != nil {
		t.Errorf("the schema refuses it: %v", err)
	}
}
