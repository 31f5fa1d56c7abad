package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// thousandYAML is a spec of n ECDSA identities with a directory binding each.
func thousandYAML(n int) string {
	var s strings.Builder
	s.WriteString("version: 1\nproject: bench\ncas:\n  root: {local: {}}\nidentities:\n")
	for i := range n {
		fmt.Fprintf(&s, "  id%05d: {ca: root, names: [id%05d.example.internal, id%05d, www.id%05d.example.internal, 10.0.%d.%d]}\n", i, i, i, i, i/256, i%256)
	}
	s.WriteString("bindings:\n")
	for i := range n {
		fmt.Fprintf(&s, "  b%05d: {identity: id%05d, directory: ./certs/%05d}\n", i, i, i)
	}
	return s.String()
}

// thousand writes that spec into a folder of its own.
func thousand(b *testing.B, n int) string {
	b.Helper()
	dir := b.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "tls.yaml"), []byte(thousandYAML(n)), 0o600); err != nil {
		b.Fatal(err)
	}
	return dir
}

// BenchmarkPlan is an unchanged plan over a thousand identities and directory bindings.
func BenchmarkPlan(b *testing.B) {
	c := command{t: b, dir: thousand(b, 1000)}
	c.want(exitDone, "apply")
	for b.Loop() {
		c.want(exitDone, "plan", "--exit-code")
	}
}

// BenchmarkApply is the first apply of a thousand identities and directory bindings.
func BenchmarkApply(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		c := command{t: b, dir: thousand(b, 1000)}
		b.StartTimer()
		c.want(exitDone, "apply")
	}
}
