package main

import (
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// binaries is the folder of what buildStatic built; suite.Run removes it.
var binaries string

var buildStatic = sync.OnceValues(func() (path string, err error) {
	if binaries, err = os.MkdirTemp("", "certwright-binary-"); err != nil {
		return "", err
	}
	path = filepath.Join(binaries, "certwright")
	build := exec.Command("go", "build", "-buildvcs=false", "-ldflags=-s -w", "-o", path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build certwright: %w\n%s", err, out)
	}
	return path, nil
})

// staticBinary is the product as it is shipped, built once for all tests.
func staticBinary(t testing.TB) string {
	t.Helper()
	path, err := buildStatic()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestBinary looks at the product as it is shipped: static, small, and with nothing but the binary gone a plan stays
// empty.
func TestBinary(t *testing.T) {
	dir := t.TempDir()
	bin := filepath.Join(dir, "certwright")
	shipped, err := os.ReadFile(staticBinary(t))
	if err != nil {
		t.Fatal(err)
	}
	install := func() {
		if err := os.WriteFile(bin, shipped, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	install()
	info, err := os.Stat(bin)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() >= 20_000_000 {
		t.Errorf("the binary has %d bytes", info.Size())
	}
	f, err := elf.Open(bin)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if libs, err := f.ImportedLibraries(); err != nil || len(libs) > 0 {
		t.Errorf("it is linked with %v, %v", libs, err)
	}

	example, err := os.ReadFile("../../tls.yaml.example")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tls.yaml"), example, 0o600); err != nil {
		t.Fatal(err)
	}
	call := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), bin, args...)
		cmd.Dir, cmd.Env = dir, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("certwright %v: %v\n%s", args, err, out)
		}
	}
	call("apply", "--only", "client") // its container has no other test's name to wait for
	if err := os.Remove(bin); err != nil {
		t.Fatal(err)
	}
	install()
	for range 3 {
		call("plan", "--only", "client", "--exit-code")
	}
}
