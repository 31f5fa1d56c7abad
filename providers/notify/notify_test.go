package notify

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// heard are the directories that were said.
type heard struct {
	mu   sync.Mutex
	said []string
}

func (h *heard) say(dir string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.said = append(h.said, dir)
}

func (h *heard) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	said := h.said
	h.said = nil
	return said
}

// scene is a watcher of places, each with a generation as certwright leaves one.
type scene struct {
	t *testing.T
	*heard
	w    *Watcher
	dirs []string
}

func newScene(t *testing.T, places int) *scene {
	t.Helper()
	s := &scene{t: t, heard: &heard{}}
	for i := range places {
		dir := filepath.Join(t.TempDir(), fmt.Sprint("place", i))
		s.dirs = append(s.dirs, dir)
		s.generation(dir, "..certwright-00000001")
	}
	var err error
	if s.w, err = New(s.say); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.w.Close(); err != nil {
			t.Error(err)
		}
	})
	s.left(nil)
	return s
}

func (s *scene) generation(dir, name string) {
	s.do(os.MkdirAll(filepath.Join(dir, name), 0o755))
	s.do(os.WriteFile(filepath.Join(dir, name, "cert.pem"), []byte(name), 0o644))
	_ = os.Remove(filepath.Join(dir, "..data.link"))
	s.do(os.Symlink(name, filepath.Join(dir, "..data.link")))
	s.do(os.Rename(filepath.Join(dir, "..data.link"), filepath.Join(dir, "..data")))
	if _, err := os.Lstat(filepath.Join(dir, "cert.pem")); err != nil {
		s.do(os.Symlink("..data/cert.pem", filepath.Join(dir, "cert.pem")))
	}
}

func (s *scene) do(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) left(changed []string) {
	s.t.Helper()

	s.w.Pause()
	for _, dir := range changed {
		s.w.Seen(dir)
	}
	s.do(s.w.Left(s.dirs, func(dir string) bool { return slices.Contains(changed, dir) }))
}

// hears waits until a directory is said, and that no other is.
func (s *scene) hears(what, dir string) {
	s.t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if said := s.take(); len(said) > 0 {
			if slices.ContainsFunc(said, func(d string) bool { return d != dir }) {
				s.t.Errorf("%s: it says %q, want %s", what, said, dir)
			}
			return
		}
	}
	s.t.Errorf("%s: it says nothing", what)
}

// silent changes another place, which is heard after all that came before.
func (s *scene) silent(what string) {
	s.t.Helper()
	last := s.dirs[len(s.dirs)-1]
	s.do(os.Chmod(filepath.Join(last, "..data", "cert.pem"), 0o600))
	s.hears(what, last)
	s.do(os.Chmod(filepath.Join(last, "..data", "cert.pem"), 0o644))
	s.hears(what, last)
	s.left([]string{last})
}

// TestChanges has everything that somebody may do to a place.
func TestChanges(t *testing.T) {
	for _, row := range []struct {
		name string
		do   func(dir string) error
	}{
		{"a file altered", func(dir string) error { return os.WriteFile(filepath.Join(dir, "cert.pem"), []byte("other"), 0o644) }},
		{"a file of the generation removed", func(dir string) error { return os.Remove(filepath.Join(dir, "..data", "cert.pem")) }},
		{"a link removed", func(dir string) error { return os.Remove(filepath.Join(dir, "cert.pem")) }},
		{"a mode", func(dir string) error { return os.Chmod(filepath.Join(dir, "cert.pem"), 0o666) }},
		{"an owner", func(dir string) error { return os.Chown(filepath.Join(dir, "cert.pem"), os.Getuid(), os.Getgid()) }},
		{"..data removed", func(dir string) error { return os.Remove(filepath.Join(dir, "..data")) }},
		{"a file replaced", func(dir string) error {
			other := filepath.Join(filepath.Dir(dir), "other")
			return errors.Join(os.WriteFile(other, nil, 0o644), os.Rename(other, filepath.Join(dir, "cert.pem")))
		}},
		{"the place removed", os.RemoveAll},
		{"the place renamed", func(dir string) error { return errors.Join(os.RemoveAll(dir+".old"), os.Rename(dir, dir+".old")) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newScene(t, 3)
			s.do(row.do(s.dirs[1]))
			s.hears(row.name, s.dirs[1])
			s.left([]string{s.dirs[1]}) // as it is now
			s.take()                    // what was done in several steps may have been said several times
			s.silent("nothing more")

			// It is put right, as certwright does it, and then changed again.
			s.w.Pause()
			s.do(os.RemoveAll(s.dirs[1]))
			s.generation(s.dirs[1], "..certwright-00000002")
			s.left([]string{s.dirs[1]})
			s.silent("its own doing")
			s.do(row.do(s.dirs[1]))
			s.hears(row.name+", again", s.dirs[1])
		})
	}
}

// TestPaused has somebody who changes a place while another one is put right.
func TestPaused(t *testing.T) {
	s := newScene(t, 3)
	s.w.Pause()
	s.generation(s.dirs[0], "..certwright-00000002")
	s.do(os.Remove(filepath.Join(s.dirs[1], "cert.pem")))
	s.left([]string{s.dirs[0]})
	s.hears("a change beside", s.dirs[1])
	s.left([]string{s.dirs[1]})

	// One that is not watched any more is not heard.
	gone := s.dirs[0]
	s.dirs = s.dirs[1:]
	s.left(nil)
	s.do(os.Remove(filepath.Join(gone, "cert.pem")))
	s.silent("a place that left")
}

// TestSeen has somebody who changes what was just put right: that is told.
func TestSeen(t *testing.T) {
	s := newScene(t, 2)
	s.w.Pause()
	s.generation(s.dirs[0], "..certwright-00000002")
	s.w.Seen(s.dirs[0])
	s.do(os.WriteFile(filepath.Join(s.dirs[0], "cert.pem"), []byte("other"), 0o644))
	s.do(s.w.Left(s.dirs, func(dir string) bool { return dir == s.dirs[0] }))
	s.hears("a change before it was left", s.dirs[0])
}

// TestNested has a place in another one, which is watched no more.
func TestNested(t *testing.T) {
	s := newScene(t, 2)
	inner := filepath.Join(s.dirs[0], "inner")
	s.generation(inner, "..certwright-00000001")
	s.dirs = append([]string{inner}, s.dirs...)
	s.left(nil)
	s.take()
	s.dirs = []string{inner, s.dirs[2]}
	s.left(nil)
	s.do(os.RemoveAll(inner))
	s.hears("the inner place removed", inner)
	s.take()
	s.generation(inner, "..certwright-00000001")
	s.hears("the inner place made anew", inner)
}

// TestAbsent has a place that is not there yet, and one whose directory above is not there either.
func TestAbsent(t *testing.T) {
	s := newScene(t, 1)
	absent := filepath.Join(t.TempDir(), "absent")
	s.dirs = []string{absent, filepath.Join(absent, "deep", "er"), s.dirs[0]}
	s.left(nil)
	s.do(os.Mkdir(absent, 0o755))
	s.hears("a place that appears", absent)
}

// TestOverflow has more events than the kernel keeps.
func TestOverflow(t *testing.T) {
	s := newScene(t, 1)
	s.w.mu.Lock() // it cannot read on
	names := []string{filepath.Join(s.dirs[0], "..data", "cert.pem"), filepath.Join(s.dirs[0], "..certwright-00000001")}
	for i := range 40000 { // it keeps one of several that are alike
		s.do(os.Chmod(names[i%2], 0o755))
	}
	s.w.mu.Unlock()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if slices.Contains(s.take(), "") {
			return
		}
	}
	t.Error("it says nothing of what was lost")
}

// TestLinkedAway has a container that owns a place lead it to a directory of the machine: that is none of its, and is neither
// listened to nor looked into.
func TestLinkedAway(t *testing.T) {
	for name, lead := range map[string]func(dir, outside string) error{
		"at once": func(dir, outside string) error { return os.Symlink(outside, filepath.Join(dir, "..data")) },
		"to what is above it": func(dir, outside string) error {
			return errors.Join(os.Remove(outside), os.Symlink(filepath.Dir(dir), outside), os.Symlink("..", filepath.Join(dir, "..data")))
		},
		"by a link beside it": func(dir, outside string) error {
			return errors.Join(os.Symlink(outside, filepath.Join(dir, "beside")), os.Symlink("beside", filepath.Join(dir, "..data")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, outside := newScene(t, 2), t.TempDir()
			s.do(os.Remove(filepath.Join(s.dirs[0], "..data")))
			s.do(lead(s.dirs[0], outside))
			s.left(s.dirs)
			s.take()
			before := printOf(s.dirs[0])
			s.do(os.WriteFile(filepath.Join(outside, "theirs"), nil, 0o644))
			s.silent("a directory that is linked to")
			if printOf(s.dirs[0]) != before {
				t.Error("it looked into it")
			}
		})
	}
}
