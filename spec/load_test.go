package spec_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/spec"
)

// folder writes files into a new directory and makes it the working directory.
func folder(t *testing.T, files map[string]string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

const (
	head = "version: 1\nproject: shop\n"
	cas  = "version: 1\ncas:\n  root: {local: {}}\n"
)

func TestLoadMerges(t *testing.T) {
	folder(t, map[string]string{
		"tls.yaml":           head + "identities:\n  web: {ca: root, names: [web]}\n",
		"more/b.yml":         "version: 1\nbindings:\n  web: {identity: web, directory: certs, files: {key.pem: key}}\n",
		"more/a.yaml":        "version: 1\ncas:\n  root: {local: {certificate: ca.pem, key: ../ca-key.pem}}\n",
		"more/.hidden.yaml":  "not: {",
		"more/notes.txt":     "not: {",
		"more/sub.yaml/x.md": "a directory",
	})
	s, err := spec.Load([]string{"./tls.yaml", "more"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"tls.yaml", "more/a.yaml", "more/b.yml"}, s.Files); diff != "" {
		t.Errorf("files (-want +got)\n%s", diff)
	}
	got := []string{s.Store.Directory, s.CAs[0].Local.Certificate, s.CAs[0].Local.KeyFile, s.Bindings[0].Place.Directory}
	if diff := cmp.Diff([]string{".certwright", "more/ca.pem", "ca-key.pem", "more/certs"}, got); diff != "" {
		t.Errorf("paths (-want +got)\n%s", diff)
	}
	if got := s.Bindings[0].Identity.Pos.String(); got != "more/b.yml:3:9" {
		t.Errorf("position %s", got)
	}
}

// TestLoadStore wants the store beside the first file, wherever certwright is started.
func TestLoadStore(t *testing.T) {
	folder(t, map[string]string{"deploy/tls.yaml": head, "other/cas.yaml": cas})
	s, err := spec.Load([]string{"deploy/tls.yaml", "other"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("deploy/.certwright", s.Store.Directory); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestLoadSamePlace spells one directory in several ways: two bindings in it would undo each other without end.
func TestLoadSamePlace(t *testing.T) {
	folder(t, map[string]string{"real/x": "", ".certwright/x": ""})
	for link, to := range map[string]string{"link": "real", "store": ".certwright"} {
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	text := head + "cas: {root: {local: {}}}\nidentities: {web: {ca: root, names: [web]}}\nbindings:\n"
	for i, dir := range []string{"real", "link", here + "/real", "real/new", "link/new", "store/x", here + "/.certwright"} {
		text += fmt.Sprintf("  b%d: {identity: web, directory: %s}\n", i, dir)
	}
	if err := os.WriteFile("tls.yaml", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = spec.Load([]string{"tls.yaml"}, env)
	want := `tls.yaml:7:23: bindings.b1.directory: the binding "b0" has this directory already, at tls.yaml:6:23
tls.yaml:8:23: bindings.b2.directory: the binding "b0" has this directory already, at tls.yaml:6:23
tls.yaml:10:23: bindings.b4.directory: the binding "b3" has this directory already, at tls.yaml:9:23
tls.yaml:11:23: bindings.b5.directory: belongs to the store
tls.yaml:12:23: bindings.b6.directory: belongs to the store`
	if diff := cmp.Diff(want, fmt.Sprint(err)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestLoadErrors(t *testing.T) {
	for name, test := range map[string]struct {
		files map[string]string
		paths []string
		want  string
	}{
		"nothing":      {nil, nil, "tls.yaml: no file was given"},
		"absent":       {nil, []string{"tls.yaml"}, "tls.yaml: no such file (certwright init writes one)"},
		"below a file": {map[string]string{"tls.yaml": head}, []string{"tls.yaml/x"}, "tls.yaml/x: not a directory"},
		"empty directory": {
			map[string]string{"d/x.txt": ""},
			[]string{"d"},
			"d: no *.yaml or *.yml in this directory",
		},
		"twice": {map[string]string{"d/a.yaml": head}, []string{"d", "d/../d/a.yaml"}, "d/a.yaml: given twice"},
		"large": {
			map[string]string{"tls.yaml": strings.Repeat("# filler\n", 500_000)},
			[]string{"tls.yaml"},
			"tls.yaml:1:1: the file is larger than 4 MiB",
		},
		"name twice": {
			map[string]string{"a.yaml": head + "cas:\n  root: {local: {}}\n", "b.yaml": cas},
			[]string{"a.yaml", "b.yaml"},
			"b.yaml:3:3: cas.root: defined twice, first at a.yaml:4:3",
		},
		"section twice": {
			map[string]string{"a.yaml": head + "store: {}\n", "b.yaml": head + "store: {}\ndefaults: {}\nswarm: {}\n"},
			[]string{"a.yaml", "b.yaml"},
			"b.yaml:2:1: project: stands in two files, first at a.yaml:2:1\n" +
				"b.yaml:3:1: store: stands in two files, first at a.yaml:3:1",
		},
		"no version": {map[string]string{"a.yaml": head, "b.yaml": "cas: {}\n"}, []string{"a.yaml", "b.yaml"}, "b.yaml:1:1: version: missing"},
		"no project": {
			map[string]string{"a.yaml": cas, "b.yaml": "version: 1\n"},
			[]string{"a.yaml", "b.yaml"},
			"a.yaml:1:1: project: missing: it marks everything certwright makes",
		},
		"order of the files": {
			map[string]string{"a.yaml": head + "x: 1\n", "b.yaml": "version: 1\ny: 1\n"},
			[]string{"b.yaml", "a.yaml"},
			"b.yaml:2:1: unknown key \"y\" (version, project, store, hosts, defaults, cas, identities, bindings, swarm)\n" +
				"a.yaml:3:1: unknown key \"x\" (version, project, store, hosts, defaults, cas, identities, bindings, swarm)",
		},
		// What the broken file would have defined is not missed.
		"one broken": {
			map[string]string{"a.yaml": head + "identities:\n  web: {ca: root, names: 3}\n", "b.yaml": "cas: [\n"},
			[]string{"a.yaml", "b.yaml"},
			"a.yaml:4:19: identities.web.names: must be a list, not a number\n" +
				"b.yaml:1:1: not YAML: did not find expected node content",
		},
	} {
		t.Run(name, func(t *testing.T) {
			folder(t, test.files)
			s, err := spec.Load(test.paths, env)
			if err == nil || s != nil {
				t.Fatalf("%v, %v", s, err)
			}
			if diff := cmp.Diff(test.want, err.Error()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestHostile gives files that cost more than they look: each must be answered in a moment.
func TestHostile(t *testing.T) {
	wide := "x-a: &a [" + strings.Repeat("x,", 1000) + "x]\nx-b: [" + strings.Repeat("*a,", 100_000) + "*a]\n"
	var refs strings.Builder
	refs.WriteString(head + "cas: {root: {local: {}}}\nidentities:\n")
	for i := range 10_000 {
		fmt.Fprintf(&refs, "  a-service-with-a-long-name-%d: {ca: root, names: [web]}\n", i)
	}
	refs.WriteString("bindings:\n")
	for i := range 10_000 {
		fmt.Fprintf(&refs, "  b%d: {identity: a-service-with-a-wrong-name-%d, directory: certs/%d}\n", i, i, i)
	}
	var chain strings.Builder
	chain.WriteString(head + "cas:\n  c0: {local: {}}\n")
	for i := range 50_000 {
		fmt.Fprintf(&chain, "  c%d: {local: {parent: c%d}}\n", i+1, i)
	}
	chain.WriteString("identities:\n")
	for i := range 50_000 {
		fmt.Fprintf(&chain, "  i%d: {ca: c50000, names: [a]}\n", i)
	}
	for name, text := range map[string]string{
		"chain of CAs":      chain.String(),
		"wide aliases":      head + wide,
		"many suggestions":  refs.String(),
		"open brackets":     strings.Repeat("[", maxFile),
		"open braces":       strings.Repeat("{a: ", maxFile/4),
		"question marks":    strings.Repeat("? ", maxFile/2),
		"dashes":            strings.Repeat("- ", maxFile/2),
		"one word":          strings.Repeat("x", maxFile),
		"commas":            "x: [" + strings.Repeat("a,", maxFile/8) + "]",
		"comments":          strings.Repeat("#\n", maxFile/2),
		"anchors":           strings.Repeat("&a ", maxFile/3),
		"keys":              strings.Repeat("a: b\n", maxFile/20),
		"merged into many":  head + "x-m: &m {" + strings.Repeat("a: 1, ", 9_000) + "b: 1}\nx-n: [" + strings.Repeat("{<<: *m},", 9_000) + "{}]\n",
		"unknown keys":      head + "store: {" + strings.Repeat("k"+"ey: 1, ", 50_000) + "}\n",
		"long interpolated": head + "store: {directory: \"" + strings.Repeat("${NAME}", 300_000) + "\"}\n",
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, err := spec.Parse([]spec.Input{{Name: "tls.yaml", Data: []byte(text)}}, env)
			took := time.Since(start)
			t.Log(took)
			if err == nil && name != "long interpolated" {
				t.Error("accepted")
			}
			if took > 20*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

const maxFile = 4 << 20

// TestManyWarnings lets aliases multiply what is warned of.
func TestManyWarnings(t *testing.T) {
	var text strings.Builder
	text.WriteString(head + "cas: {root: {local: {}}}\nx-names: &names [a_0")
	for i := range 99 {
		fmt.Fprintf(&text, ", a_%d", i+1)
	}
	text.WriteString("]\nidentities:\n")
	for i := range 50 {
		fmt.Fprintf(&text, "  i%d: {ca: root, names: *names}\n", i)
	}
	s, err := spec.Parse([]spec.Input{{Name: "tls.yaml", Data: []byte(text.String())}}, env)
	if err != nil || len(s.Warnings) != 1000 {
		t.Errorf("%d warnings, %v", len(s.Warnings), err)
	}
}
