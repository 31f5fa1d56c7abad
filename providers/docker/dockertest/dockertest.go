// Package dockertest gives tests real servers in containers of the engine that is there; nothing is pulled.
//
// Image makes an image in about half a second from the machine's own Debian packages: a server, the libraries it
// names, a configuration and a minimal /etc. Run makes a container of it, Network and Volume what it is joined to;
// Seed makes the whole scenario of testdata/seed. Everything is unique to the test that asked, carries Label, and
// is removed by its id when that test ends; images stay for the next run.
//
// Without an engine or a server the test is skipped with the reason; CERTWRIGHT_TEST_REQUIRE=engine,servers makes
// the skip a failure. The package is imported by tests only.
package dockertest

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/client"
)

// Label is on every object this package makes. Its value is $CERTWRIGHT_TEST_RUN, so that a run of the whole suite
// can find what a killed test left behind.
const Label = "certwright.test"

// Engine returns a client of the engine of the environment (DOCKER_HOST and its kin), or skips the test.
func Engine(t testing.TB) *client.Client {
	t.Helper()
	cli, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatalf("client for the engine of the environment: %v", err)
	}
	t.Cleanup(func() { _ = cli.Close() })
	if _, err := cli.Ping(t.Context()); err != nil {
		without(t, "engine", "no Docker engine answers: "+err.Error())
	}
	return cli
}

// Servers skips the test unless every named program is installed on this machine, e.g. nginx, postgres or openssl.
func Servers(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if program(name) == "" {
			without(t, "servers", "no "+name+" on this machine: install its Debian package")
		}
	}
}

// without ends the test: it fails if what is missing is required here, else it is skipped.
func without(t testing.TB, what, reason string) {
	t.Helper()
	if slices.Contains(strings.Split(os.Getenv("CERTWRIGHT_TEST_REQUIRE"), ","), what) {
		t.Fatalf("CERTWRIGHT_TEST_REQUIRE names %s: %s", what, reason)
	}
	t.Skip("SKIPPED: " + reason)
}

// program returns the path of an installed program, or "". Debian keeps PostgreSQL's own programs off the PATH
// (and puts a Perl wrapper there for psql), so its folders come first.
func program(name string) string {
	versions, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(versions) > 0 {
		return versions[len(versions)-1]
	}
	for _, try := range []string{name, "/usr/sbin/" + name} {
		if path, err := exec.LookPath(try); err == nil {
			return path
		}
	}
	return ""
}
