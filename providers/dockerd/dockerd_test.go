package dockerd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/reconcile"
)

var wanted = reconcile.DaemonConfig{
	Hosts: []string{"fd://", "tcp://0.0.0.0:2376"},
	TLS:   reconcile.DaemonTLS{Verify: true, CA: "/t/ca.pem", Cert: "/t/cert.pem", Key: "/t/key.pem"},
}

// TestMerge changes what it is about, and keeps all else as it was written.
func TestMerge(t *testing.T) {
	const set = `  "tlsverify": true,
  "tlscacert": "/t/ca.pem",
  "tlscert": "/t/cert.pem",
  "tlskey": "/t/key.pem"
}
`
	hosts := "  \"hosts\": [\n    \"fd://\",\n    \"tcp://0.0.0.0:2376\"\n  ],\n"
	for name, row := range map[string]struct{ is, want string }{
		"nothing":         {"", "{\n" + hosts + set},
		"an empty object": {" {}\n", "{\n" + hosts + set},
		"others": {
			`{"mtu":1400, "hosts":["tcp://x:1"], "big":123456789012345678901.50, "log-opts":{"b":"<&>","a":1}}`,
			"{\n  \"mtu\": 1400,\n" + hosts + "  \"big\": 123456789012345678901.50,\n  \"log-opts\": {\n    \"b\": \"<&>\",\n    \"a\": 1\n  },\n" + set,
		},
	} {
		c, err := parse("daemon.json", []byte(row.is))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := c.with(wanted)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if d := cmp.Diff(row.want, string(got)); d != "" {
			t.Errorf("%s: -want +got\n%s", name, d)
		}
		again, err := parse("daemon.json", got)
		if err != nil || !cmp.Equal(again.hosts.Values, wanted.Hosts) || again.tls != wanted.TLS {
			t.Errorf("%s: read again it is %+v, %+v, %v", name, again.hosts, again.tls, err)
		}
	}
}

// TestParse says where something stands, and what is wrong with a file and where.
func TestParse(t *testing.T) {
	c, err := parse("/etc/docker/daemon.json", []byte("{\n  \"live-restore\": true,\n\n  \"hosts\": [\"unix:///x\"], \"tlsverify\": true\n}\n"))
	if err != nil || !c.live || !c.tls.Verify || c.hosts.At != "/etc/docker/daemon.json:4" {
		t.Errorf("%+v, %v", c, err)
	}
	for text, want := range map[string]string{
		"{\n  \"a\": 1\n  \"b\": 2\n}":   "daemon.json:3: ",
		"{\n  \"a\": 1,\n}":              "daemon.json:3: ",
		"[]":                             "daemon.json:1: it is no JSON object",
		"{} {}":                          "daemon.json:1: something stands behind its end",
		"{\n\"hosts\": \"fd://\"}":       "daemon.json:2: hosts: ",
		"{\"a\": 1,\n\"a\": 2}":          `daemon.json:2: "a" is there twice`,
		"{\n\"a\": ":                     "daemon.json:2: ",
		"{\n\"a\": 1,\n":                 "daemon.json:2: it ends too early",
		"hosts: [fd://]\n":               "daemon.json:1: ",
		"{\n  // a comment\n\"a\": 1\n}": "daemon.json:2: ",
	} {
		if _, err := parse("daemon.json", []byte(text)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// TestCommand reads what a unit runs, as systemd does.
func TestCommand(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	unit := file("docker.service", "[Unit]\nExecStart=/bin/no\n[Service]\n# ExecStart=/bin/no\nExecStart = -/usr/bin/dockerd -H fd:// \\\n  --label \"a b=c\"  $OPTS\nExecReload=/bin/kill\n")
	other := file("other.conf", "[Service]\nExecStart=\nExecStart=/usr/bin/dockerd --debug\n")
	for _, row := range []struct {
		files []string
		words []string
		at    string
	}{
		{[]string{unit}, []string{"-/usr/bin/dockerd", "-H", "fd://", "--label", `"a b=c"`, "$OPTS"}, unit + ":5"},
		{[]string{unit, other}, []string{"/usr/bin/dockerd", "--debug"}, other + ":3"},
		{[]string{filepath.Join(dir, "gone"), other, filepath.Join(dir, "gone.conf")}, []string{"/usr/bin/dockerd", "--debug"}, other + ":3"},
	} {
		words, at, err := commandOf(row.files)
		if d := cmp.Diff(row.words, words); err != nil || d != "" || at != row.at {
			t.Errorf("%v at %s, want %s: -want +got\n%s", err, at, row.at, d)
		}
		again, _, err := commandOf([]string{file("again.conf", string(dropIn(words)))})
		if d := cmp.Diff(words, again); err != nil || d != "" {
			t.Errorf("written again: %v\n%s", err, d)
		}
	}
	if _, _, err := commandOf([]string{unit, file("blank.conf", "[Service]\nExecStart=\n")}); err == nil {
		t.Error("a unit without a command is no error")
	}
}

// TestConfigFile finds the file that dockerd was started with.
func TestConfigFile(t *testing.T) {
	for args, want := range map[string]string{
		"dockerd": defaultFile, "dockerd --config-file=/x/y.json -D": "/x/y.json", "dockerd --config-file /x.json": "/x.json", "dockerd --config-file": defaultFile,
	} {
		if got := configFile(nil, strings.Fields(args)); got != want {
			t.Errorf("%s: %s", args, got)
		}
	}
}
