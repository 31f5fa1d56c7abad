package memory

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// Dockerd is the dockerd of the world's engine, as a test describes it.
type Dockerd struct {
	reconcile.DaemonState
	// Refuses is why it does not start with a certificate of a serial, or "".
	Refuses func(serial string) string
	// Restarts counts those that certwright asked for.
	Restarts int
}

// dockerd is one with what happened to it.
type dockerd struct {
	Dockerd
	before  *reconcile.DaemonState // while it is reconfigured
	server  *container             // what it serves; nil without TLS
	address string
}

// SetDockerd makes what Daemon shows; it runs, without TLS.
func (w *World) SetDockerd(d Dockerd) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dockerd = &dockerd{Dockerd: d}
}

// Dockerd is it as it is.
func (w *World) Dockerd() Dockerd {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dockerd.Dockerd
}

// ChangeDockerd is what people do to it.
func (w *World) ChangeDockerd(change func(*reconcile.DaemonState)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(&w.dockerd.DaemonState)
}

// Daemon implements reconcile.Daemons.
func (w *World) Daemon(context.Context, string) reconcile.DaemonState {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dockerd == nil {
		return reconcile.DaemonState{Err: "there is no dockerd"}
	}
	s := w.dockerd.DaemonState
	s.Unfinished = w.dockerd.before != nil
	return s
}

// Reach implements reconcile.Daemons, for Probe.
func (w *World) Reach(_ context.Context, _, address string) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.dockerd
	if d == nil || !d.Active || d.server == nil || d.address != address {
		return nil, errors.New("connection refused")
	}
	near, far := net.Pipe()
	_ = far.Close()
	return conn{near, d.server}, nil
}

// Admits implements reconcile.Daemons: what has no TLS lets anybody in.
func (w *World) Admits(ctx context.Context, host, address string) reconcile.Admission {
	w.mu.Lock()
	d := w.dockerd
	plain := d != nil && d.Active && d.server == nil
	w.mu.Unlock()
	if plain {
		return reconcile.Anybody
	}
	if _, err := w.Reach(ctx, host, address); err == nil {
		return reconcile.Guarded
	}
	return reconcile.Closed
}

// Reconfigure implements reconcile.Daemons.
func (w *World) Reconfigure(ctx context.Context, _ string, c reconcile.DaemonConfig, proof func(context.Context) error) error {
	d := w.dockerd
	err := w.effect("write daemon.json", func() error {
		if d.before == nil || !same(d.DaemonState, c) {
			before := d.DaemonState
			d.before = &before
		}
		d.Hosts, d.TLS = reconcile.Directive{Values: c.Hosts, At: d.File + ":1"}, c.TLS
		if c.Command != nil {
			d.Command = c.Command
		}
		return nil
	})
	if err == nil {
		err = w.effect("restart dockerd", func() error { return w.startDockerd(c.Hosts) })
	}
	if err == nil {
		err = proof(ctx)
	}
	if err != nil {
		back := w.effect("put daemon.json back", func() error {
			d.Hosts, d.TLS, d.Command = d.before.Hosts, d.before.TLS, d.before.Command
			return w.startDockerd(d.Hosts.Values)
		})
		if back != nil {
			return errors.Join(err, back)
		}
	}
	return errors.Join(err, w.effect("forget daemon.json of before", func() error { d.before = nil; return nil }))
}

// same reports whether a state has a configuration already.
func same(s reconcile.DaemonState, c reconcile.DaemonConfig) bool {
	return s.TLS == c.TLS && fmt.Sprint(s.Hosts.Values) == fmt.Sprint(c.Hosts)
}

// startDockerd has it load its files, as they are.
func (w *World) startDockerd(hosts []string) error {
	d := w.dockerd
	d.Restarts++
	d.Active, d.server, d.address = false, nil, ""
	if !d.TLS.Verify {
		d.Active = true
		return nil
	}
	dir := path.Dir(d.TLS.Cert)
	c := &container{Container: Container{
		Container: reconcile.Container{Name: d.Unit, Host: spec.LocalHost, State: "running", Mounts: []reconcile.Mount{{Type: "bind", Source: dir, Destination: dir}}},
		Server:    &Server{Cert: d.TLS.Cert, Key: d.TLS.Key, CA: d.TLS.CA, Behaviour: Restarts, ClientAuth: spec.ClientAuthRequired},
	}}
	l, err := w.loadServer(c)
	if err != nil {
		return fmt.Errorf("dockerd ends: %w", err)
	}
	if d.Refuses != nil {
		if why := d.Refuses(l.serial()); why != "" {
			return errors.New("dockerd ends: " + why)
		}
	}
	c.loaded = l
	d.Active, d.server = true, c
	for _, h := range hosts {
		if e := (spec.EngineTLS{Listen: []string{h}}); len(h) > 6 && h[:6] == "tcp://" {
			d.address = e.Address()
			break
		}
	}
	return nil
}
