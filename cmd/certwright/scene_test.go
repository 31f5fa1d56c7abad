package main

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/mount"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// scene is a folder with a tls.yaml of one binding, web, and real servers that use its files.
type scene struct {
	command
	certs string // the directory the binding places into
}

// newScene makes a scene with nothing in it.
func newScene(t *testing.T) scene {
	t.Helper()
	dockertest.Engine(t)
	s := scene{command: command{t: t, dir: t.TempDir()}}
	s.certs = filepath.Join(s.dir, "certs")
	if err := os.Mkdir(s.certs, 0o755); err != nil {
		t.Fatal(err)
	}
	return s
}

// spec writes tls.yaml with the lines of the binding web.
func (s scene) spec(lines ...string) {
	s.t.Helper()
	s.write("tls.yaml", `version: 1
project: scene
cas:
  internal: {local: {lifetime: 10y}}
identities:
  web: {ca: internal, names: [web.test]}
bindings:
  web:
    identity: web
    `+strings.Join(lines, "\n    ")+"\n")
}

func (s scene) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// server creates a container of the test server with the scene's certs at /certs, and starts nothing.
func (s scene) server(c dockertest.Container, flags ...string) dockertest.Running {
	s.t.Helper()
	c.Image, c.Cmd = dockertest.Image(s.t, dockertest.GoServer), flags
	if c.Mounts == nil {
		c.Mounts = []mount.Mount{bindMount(s.certs, "/certs")}
	}
	return dockertest.Run(s.t, c)
}

func bindMount(source, target string) mount.Mount {
	return mount.Mount{Type: mount.TypeBind, Source: source, Target: target, ReadOnly: true}
}

// up applies for servers that wait for their first files, starts them, and applies until they are proved.
func (s scene) up(servers ...dockertest.Running) {
	s.t.Helper()
	s.want(exitDone, "apply")
	for _, c := range servers {
		dockertest.Start(s.t, c.ID)
	}
	s.want(exitDone, "apply", "--wait", dockertest.Patience.String())
	s.state("Ready", "")
}

// state ends the test unless status says that web is in a state for a reason that holds text.
func (s scene) state(state, text string) bindingDocument {
	s.t.Helper()
	b := s.status().binding(s.t, "web")
	if b.State != state || !strings.Contains(b.Reason, text) {
		s.t.Fatalf("web is %s (%s), want %s (%s)", b.State, b.Reason, state, text)
	}
	return b
}

// says ends the test unless all texts are in what a command printed.
func (s scene) says(r result, texts ...string) {
	s.t.Helper()
	for _, text := range texts {
		if !strings.Contains(r.out+r.err, text) {
			s.t.Fatalf("nothing says %q:\n%s%s", text, r.out, r.err)
		}
	}
}

// placed is the serial of the certificate that lies in a directory.
func placed(t testing.TB, dir string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "cert.pem"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		t.Fatal("cert.pem holds no certificate")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(leaf.SerialNumber.Bytes())
}

// served is the serial that a container serves on port 8443, seen without certwright.
func served(t testing.TB, id string) string {
	t.Helper()
	serial := ""
	address := net.JoinHostPort(dockertest.Address(t, id), "8443")
	dockertest.Poll(t, dockertest.Patience, address+" to serve", func() (err error) {
		serial, err = handshake(address)
		return err
	})
	return serial
}

func handshake(address string) (serial string, err error) {
	d := &net.Dialer{Timeout: 30 * time.Second} // long enough for a machine that is busy with other tests
	// Only the serial counts; Caddy wants to be asked for a name that it has.
	conn, err := tls.DialWithDialer(d, "tcp", address, &tls.Config{InsecureSkipVerify: true, ServerName: "web.test"}) //nolint:gosec
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return hex.EncodeToString(conn.ConnectionState().PeerCertificates[0].SerialNumber.Bytes()), nil
}

// tree lists everything below a directory with mode, owner and content (a hash of it): equal trees are untouched.
func tree(t testing.TB, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		what := ""
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			what, err = os.Readlink(path)
		case info.Mode().IsRegular():
			var data []byte
			data, err = os.ReadFile(path)
			what = fmt.Sprintf("%x", sha256.Sum256(data))
		}
		st := info.Sys().(*syscall.Stat_t)
		rel, _ := filepath.Rel(dir, path)
		all = append(all, fmt.Sprintf("%s %v %d:%d inode %d %s", rel, info.Mode(), st.Uid, st.Gid, st.Ino, what))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// copyFiles copies the default files of a binding, as they are now, into a new directory.
func copyFiles(t testing.TB, from, to string) {
	t.Helper()
	if err := os.Mkdir(to, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"ca.pem", "cert.pem", "key.pem"} {
		data, err := os.ReadFile(filepath.Join(from, n))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, n), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// inodes are the inode numbers of files.
func inodes(t testing.TB, dir string, names []string) []uint64 {
	t.Helper()
	var all []uint64
	for _, n := range names {
		info, err := os.Lstat(filepath.Join(dir, n))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, info.Sys().(*syscall.Stat_t).Ino)
	}
	return all
}

// replaceFile puts an equal file, with another inode, in the place of one.
func replaceFile(t testing.TB, name string) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name+".other", data, info.Mode()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".other", name); err != nil {
		t.Fatal(err)
	}
}
