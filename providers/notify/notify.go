// Package notify hears of changes that others make in directories of this machine where files are placed.
package notify

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
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
type place struct{ inner, print string }

// New makes a watcher that calls say, from a goroutine of its own, with each directory that is not as it was left; "" says
// that it may be any of them. Close ends it.
func New(say func(dir string)) (*Watcher, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch directories: %w", err)
	}
	n := &Watcher{w: w, say: say, places: map[string]place{}, inner: map[string]string{}, heard: map[string]bool{}}
	go n.listen()
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

// Left says which directories are watched from now on, and that those for which changed is true are as they should be now:
// what was done to them before is not told. The error names the first that cannot be watched; all others are.
func (n *Watcher) Left(dirs []string, changed func(dir string) bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	var first error
	keep := make(map[string]bool, len(dirs))
	for _, dir := range dirs {
		keep[dir] = true
		if _, known := n.places[dir]; known && !changed(dir) {
			continue
		}
		if err := n.follow(dir); err != nil && first == nil {
			first = fmt.Errorf("watch %s: %w", dir, err)
		}
	}
	for dir := range n.places {
		if !keep[dir] {
			n.leave(dir)
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
	n.places[dir], n.inner[p.inner] = p, dir
	err := n.w.Add(filepath.Dir(dir))
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	for _, d := range []string{dir, p.inner} {
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
	for {
		select {
		case e, open := <-n.w.Events:
			if !open {
				return
			}
			n.hear(e.Name)
		case err, open := <-n.w.Errors:
			if !open {
				return
			}
			if errors.Is(err, fsnotify.ErrEventOverflow) {
				n.say("")
			}
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

// inside is where the ..data of a place leads to.
func inside(dir string) string {
	target, err := os.Readlink(filepath.Join(dir, "..data"))
	if err != nil || !filepath.IsLocal(target) {
		return filepath.Join(dir, "..data")
	}
	return filepath.Join(dir, target)
}

// printOf tells what is in a directory from what was there before: every change of a file or of its mode or owner gives it
// another time of change (inode(7), ctime).
func printOf(dir string) string {
	var s strings.Builder
	for _, d := range []string{dir, inside(dir)} {
		stat(&s, d)
		names, _ := os.ReadDir(d)
		for _, f := range names {
			stat(&s, filepath.Join(d, f.Name()))
		}
	}
	return s.String()
}

func stat(s *strings.Builder, path string) {
	var is unix.Stat_t
	if err := unix.Lstat(path, &is); err != nil {
		s.WriteString(path + " " + err.Error() + "\n")
		return
	}
	fmt.Fprintln(s, path, is.Dev, is.Ino, is.Ctim.Sec, is.Ctim.Nsec)
}
