// Package servertest has what tests need to run real servers of CAs on loopback, each built from its Go module in a module of
// its own in testdata, so that what it depends on stays out of the product's go.mod. Only tests import it.
package servertest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Tool is a program that a module in testdata names as its tool.
type Tool struct {
	module, name string
	build        func() (path string, err error)
}

// NewTool is the tool of that name. It is built when it is needed first, or found in the cache of go.
func NewTool(module, name string) Tool {
	return Tool{module, name, sync.OnceValues(func() (string, error) {
		root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
		if err != nil {
			return "", fmt.Errorf("the module's folder: %w", err)
		}
		tool := exec.Command("go", "tool", "-n", name)
		tool.Dir = filepath.Join(strings.TrimSpace(string(root)), "testdata", module)
		// Some dependencies want a library of the system where there is cgo.
		tool.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
		var said bytes.Buffer
		tool.Stderr = &said
		path, err := tool.Output()
		if err != nil {
			return "", fmt.Errorf("build %s: %w\n%s", name, err, said.Bytes())
		}
		return strings.TrimSpace(string(path)), nil
	})}
}

// Need skips a test where the tool cannot be built, or fails it when CERTWRIGHT_TEST_REQUIRE has `servers`.
func (tool Tool) Need(t testing.TB) {
	t.Helper()
	if _, err := tool.build(); err != nil {
		if slices.Contains(strings.Split(os.Getenv("CERTWRIGHT_TEST_REQUIRE"), ","), "servers") {
			t.Fatalf("CERTWRIGHT_TEST_REQUIRE names servers: %v", err)
		}
		t.Skipf("SKIPPED: %v", err)
	}
}

// Path is where the tool lies.
func (tool Tool) Path(t testing.TB) string {
	t.Helper()
	tool.Need(t)
	path, err := tool.build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Run runs the tool to its end, in a directory and with more variables than its home, and returns what it prints.
func (tool Tool) Run(t testing.TB, dir string, in []byte, env []string, args ...string) []byte {
	t.Helper()
	path, err := tool.build()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(path, args...)
	c.Dir, c.Stdin = dir, bytes.NewReader(in)
	c.Env = append([]string{"HOME=" + dir, "PATH=" + os.Getenv("PATH")}, env...)
	var said bytes.Buffer
	c.Stderr = &said
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", tool.name, strings.Join(args, " "), err, said.Bytes())
	}
	return out
}

// Server is a tool that runs.
type Server struct {
	cmd  *exec.Cmd
	mu   sync.Mutex
	said bytes.Buffer
}

// Start runs the tool with a home of its own.
func (tool Tool) Start(t testing.TB, home string, args ...string) *Server {
	t.Helper()
	path, err := tool.build()
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{cmd: exec.Command(path, args...)}
	s.cmd.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH")}
	s.cmd.Stdout, s.cmd.Stderr = s, s
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return s
}

// Stop ends it.
func (s *Server) Stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(10*time.Second, func() { _ = s.cmd.Process.Kill() })
	_ = s.cmd.Wait()
	kill.Stop()
}

// Write implements io.Writer: what it prints is looked at while it does.
func (s *Server) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said.Write(p)
}

// Said is what it printed so far.
func (s *Server) Said() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said.String()
}

// FreeAddress is one of loopback where nothing listens.
func FreeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
