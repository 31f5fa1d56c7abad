package files

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/certwright/certwright/reconcile"
)

var anyGeneration = regexp.MustCompile(`\.\.certwright-[0-9a-f]{8}`)

// effects records what a write does, in order; of several units at once only how often counts, and of syncs next to each
// other, which are waited for together, which there are.
func effects(t *testing.T, units ...reconcile.Unit) []string {
	t.Helper()
	var all []string
	var mu sync.Mutex
	write(t, local(func(what string, do func() error) error {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, anyGeneration.ReplaceAllString(what, "GENERATION"))
		return do()
	}), units...)
	return together(all)
}

// together sorts syncs that are next to each other.
func together(all []string) []string {
	for from := 0; from < len(all); from++ {
		to := from
		for to < len(all) && strings.HasPrefix(all[to], "sync ") {
			to++
		}
		slices.Sort(all[from:to])
		from = max(from, to-1)
	}
	return all
}

// TestNothingIsBuiltOnWhatIsNotDurable pins the order of a renewal of one unit, and of a new one.
func TestNothingIsBuiltOnWhatIsNotDurable(t *testing.T) {
	staged := []string{"mkdir GENERATION", "create .certwright.json", "create ca.pem", "create cert.pem", "create key.pem"}
	for name, c := range map[string]struct {
		before, after []edit
		foreign       string // a name that stands there
		want          []string
	}{
		"new": {nil, []edit{}, "", slices.Concat(staged, []string{
			"syncfs .",
			"symlink ..data", "symlink ca.pem", "symlink cert.pem", "symlink key.pem",
			"syncfs .",
		})},
		"adoption": {nil, []edit{adopt}, "cert.pem", slices.Concat(staged, []string{
			"syncfs .",
			"mkdir ..certwright-backup-20260102T030405Z", "sync .", "move cert.pem", "sync .",
			"symlink ..data", "symlink ca.pem", "symlink cert.pem", "symlink key.pem",
			"syncfs .",
		})},
		"adoption in place": {nil, []edit{adopt, inPlace}, "cert.pem", slices.Concat(
			slices.Insert(slices.Clone(staged), 2, "create .certwright.json.claim"), []string{
				"syncfs .",
				"mkdir ..certwright-backup-20260102T030405Z", "sync .", "create cert.pem", "sync cert.pem", "sync .",
				"move .certwright.json",
				"move ca.pem", "overwrite cert.pem", "remove cert.pem", "move key.pem",
				"rename .certwright.json",
				"syncfs .",
				"rmdir GENERATION",
			})},
		"adoption with its backup elsewhere": {nil, []edit{adopt, elsewhere}, "cert.pem", slices.Concat(staged, []string{
			"syncfs .",
			"mkdir backups", "mkdir web", "mkdir 20260102T030405Z", "syncfs .", "move cert.pem", "sync .",
			"symlink ..data", "symlink ca.pem", "symlink cert.pem", "symlink key.pem",
			"syncfs .",
		})},
		"renewal": {[]edit{}, []edit{}, "", slices.Concat(staged, []string{
			"sync ca.pem", "sync cert.pem", "sync key.pem", "sync .certwright.json", "sync .", "sync .",
			"symlink GENERATION.link", "rename ..data",
			"sync .",
		})},
		"renewal in place": {[]edit{plain}, []edit{inPlace}, "", slices.Concat(
			slices.Insert(slices.Clone(staged), 2, "create .certwright.json.claim"), []string{
				"sync ca.pem", "sync cert.pem", "sync key.pem", "sync .certwright.json", "sync .certwright.json.claim", "sync .", "sync .",
				"rename .certwright.json",
				"overwrite ca.pem", "remove ca.pem", "overwrite cert.pem", "remove cert.pem", "overwrite key.pem", "remove key.pem",
				"rename .certwright.json",
				"sync ca.pem", "sync cert.pem", "sync key.pem", "sync .",
				"rmdir GENERATION",
			})},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "place")
			must(t, os.Mkdir(dir, 0o755))
			if c.before != nil {
				write(t, local(nil), unit(dir, "1", c.before...))
			}
			if c.foreign != "" {
				must(t, os.WriteFile(filepath.Join(dir, c.foreign), nil, 0o600))
			}
			if diff := cmp.Diff(together(c.want), effects(t, unit(dir, "2", c.after...))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestRemovalIsDurable pins the order of a removal: what leads to the files goes first, what they are in last.
func TestRemovalIsDurable(t *testing.T) {
	dir := t.TempDir()
	write(t, local(nil), unit(dir, "1"))
	var got []string
	must(t, remove(local(func(what string, do func() error) error {
		got = append(got, anyGeneration.ReplaceAllString(what, "GENERATION"))
		return do()
	}), unit(dir, "1")))
	want := []string{
		"remove ca.pem", "remove cert.pem", "remove key.pem", "remove ..data",
		"remove ca.pem", "remove cert.pem", "remove key.pem", "remove .certwright.json.claim", "remove .certwright.json", "rmdir GENERATION",
		"sync .",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestManyUnitsShareTheirSyncs: two syncs of the file system, whatever their number.
func TestManyUnitsShareTheirSyncs(t *testing.T) {
	root := t.TempDir()
	var units []reconcile.Unit
	for i := range 20 {
		units = append(units, unit(filepath.Join(root, fmt.Sprint(i)), "1"))
	}
	for range 2 {
		all := effects(t, units...)
		first, last := slices.Index(all, "syncfs ."), len(all)-1
		var syncs []int
		for i, what := range all {
			if strings.HasPrefix(what, "sync") {
				syncs = append(syncs, i)
			}
			if strings.HasPrefix(what, "create") && i > first || what == "symlink cert.pem" && i < first {
				t.Errorf("effect %d of %d is %q, the first sync is %d", i, last, what, first)
			}
		}
		if len(syncs) != 2 {
			t.Errorf("%d syncs: %v", len(syncs), syncs)
		}
	}
}

// TestManyUnitsFitIntoFewHandles: each unit holds one while it is written.
func TestManyUnitsFitIntoFewHandles(t *testing.T) {
	var limit unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 64, Max: limit.Max}))
	defer func() { must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)) }()
	root := t.TempDir()
	var units []reconcile.Unit
	for i := range 200 {
		units = append(units, unit(filepath.Join(root, fmt.Sprint(i)), "1"))
	}
	write(t, local(nil), units...)
}

// TestAFailedSyncAbandonsWhatItWasOf: the old content stays, nothing is synced a second time, and the next write
// does not build on it.
func TestAFailedSyncAbandonsWhatItWasOf(t *testing.T) {
	eio := errors.New("input/output error")
	for _, count := range []int{1, 5} {
		root := t.TempDir()
		var old, renewed []reconcile.Unit
		for i := range count {
			old = append(old, unit(filepath.Join(root, fmt.Sprint(i)), "1"))
			renewed = append(renewed, unit(filepath.Join(root, fmt.Sprint(i)), "2"))
		}
		write(t, local(nil), old...)
		syncs := map[string]int{}
		var mu sync.Mutex
		errs := local(func(what string, do func() error) error {
			if strings.HasPrefix(what, "sync ") || strings.HasPrefix(what, "syncfs ") {
				mu.Lock()
				defer mu.Unlock()
				syncs[what]++
				return eio
			}
			return do()
		}).Write(context.Background(), renewed)
		for i, u := range old {
			if !errors.Is(errs[i], eio) {
				t.Errorf("got %v", errs[i])
			}
			placed(t, u)
		}
		for what, n := range syncs {
			if n > 1 && what != "sync ." { // of the place and of the generation
				t.Errorf("%s: %d times, although the first had failed", what, n)
			}
		}
		if n := syncs["sync ."]; count == 1 && n != 2 || count > 1 && (n > 0 || syncs["syncfs ."] != 1) {
			t.Errorf("%v", syncs)
		}
		write(t, local(nil), renewed...)
		for _, u := range renewed {
			placed(t, u)
		}
	}
}

// TestSweepLeavesWhatIsNotOurs puts things among the generations that certwright did not make.
func TestSweepLeavesWhatIsNotOurs(t *testing.T) {
	dir := t.TempDir()
	put := func(path, content string) {
		t.Helper()
		path = filepath.Join(dir, path)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(content), 0o600))
	}
	other := `{"installation":"other","files":["key.pem"]}`
	put(prefix+"00000001/key.pem", "no manifest")
	put(prefix+"00000002/key.pem", "another installation's")
	put(prefix+"00000002/"+manifestName, other)
	put(prefix+"00000003/theirs", "beside a manifest of ours")
	put(prefix+"00000003/"+manifestName, `{"installation":"i1","files":["../../canary","key.pem"]}`)
	put(prefix+"not-a-generation/key.pem", "of a longer name")
	put("canary", "named by a manifest")
	put(prefix+"00000004.link", "a file where a link is expected")
	must(t, os.Symlink(dir, filepath.Join(dir, prefix+"00000005")))
	must(t, os.Symlink("elsewhere", filepath.Join(dir, prefix+"00000006.link")))
	before := tree(t, dir)
	write(t, local(unsynced), unit(dir, "1"))
	must(t, remove(local(unsynced), unit(dir, "1")))
	if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
		t.Error(diff)
	}
}
