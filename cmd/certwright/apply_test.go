package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestManyBindings applies more bindings than anyone reads one by one: they are counted, and only what is wrong is
// listed.
func TestManyBindings(t *testing.T) {
	var s strings.Builder
	s.WriteString("version: 1\nproject: many\ncas: {internal: {local: {}}}\nbindings:\n")
	for i := range listedSteps + 10 {
		fmt.Fprintf(&s, "  roots%03d: {trust: [internal], directory: ./certs/%03d}\n", i, i)
	}
	c := command{t: t, dir: t.TempDir()}
	if err := os.WriteFile(filepath.Join(c.dir, "tls.yaml"), []byte(s.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	foreign := filepath.Join(c.dir, "certs/007")
	if err := os.MkdirAll(foreign, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(foreign, "ca.pem"), []byte("theirs"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := c.want(exitPart, "apply").out
	want := fmt.Sprintf("  1 binding is Blocked\n  %d bindings are Unverified\n\nBindings\n  roots007  Blocked  ", listedSteps+9)
	if !strings.Contains(out, want) || strings.Contains(out, "roots008  Unverified") {
		t.Errorf("apply says:\n%s", out)
	}
}
