package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certwright/certwright/spec"
	"github.com/google/go-cmp/cmp"
)

var updatePages = flag.Bool("update", false, "write the table of docs/reload.md anew")

// TestPresetsPage holds the table of docs/reload.md against the one in spec.
func TestPresetsPage(t *testing.T) {
	t.Parallel()
	const begin, end = "<!-- presets -->\n", "<!-- /presets -->"
	page := filepath.Join("../../docs", "reload.md")
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, opened := strings.Cut(string(data), begin)
	table, after, closed := strings.Cut(rest, end)
	if !opened || !closed {
		t.Fatalf("%s has no place for the table", page)
	}
	want := presetTable()
	if *updatePages {
		if err := os.WriteFile(page, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(want, table); d != "" {
		t.Errorf("%s is not the table of spec; -update writes it (-want +got):\n%s", page, d)
	}
}

func presetTable() string {
	var b strings.Builder
	b.WriteString("| `reload:` | images | how it reloads | files | owner | probe | files that are no pair | |\n|---|---|---|---|---|---|---|---|\n")
	for _, p := range spec.Presets {
		owner, protocol, proved := p.User, p.Protocol, "documented"
		if owner == "" {
			owner = "root"
		}
		if protocol == "" {
			protocol = "tls"
		}
		if p.Proved {
			proved = "proved"
		}
		how := p.How()
		if p.Note != "" {
			how += "; " + p.Note
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | `%s` | %s | %s: %s |\n",
			p.Name, strings.Join(p.Images, ", "), how, p.Files, owner, protocol, p.NoPair, proved, p.Source)
	}
	return b.String()
}
