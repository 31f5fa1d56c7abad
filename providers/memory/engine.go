package memory

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// Engine is a Docker engine.
type Engine struct {
	Down   string // why it does not answer; "" if it does
	Named  bool   // as in reconcile.EngineState
	Self   string // as in reconcile.EngineState
	Remote bool   // its places and containers are reached through couriers only
}

// SetEngine adds an engine for a host or changes it.
func (w *World) SetEngine(host string, e Engine) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.engines[host] = &e
}

// List implements reconcile.Engines.
func (w *World) List(_ context.Context, host string) reconcile.EngineState {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.engines[host]
	if e == nil {
		return reconcile.EngineState{Err: "there is no engine " + host}
	}
	state := reconcile.EngineState{Err: e.Down, Named: e.Named, Self: e.Self}
	if e.Down != "" {
		return state
	}
	for _, c := range w.containers {
		if c.Host == host {
			listed := deepCopy(c.Container.Container)
			listed.Anew = c.Running() && w.Now().Sub(c.started) < 10*time.Second
			state.Containers = append(state.Containers, listed)
		}
	}
	for at, v := range w.volumes {
		if at.Host == host {
			state.Volumes = append(state.Volumes, deepCopy(v))
		}
	}
	slices.SortFunc(state.Containers, func(a, b reconcile.Container) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(state.Volumes, func(a, b reconcile.Volume) int { return strings.Compare(a.Name, b.Name) })
	return state
}

// Owner implements reconcile.Engines.
func (w *World) Owner(_ context.Context, host, id, user string) (reconcile.Owner, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c, err := w.find(host, id)
	if err != nil {
		return reconcile.Owner{}, err
	}
	if user == "" {
		return c.User, nil
	}
	if o, ok := c.Users[user]; ok {
		return o, nil
	}
	var o reconcile.Owner
	if n, _ := fmt.Sscanf(user, "%d:%d", &o.UID, &o.GID); n > 0 {
		return o, nil
	}
	return o, fmt.Errorf("container %s has no user %q", c.Name, user)
}

// Started implements reconcile.Engines.
func (w *World) Started(_ context.Context, host, id string, _ time.Time) (time.Time, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c, err := w.find(host, id)
	if err != nil {
		return time.Time{}, err
	}
	return c.started, nil
}

// Ending implements reconcile.Engines.
func (w *World) Ending(_ context.Context, host, id string) (reconcile.Ending, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c, err := w.find(host, id)
	if err != nil {
		return reconcile.Ending{}, err
	}
	return c.ending, nil
}

// find finds a container of an engine that answers.
func (w *World) find(host, id string) (*container, error) {
	switch e := w.engines[host]; {
	case e == nil:
		return nil, fmt.Errorf("there is no engine %s", host)
	case e.Down != "":
		return nil, fmt.Errorf("engine %s: %s", host, e.Down)
	}
	for _, c := range w.containers {
		if c.Host == host && c.ID == id {
			return c, nil
		}
	}
	return nil, fmt.Errorf("no such container: %s", id)
}

// CreateVolume implements reconcile.Engines.
func (w *World) CreateVolume(_ context.Context, host, name string, labels map[string]string) error {
	return w.effect("POST /volumes/create", func() error {
		if e := w.engines[host]; e == nil || e.Down != "" {
			return fmt.Errorf("engine %s does not answer", host)
		}
		w.makeVolume(host, name, deepCopy(labels))
		return nil
	})
}

// AddVolume makes a volume as someone else does.
func (w *World) AddVolume(host, name string, labels map[string]string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.makeVolume(host, name, labels)
}

func (w *World) makeVolume(host, name string, labels map[string]string) {
	at := reconcile.Location{Host: host, Volume: name}
	if _, ok := w.volumes[at]; !ok {
		w.volumes[at] = reconcile.Volume{Name: name, Driver: "local", Labels: labels}
		w.makePlace(at)
	}
}

func volumeOf(at reconcile.Location) reconcile.Location {
	return reconcile.Location{Host: at.Host, Volume: at.Volume}
}

// Reload implements reconcile.Engines. A container that no binding names breaks a promise, whatever is done to it.
func (w *World) Reload(_ context.Context, t reconcile.Target, how spec.Reload, _ reconcile.ReloadEnv) error {
	if how.None {
		return nil
	}
	err := w.effect(effectOf(how), func() error {
		c, err := w.find(t.Host, t.ID)
		if err != nil {
			return err
		}
		if !c.Bound {
			w.breaks("container " + c.Name + " was touched, and no binding names it")
		}
		if how.Restart {
			c.Restarts++
			return w.start(c)
		}
		if !c.Running() {
			return fmt.Errorf("container %s is not running", c.Name)
		}
		return w.reload(c, how)
	})
	if err != nil {
		return fmt.Errorf("%s %s: %w", how.Verb(), t.Name, err)
	}
	return nil
}

func effectOf(how spec.Reload) string {
	p, known := spec.PresetNamed(how.Preset)
	switch {
	case known && p.Ask != "":
		return p.Ask
	case known:
		return effectOf(p.Act)
	case how.Restart:
		return "POST /containers/{id}/restart"
	case len(how.Exec) > 0:
		return "POST /exec/{id}/start"
	case how.HTTP != nil:
		return "HTTP " + how.HTTP.Method
	}
	return "POST /containers/{id}/kill"
}

// Dial implements reconcile.Engines. Only Probe can make anything of the connection.
func (w *World) Dial(_ context.Context, c reconcile.Container, port int, couriers bool) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	found, err := w.find(c.Host, c.ID)
	if err != nil {
		return nil, err
	}
	switch {
	case w.engines[c.Host].Remote && !couriers:
		return nil, fmt.Errorf("port %d of %s needs a courier: %w", port, c.Name, reconcile.ErrNotHere)
	case !found.Running() || found.Server == nil || found.Server.Port != port:
		return nil, fmt.Errorf("dial port %d of %s: %w", port, c.Name, syscall.ECONNREFUSED)
	}
	near, far := net.Pipe()
	_ = far.Close()
	return conn{near, found}, nil
}

// conn is a connection that knows where it leads.
type conn struct {
	net.Conn
	to *container
}
