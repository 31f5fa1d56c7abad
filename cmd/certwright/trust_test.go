package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/providers/servertest"
)

// TestTrustPage does what docs/trust.md says, with a watch over its tls.yaml.
func TestTrustPage(t *testing.T) {
	t.Parallel()
	var text string
	var commands []string
	for _, b := range blocks(t, "../../docs/trust.md") {
		switch b.info {
		case "yaml tls.yaml":
			text = b.text
		case "sh":
			commands = append(commands, strings.Split(strings.TrimSpace(b.text), "\n")...)
		}
	}
	if len(commands) != 6 {
		t.Fatalf("the page has %d commands", len(commands))
	}
	w := startWatch(t, "", text, "--interval", "1h", "--listen", "127.0.0.1:0")
	at := w.listens()
	w.shows(at, "/trust/internal.pem", "-----BEGIN CERTIFICATE-----")
	print := fmt.Sprintf("%x", sha256.Sum256(w.file("certs/ca.pem")))
	w.write("web.pem", w.file("certs/cert.pem"))
	bin := filepath.Dir(staticBinary(t))
	page := regexp.MustCompile(`127\.0\.0\.1:9320|10\.0\.0\.5:9320`)
	for i, want := range []string{print + "  internal.pem\n", print + "  certs/ca.pem\n", "internal.pem: written.\n", "web.pem: OK\n", "", "internal.pem: OK\n"} {
		command := strings.ReplaceAll(page.ReplaceAllString(commands[i], at), "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", print)
		sh := exec.CommandContext(t.Context(), "sh", "-c", command)
		sh.Dir, sh.Env = w.dir, append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
		out, err := sh.CombinedOutput()
		note(string(out))
		if err != nil || string(out) != want {
			t.Errorf("%s: %v\n%s\nwant\n%s", command, err, out, want)
		}
	}
	if got, want := w.file("internal.pem"), w.file("certs/ca.pem"); !bytes.Equal(got, want) {
		t.Errorf("the bundle is\n%s\nnot\n%s", got, want)
	}
}

func (w *watched) file(name string) []byte {
	w.t.Helper()
	data, err := os.ReadFile(filepath.Join(w.dir, name))
	if err != nil {
		w.t.Fatal(err)
	}
	return data
}

func (w *watched) write(name string, data []byte) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), data, 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// TestTrustFetch follows a CA to its second root, and has a liar on the way.
func TestTrustFetch(t *testing.T) {
	t.Parallel()
	w := newWatch(t, `version: 1
project: shop
cas:
  internal: {local: {lifetime: 10y}}
  services: {local: {parent: internal, lifetime: 1y}}
  company: {exec: {command: ["false"], roots: roots.pem}}
`, "--interval", "1h", "--listen", "127.0.0.1:0")
	first, second := rootPEM(t, "first"), rootPEM(t, "second")
	w.write("roots.pem", first)
	w.start()
	at := w.listens()
	w.shows(at, "/trust/company.pem", string(first))
	url := "http://" + at + "/trust/company.pem"
	if code, out := w.certwright("trust", "fetch", url, "--fingerprint", printOf(first)); code != 0 || out != string(first) {
		t.Fatalf("%d\n%s", code, out)
	}

	// Into a file, which stays as it is until the roots are others.
	colons := strings.ToUpper(regexp.MustCompile(`(..)\B`).ReplaceAllString(printOf(first), "$1:"))
	w.fetches(exitDone, url, colons, "ca.pem: written.")
	was := w.stat("ca.pem")
	w.fetches(exitDone, url, colons, "ca.pem: unchanged.")
	if is := w.stat("ca.pem"); !os.SameFile(was, is) || !is.ModTime().Equal(was.ModTime()) || is.Mode() != 0o644 {
		t.Errorf("the file is %v of %s, was of %s", is.Mode(), is.ModTime(), was.ModTime())
	}
	w.write("roots.pem", append(bytes.Clone(first), second...))
	w.hangUp()
	both := w.shows(at, "/trust/company.pem", string(second))
	if both != string(first)+string(second) {
		t.Errorf("both roots are\n%s", both)
	}
	w.refuses(url, printOf(first), "it is "+printOf([]byte(both))+", not "+printOf(first), "certwright: hint: ask who keeps that watch")
	w.fetches(exitDone, url, printOf([]byte(both)), "ca.pem: written.")
	if got := w.file("ca.pem"); string(got) != both {
		t.Errorf("the file holds\n%s", got)
	}

	// The root above an intermediate, and no CA of that name.
	_, internal := get(t, at, "/trust/internal.pem")
	if code, services := get(t, at, "/trust/services.pem"); code != 200 || services != internal {
		t.Errorf("%d\n%s\nnot\n%s", code, services, internal)
	}
	w.refuses("http://"+at+"/trust/none.pem", printOf(first), "the answer is 404 Not Found")

	// One on the way that changes a byte, or puts another root there, over TLS.
	for _, lie := range []string{strings.Replace(both, "M", "N", 1), string(second) + string(first), both + "\n", both + both} {
		liar := httptest.NewTLSServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(out, lie) }))
		t.Cleanup(liar.Close)
		w.refuses(liar.URL+"/trust/company.pem", printOf([]byte(both)), printOf([]byte(lie))+", not "+printOf([]byte(both)))
	}
}

// TestTrustFetchHolds refuses what has the fingerprint and is no bundle, and files that are none.
func TestTrustFetchHolds(t *testing.T) {
	t.Parallel()
	root := servertest.NewIssuer(t, "root", nil)
	ca := certificatePEM(root.Certificate.Raw)
	leaf := certificatePEM(root.Leaf(t, "web", time.Now().Add(time.Hour)).Certificate.Raw)
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("swordfish")})
	large := bytes.Repeat([]byte("x"), 1<<20+1)
	w := &watched{t: t, dir: t.TempDir()}
	w.write("ca.pem", ca)
	for says, bundle := range map[string][]byte{
		"certificate 2: it is none of a CA":              append(bytes.Clone(ca), leaf...),
		"a private key has no place in this content":     append(bytes.Clone(ca), key...),
		"something that is no PEM stands before it":      append([]byte("roots:\n"), ca...),
		"it is cut off or damaged":                       ca[:len(ca)/2],
		"0 certificates":                                 nil,
		"is not a certificate":                           certificatePEM([]byte("root")),
		"it is larger than 1048576 bytes":                large,
		"neither a certificate nor a PKCS#8 private key": pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: []byte("crl")}),
	} {
		s := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) { _, _ = out.Write(bundle) }))
		t.Cleanup(s.Close)
		w.refuses(s.URL, printOf(bundle), says)
	}

	other := rootPEM(t, "other")
	s := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) { _, _ = out.Write(other) }))
	t.Cleanup(s.Close)
	for _, mine := range [][]byte{key, leaf, []byte("notes\n"), nil, large} {
		w.write("ca.pem", mine)
		w.refuses(s.URL, printOf(other), "ca.pem is there, and cannot be taken for a trust bundle", "hint: name another file")
	}
	if err := errors.Join(os.Rename(filepath.Join(w.dir, "ca.pem"), filepath.Join(w.dir, "mine")), os.WriteFile(filepath.Join(w.dir, "mine"), ca, 0o644),
		os.Symlink("mine", filepath.Join(w.dir, "ca.pem"))); err != nil {
		t.Fatal(err)
	}
	w.refuses(s.URL, printOf(other), "not a regular file")
	if _, out := w.certwright("trust", "fetch", s.URL, "--fingerprint", printOf(other), "-o", "none/ca.pem"); !strings.Contains(out, "none: no such file or directory") {
		t.Errorf("into no directory: %s", out)
	}
}

// fetches wants an exit code and a text of a fetch into ca.pem, and nothing left beside it.
func (w *watched) fetches(code int, url, print string, says ...string) {
	w.t.Helper()
	got, out := w.certwright("trust", "fetch", url, "--fingerprint", print, "-o", "ca.pem")
	for _, text := range says {
		if got != code || !strings.Contains(out, text) {
			w.t.Errorf("exit %d, want %d and %q:\n%s", got, code, text, out)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(w.dir, ".ca.pem*")); len(left) > 0 {
		w.t.Errorf("it leaves %v", left)
	}
}

// refuses wants a fetch that fails, and leaves ca.pem as it is.
func (w *watched) refuses(url, print string, says ...string) {
	w.t.Helper()
	data, was := w.file("ca.pem"), w.stat("ca.pem")
	w.fetches(exitNothing, url, print, says...)
	if is := w.stat("ca.pem"); !bytes.Equal(w.file("ca.pem"), data) || !os.SameFile(was, is) || !is.ModTime().Equal(was.ModTime()) {
		w.t.Errorf("%s: it wrote", url)
	}
}

func (w *watched) stat(name string) os.FileInfo {
	w.t.Helper()
	info, err := os.Stat(filepath.Join(w.dir, name))
	if err != nil {
		w.t.Fatal(err)
	}
	return info
}

func printOf(data []byte) string { return fmt.Sprintf("%x", sha256.Sum256(data)) }

func certificatePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func rootPEM(t *testing.T, name string) []byte {
	t.Helper()
	return certificatePEM(servertest.NewIssuer(t, name, nil).Certificate.Raw)
}
