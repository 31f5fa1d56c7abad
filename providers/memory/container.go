package memory

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// Container is a container as a test describes it. Of the embedded one Host, Name, Image, Labels, Mounts, Health,
// Addresses and Published are kept; the rest is the world's.
type Container struct {
	reconcile.Container
	User   reconcile.Owner // who its process is
	Users  map[string]reconcile.Owner
	Server *Server // nil: it serves nothing
	Bound  bool    // a binding names it
	// Restarts counts those that certwright asked for.
	Restarts int
}

// container is one with what happened to it.
type container struct {
	Container
	pins    map[string]*file  // single files it mounts, by where
	dirs    map[string]*place // directories it mounts, by where
	started time.Time
	ending  reconcile.Ending
	loaded  *loaded
	first   *loaded // what its server started with the first time
}

// Create makes a container that does not run and returns its id. Volumes it mounts are made, as Docker does.
func (w *World) Create(c Container) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.create(c)
}

func (w *World) create(c Container) string {
	w.ids++
	c = deepCopy(c)
	c.ID, c.State, c.Created, c.Restarts = fmt.Sprintf("%064x", w.ids), "created", w.Now(), 0
	if c.Host == "" {
		c.Host = spec.LocalHost
	}
	for _, m := range c.Mounts {
		if m.Type == "volume" {
			w.makeVolume(c.Host, m.Name, nil)
		}
	}
	w.containers = append(w.containers, &container{Container: c})
	return c.ID
}

// Run makes a container and starts it. Where its server finds no pair to load it exits at once.
func (w *World) Run(c Container) string {
	id := w.Create(c)
	_ = w.Start(id)
	return id
}

// Start starts a container, again if it runs. The error says why it exited.
func (w *World) Start(id string) error {
	return w.with(id, w.start)
}

// Stop stops a container.
func (w *World) Stop(id string) error {
	return w.with(id, func(c *container) error {
		c.State, c.loaded = "exited", nil
		return nil
	})
}

// End has a container end by itself, with a code.
func (w *World) End(id string, how reconcile.Ending) error {
	return w.with(id, func(c *container) error {
		how.At = w.Now()
		c.State, c.Code, c.loaded, c.ending = "exited", how.Code, nil, how
		return nil
	})
}

// Crash has a container end by itself, and its engine about to start it again.
func (w *World) Crash(id string, code int) error {
	return w.with(id, func(c *container) error {
		c.State, c.Code, c.loaded = "restarting", code, nil
		c.ending = reconcile.Ending{Code: code, At: w.Now(), Again: true, Began: c.started}
		return nil
	})
}

// Destroy removes a container.
func (w *World) Destroy(id string) error {
	return w.with(id, func(c *container) error {
		w.containers = slices.DeleteFunc(w.containers, func(o *container) bool { return o == c })
		return nil
	})
}

// Recreate replaces a container by another of the same description, as Compose does, and starts it.
func (w *World) Recreate(id string) (string, error) {
	var next Container
	err := w.with(id, func(c *container) error {
		next = c.Container
		w.containers = slices.DeleteFunc(w.containers, func(o *container) bool { return o == c })
		return nil
	})
	if err != nil {
		return "", err
	}
	return w.Run(next), nil
}

// Container returns a container as it is now.
func (w *World) Container(id string) (Container, error) {
	var found Container
	err := w.with(id, func(c *container) error {
		found = deepCopy(c.Container)
		return nil
	})
	return found, err
}

func (w *World) with(id string, do func(*container) error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.containers {
		if c.ID == id {
			return do(c)
		}
	}
	return fmt.Errorf("no such container: %s", id)
}

func (w *World) start(c *container) error {
	w.pin(c)
	c.State, c.Code, c.Tried, c.loaded, c.started = "running", 0, true, nil, w.Now()
	if c.Server == nil {
		return nil
	}
	l, err := w.loadServer(c)
	if err == nil && c.Server.Behaviour == Crashes && c.first != nil && c.first.serial() != l.serial() {
		err = errors.New("it does not like its new certificate")
	}
	if err != nil {
		c.State = "exited"
		return fmt.Errorf("container %s exited: %w", c.Name, err)
	}
	c.loaded = l
	if c.first == nil {
		c.first = l
	}
	return nil
}

// pin holds on to the directories and single files a container mounts, as they are now. Where a mount's source is missing, Docker
// makes a directory of it.
func (w *World) pin(c *container) {
	c.pins, c.dirs = map[string]*file{}, map[string]*place{}
	for _, m := range c.Mounts {
		if m.Type != "bind" {
			continue
		}
		if p := w.places[physical(reconcile.Location{Host: c.Host, Dir: m.Source})]; p != nil {
			c.dirs[m.Destination] = p
		}
		parent := w.places[physical(reconcile.Location{Host: c.Host, Dir: path.Dir(m.Source)})]
		if parent == nil {
			w.makePlace(physical(reconcile.Location{Host: c.Host, Dir: m.Source}))
			continue
		}
		name := path.Base(m.Source)
		if f := parent.resolve(name); f != nil {
			c.pins[m.Destination] = f
		} else if parent.names[name] == nil {
			parent.names[name] = &node{kind: reconcile.KindDirectory}
		}
	}
}

// read reads a file as the container's process does.
func (w *World) read(c *container, name string) ([]byte, error) {
	f := c.pins[name]
	if f == nil {
		f = w.lookUp(c, name)
	}
	switch {
	case f == nil:
		return nil, fmt.Errorf("%s: no such file", name)
	case !f.readable(c.User):
		return nil, fmt.Errorf("%s: permission denied", name)
	}
	return f.data, nil
}

// lookUp finds a file below the mount that is nearest to it.
func (w *World) lookUp(c *container, name string) *file {
	dir, base := path.Split(name)
	dir = path.Clean(dir)
	var best *reconcile.Mount
	for i, m := range c.Mounts {
		under := dir == m.Destination || strings.HasPrefix(dir, m.Destination+"/")
		if under && (best == nil || len(m.Destination) > len(best.Destination)) {
			best = &c.Mounts[i]
		}
	}
	if best == nil {
		return nil
	}
	at := reconcile.Location{Host: c.Host, Dir: best.Source, Sub: strings.TrimPrefix(dir[len(best.Destination):], "/")}
	if best.Type == "volume" {
		at.Dir, at.Volume = "", best.Name
	}
	p := w.places[physical(at)]
	if held := c.dirs[dir]; held != nil {
		p = held
	}
	switch {
	case p == nil:
		return nil
	case p.shut(c.User, base):
		return &file{} // nobody but root could read that
	}
	return p.resolve(base)
}

// shut reports whether a directory on the way to a name keeps a user out.
func (p *place) shut(by reconcile.Owner, name string) bool {
	dirs := []reconcile.DirState{p.dir}
	if n := p.names[name]; n != nil && n.through && p.atomic != nil {
		dirs = append(dirs, reconcile.DirState{Mode: p.atomic.mode})
	}
	return slices.ContainsFunc(dirs, func(d reconcile.DirState) bool { return !d.Admits(0o600, by) })
}

func (f *file) readable(by reconcile.Owner) bool {
	switch {
	case by.UID == 0:
		return true
	case by.UID == f.uid:
		return f.mode&0o400 != 0
	case by.GID == f.gid:
		return f.mode&0o040 != 0
	}
	return f.mode&0o004 != 0
}
