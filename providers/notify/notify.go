// Package notify hears of changes that others make in directories of this machine where files are placed.
package notify

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

// Watcher watches directories, each with the one its ..data leads to, where the files of a unit are (DESIGN.md 2.2). What
// it says are hints: the kernel drops events when too many come at once, and sends none for network file systems.
type Watcher struct {
	w   *fsnotify.Watcher
	say func(dir string)

	mu     sync.Mutex
	places map[string]place
	inner  map[string]string // a place by what its ..data leads to
	paused bool
	heard  map[string]bool // places of which something was heard while paused
}

// place is a directory as it was left.
type place struct {
	inner string
	print [sha256.Size]byte
}

// New makes a watcher that calls say, from a goroutine of its own, with each directory that is not as it was left; "" says
// that it may be any of them. Close ends it.
func New(say func(dir string)) (*Watcher, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch directories: %w", err)
	}
	n := &Watcher{w: w, say: say, places: map[string]place{}, inner: map[string]string{}, heard: map[string]bool{}}
	go n.listen()
	go n.complain()
	return n, nil
}

// Close ends the watching.
func (n *Watcher) Close() error { return n.w.Close() }

// Pause keeps what is heard until Left is called: some of it will be certwright's own doing.
func (n *Watcher) Pause() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.paused = true
}

// Seen says that a directory is as it should be now: what was done to it before is not told. It is called while paused,
// before the look that shows whether it is.
func (n *Watcher) Seen(dir string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if p, watched := n.places[dir]; watched {
		p.print = printOf(dir)
		n.places[dir] = p
	}
}

// Left ends the pause, and says which directories are watched from now on. Those for which changed is true are watched
// anew, since what is in them may be other files now. The error names the first that cannot be watched; all others are.
func (n *Watcher) Left(dirs []string, changed func(dir string) bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	var first error
	gone := false
	keep := make(map[string]bool, len(dirs))
	for _, dir := range dirs {
		keep[dir] = true
		before, known := n.places[dir]
		if known && !changed(dir) {
			continue
		}
		if err := n.follow(dir); err != nil && first == nil {
			first = fmt.Errorf("watch %s: %w", dir, err)
		}
		if known { // what came while nothing watched it is told as well
			is := n.places[dir]
			is.print = before.print
			n.places[dir], n.heard[dir] = is, true
		}
	}
	for dir := range n.places {
		if !keep[dir] {
			n.leave(dir)
			gone = true
		}
	}
	if gone { // it may be above another
		for dir := range n.places {
			_ = n.w.Add(filepath.Dir(dir))
		}
	}
	n.paused = false
	for dir := range n.heard {
		n.look(dir)
	}
	clear(n.heard)
	return first
}

// follow watches a directory as it is now. One that is not there is heard of by the one above it.
func (n *Watcher) follow(dir string) error {
	n.leave(dir)
	p := place{inside(dir), printOf(dir)}
	n.places[dir] = p
	err := n.w.Add(filepath.Dir(dir))
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	watched := []string{dir}
	if p.inner != "" {
		n.inner[p.inner] = dir
		watched = append(watched, p.inner)
	}
	for _, d := range watched {
		if e := n.w.Add(d); e != nil && !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// leave watches a directory no more. The one above it may be that of others.
func (n *Watcher) leave(dir string) {
	if p, watched := n.places[dir]; watched {
		_, _ = n.w.Remove(dir), n.w.Remove(p.inner) // the kernel may have done so
		delete(n.inner, p.inner)
		delete(n.places, dir)
	}
}

func (n *Watcher) listen() {
	for e := range n.w.Events {
		n.hear(e.Name)
	}
}

// complain takes no lock: the library sends some errors while it holds its own.
func (n *Watcher) complain() {
	for err := range n.w.Errors {
		if errors.Is(err, fsnotify.ErrEventOverflow) {
			n.say("")
		}
	}
}

// hear finds the place that an event at a path is about.
func (n *Watcher) hear(path string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, dir := range []string{path, filepath.Dir(path), n.inner[path], n.inner[filepath.Dir(path)]} {
		switch _, watched := n.places[dir]; {
		case !watched:
		case n.paused:
			n.heard[dir] = true
		default:
			n.look(dir)
		}
	}
}

// look says a place that is not as it was left, once.
func (n *Watcher) look(dir string) {
	if p, watched := n.places[dir]; watched {
		if now := printOf(dir); now != p.print {
			p.print = now
			n.places[dir] = p
			n.say(dir)
		}
	}
}

// inside is the directory in a place that its ..data leads to, or is "": a container that owns the place can lead it anywhere.
func inside(dir string) string {
	target, err := os.Readlink(filepath.Join(dir, "..data"))
	if err != nil || !filepath.IsLocal(target) || target != filepath.Base(target) {
		return ""
	}
	path := filepath.Join(dir, target)
	if info, err := os.Lstat(path); err != nil || !info.IsDir() {
		return ""
	}
	return path
}

// printOf tells what is in a directory from what was there before: every change of a file or of its mode or owner gives it
// another time of change (inode(7), ctime).
func printOf(dir string) [sha256.Size]byte {
	s := sha256.New()
	for _, d := range []string{dir, inside(dir)} {
		if d == "" {
			break
		}
		stat(s, d)
		names, _ := os.ReadDir(d)
		for _, f := range names {
			stat(s, filepath.Join(d, f.Name()))
		}
	}
	return [sha256.Size]byte(s.Sum(nil))
}

func stat(s io.Writer, path string) {
	var is unix.Stat_t
	if err := unix.Lstat(path, &is); err != nil {
		fmt.Fprintln(s, path, err)
		return
	}
	fmt.Fprintln(s, path, is.Dev, is.Ino, is.Ctim.Sec, is.Ctim.Nsec)
}
