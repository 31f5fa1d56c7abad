package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
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

// TestApplyUnkept has apply mend a place while its store cannot be written: the world shows nothing of that, and it is said.
func TestApplyUnkept(t *testing.T) {
	t.Parallel()
	s := offline(t)
	s.write("tls.yaml", "version: 1\nproject: shop\ncas:\n  internal: {local: {}}\nidentities:\n  web: {ca: internal, names: [web]}\nbindings:\n  web: {identity: web, directory: web}\n")
	s.want(exitDone, "apply")
	if err := os.Remove(filepath.Join(s.dir, "web", "cert.pem")); err != nil {
		t.Fatal(err)
	}
	s.now = func() time.Time { return time.Now().Add(time.Minute) } // nobody may be writing it for the first time any more
	s.around = func(what string, do func() error) error {
		if what == "create state.new" {
			return syscall.EROFS
		}
		return do()
	}
	r := s.want(exitPart, "apply")
	if !strings.Contains(r.out, "place web") || !strings.Contains(r.out, "web  Unverified") ||
		!strings.Contains(r.err, "read-only file system\ncertwright: hint: mount a file system there that can be written") {
		t.Errorf("%s%s", r.out, r.err)
	}
	s.around = nil
	s.want(exitDone, "apply")
}
