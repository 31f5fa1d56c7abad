package store

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// powered follows what of a directory would outlive a power failure: the content of a file from the sync of that
// file on, a name from the sync of the directory on, or earlier if the file system likes.
type powered struct {
	path    string
	content map[uint64]string // by inode: what was synced
	durable map[string]uint64 // the names at the last sync of the directory
}

// names is what the directory shows now.
func (p *powered) names(t *testing.T) map[string]uint64 {
	t.Helper()
	entries, err := os.ReadDir(p.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	must(t, err)
	now := map[string]uint64{}
	for _, e := range entries {
		info, err := e.Info()
		must(t, err)
		now[e.Name()] = info.Sys().(*syscall.Stat_t).Ino
	}
	return now
}

// saw takes notice of an effect that has been done.
func (p *powered) saw(t *testing.T, what string) {
	t.Helper()
	now := p.names(t)
	switch name, isSync := strings.CutPrefix(what, "sync "); {
	case isSync && name == ".":
		p.durable = now // of the parent's sync, too, which comes when nothing that counts is there
	case isSync:
		data, err := os.ReadFile(filepath.Join(p.path, name))
		must(t, err)
		p.content[now[name]] = string(data)
	case strings.HasPrefix(what, "create "):
		delete(p.content, now[strings.TrimPrefix(what, "create ")]) // an inode that is used again
	}
}

// after makes a directory as it may be when the power is back: files that were not synced are empty.
func (p *powered) after(t *testing.T, names map[string]uint64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "store")
	if names == nil {
		return path
	}
	must(t, os.Mkdir(path, 0o700))
	for name, inode := range names {
		must(t, os.WriteFile(filepath.Join(path, name), []byte(p.content[inode]), 0o600))
	}
	return path
}

// TestPowerLoss has the power fail after every effect of every story. The old or the new state must be there, and
// the new one once the story is over.
func TestPowerLoss(t *testing.T) {
	for name, s := range stories(t) {
		t.Run(name, func(t *testing.T) {
			path := s.start(t)
			p := &powered{path: path, content: map[uint64]string{}}
			p.durable = p.names(t)
			for name, inode := range p.durable {
				data, err := os.ReadFile(filepath.Join(path, name))
				must(t, err)
				p.content[inode] = string(data)
			}
			err, _ := s.tell(t, path, func(what string, do func() error) error {
				err := do()
				p.saw(t, what)
				for _, names := range []map[string]uint64{p.durable, p.names(t)} {
					s.outcome(t, p.after(t, maps.Clone(names)))
				}
				return err
			})
			must(t, err)
			same(t, s.new, loaded(t, opened(t, p.after(t, p.durable), Options{Passphrase: s.opener()})))
		})
	}
}

// TestFailedSyncAbandonsTheFile: a second sync of the same file could succeed although its content is gone.
func TestFailedSyncAbandonsTheFile(t *testing.T) {
	path := made(t, Options{Writer: true})
	var o Options
	o.Writer = true
	var effects []string
	failed := false
	o.Disk.Around = func(what string, do func() error) error {
		effects = append(effects, what)
		if what == "sync state.new" && !failed {
			failed = true
			return errInjected
		}
		return do()
	}
	s := opened(t, path, o)
	loaded(t, s)
	if err := s.Commit(t.Context(), with(2)); !errors.Is(err, errInjected) {
		t.Fatalf("got %v", err)
	}
	same(t, with(1), loaded(t, s))
	must(t, s.Commit(t.Context(), with(2)))
	same(t, with(2), loaded(t, s))
	want := "[create lock lock lock create state.new sync state.new remove state.new create state.new sync state.new rename state sync .]"
	if got := fmt.Sprint(effects); got != want {
		t.Errorf("effects are %s, want %s", got, want)
	}
}

// TestNewDirectoryIsDurable: one that a killed process made may not be.
func TestNewDirectoryIsDurable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	must(t, os.Mkdir(path, 0o700))
	o := Options{Writer: true}
	var effects []string
	o.Disk.Around = func(what string, do func() error) error {
		effects = append(effects, what)
		return do()
	}
	must(t, opened(t, path, o).Commit(t.Context(), with(1)))
	want := "[create lock lock lock sync . create .gitignore.new"
	if got := fmt.Sprint(effects); !strings.HasPrefix(got, want) {
		t.Errorf("effects are %s, want %s …", got, want)
	}
}
