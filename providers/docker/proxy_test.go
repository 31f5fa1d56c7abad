package docker

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// proxy is the recorder of the whole test run: every Engine of a test that asks an engine goes through it.
var proxy *dockertest.Recorder

// manager is the recorder of the tests of Swarms, which have an engine of their own.
var manager *dockertest.Recorder

// unlisted compares what was asked of the engine with Calls, in both directions.
func unlisted(seen []string) (problems []string) {
	used := make([]bool, len(Calls))
	for _, q := range seen {
		known := false
		for i, c := range Calls {
			if dockertest.Request(c.Method, c.Path).MatchString(q) {
				known, used[i] = true, true
			}
		}
		if !known {
			problems = append(problems, q+" is not in Calls")
		}
	}
	for i, c := range Calls {
		if !used[i] {
			problems = append(problems, fmt.Sprintf("%s %s is in Calls and was never asked", c.Method, c.Path))
		}
	}
	return problems
}

func TestMain(m *testing.M) {
	switch os.Getenv("CERTWRIGHT_ROLE") { // of a process that a test started
	case "hire":
		hireAndHang()
	case "relay":
		relay()
		return
	}
	dir, err := os.MkdirTemp("", "certwright-docker")
	if err != nil {
		panic(err)
	}
	if proxy, err = dockertest.NewRecorder(dir, dockertest.EngineSocket()); err != nil {
		panic(err)
	}
	code := m.Run()
	// Whether Calls is complete shows only when every test ran, against an engine.
	all := true
	for _, f := range os.Args {
		all = all && !strings.HasPrefix(f, "-test.run=") && !strings.HasPrefix(f, "-test.skip=")
	}
	seen := proxy.Requests()
	if manager != nil {
		seen = append(seen, manager.Requests()...)
	}
	if code == 0 && all && len(seen) > 0 {
		for _, p := range unlisted(seen) {
			fmt.Fprintln(os.Stderr, "FAIL:", p)
			code = 1
		}
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

func TestUnlistedFindsBothDirections(t *testing.T) {
	var seen []string
	for _, c := range Calls[1:] {
		path := strings.ReplaceAll(c.Path, "{id}", "3f2a")
		seen = append(seen, c.Method+" "+strings.ReplaceAll(path, "{name}", "certwright-courier:0a"))
	}
	got := strings.Join(unlisted(append(seen, "POST /containers/3f2a/update", "PATCH /containers/3f2a/archive")), "\n")
	want := "POST /containers/3f2a/update is not in Calls\nPATCH /containers/3f2a/archive is not in Calls\n" +
		"HEAD /_ping is in Calls and was never asked"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
