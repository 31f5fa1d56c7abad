package memory

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path"
	"slices"
	"strings"

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
	loaded  []string               // the command of its unit as systemd has read it
	before  *reconcile.DaemonState // while it is reconfigured
	armed   bool                   // it goes back by itself then
	started bool                   // since then
	ran     bool                   // since the first then, of several that were cut off
	server  *container             // what it serves; nil without TLS
	address string
}

// SetDockerd makes what Daemon shows; it runs, without TLS.
func (w *World) SetDockerd(d Dockerd) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dockerd = &dockerd{Dockerd: d, loaded: d.Command}
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
	w.dockerd.loaded = w.dockerd.Command
}

// Refuse makes what it does not start with another thing: see Dockerd.Refuses.
func (w *World) Refuse(why func(serial string) string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dockerd.Refuses = why
}

// Daemon implements reconcile.Daemons.
func (w *World) Daemon(context.Context, string) reconcile.DaemonState {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dockerd == nil {
		return reconcile.DaemonState{Err: "there is no dockerd"}
	}
	d := w.dockerd
	s := d.DaemonState
	s.Command = d.loaded
	if was := d.before; was != nil {
		s.Unfinished, s.Unread = true, !d.started && !same(d.DaemonState, *was)
		s.Before = reconcile.DaemonConfig{Hosts: was.Hosts.Values, TLS: was.TLS, Command: was.Command}
	}
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

// Reconfigure implements reconcile.Daemons. The unit and the file are two effects, in an order in which dockerd starts between
// them.
func (w *World) Reconfigure(ctx context.Context, _ string, c reconcile.DaemonConfig, proof func(context.Context) error) error {
	d := w.dockerd
	if err := w.usable(c.TLS); err != nil {
		return fmt.Errorf("%w: %w", reconcile.ErrUntouched, err)
	}
	again := d.before != nil
	was := d.DaemonState
	if again {
		was = *d.before
	}
	err := w.effect("keep daemon.json of before", func() error { d.before, d.started, d.ran = &was, false, again; return nil })
	if err != nil {
		return err
	}
	command := d.Command
	if c.Command != nil {
		command = c.Command
	}
	restarted := again
	err = w.effect("arm the way back of dockerd", func() error { d.armed = true; return nil })
	if err == nil {
		err = w.writeUnit(command, again)
	}
	if err == nil {
		err = w.writeConfig(reconcile.Directive{Values: c.Hosts, At: d.File + ":1"}, c.TLS)
	}
	if err == nil {
		restarted = true
		err = w.effect("restart dockerd", w.startDockerd)
	}
	if err == nil {
		err = proof(ctx)
	}
	if err == nil {
		return w.forgetDockerd()
	}
	back := w.writeConfig(was.Hosts, was.TLS)
	if back == nil {
		back = w.writeUnit(was.Command, again)
	}
	if back == nil && restarted {
		back = w.effect("restart dockerd as before", w.startDockerd)
	}
	if back == nil {
		back = w.forgetDockerd()
	}
	if back == nil && !restarted {
		back = reconcile.ErrUntouched
	}
	return errors.Join(err, back)
}

// Settle implements reconcile.Daemons.
func (w *World) Settle(context.Context, string) error { return w.forgetDockerd() }

func (w *World) forgetDockerd() error {
	if err := w.effect("disarm the way back of dockerd", func() error { w.dockerd.armed = false; return nil }); err != nil {
		return err
	}
	return w.effect("forget daemon.json of before", func() error { w.dockerd.before = nil; return nil })
}

// BackByItself is what its machine does minutes after a Reconfigure that was cut off: it reports whether it did.
func (w *World) BackByItself() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.dockerd
	if !d.armed {
		return false
	}
	d.Hosts, d.TLS, d.Command, d.loaded = d.before.Hosts, d.before.TLS, d.before.Command, d.before.Command
	if d.ran || !d.Active {
		_ = w.startDockerd()
	}
	d.before, d.armed = nil, false
	return true
}

// writeUnit gives the unit a command, and has systemd read it, in any case again.
func (w *World) writeUnit(command []string, again bool) error {
	d := w.dockerd
	if !slices.Equal(d.Command, command) {
		again = true
		if err := w.effect("write the drop-in of docker.service", func() error { d.Command = command; return nil }); err != nil {
			return err
		}
	}
	if !again {
		return nil
	}
	return w.effect("systemctl daemon-reload", func() error { d.loaded = d.Command; return nil })
}

func (w *World) writeConfig(hosts reconcile.Directive, tls reconcile.DaemonTLS) error {
	d := w.dockerd
	if d.Hosts.At == hosts.At && slices.Equal(d.Hosts.Values, hosts.Values) && d.TLS == tls {
		return nil
	}
	return w.effect("write daemon.json", func() error { d.Hosts, d.TLS = hosts, tls; return nil })
}

// same reports whether two configurations are one.
func same(a, b reconcile.DaemonState) bool {
	return a.TLS == b.TLS && slices.Equal(a.Hosts.Values, b.Hosts.Values) && slices.Equal(a.Command, b.Command)
}

// Startable says why dockerd would not start as it is configured, by what systemd has read of its unit and, as after a boot, by
// what is there of it.
func (w *World) Startable() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dockerd == nil {
		return nil
	}
	_, err := w.comesUp(w.dockerd.loaded)
	_, booted := w.comesUp(w.dockerd.Command)
	return errors.Join(err, booted)
}

// startDockerd has it load its files, as they are, with the command that systemd has read.
func (w *World) startDockerd() error {
	d := w.dockerd
	d.Restarts++
	d.started, d.ran = true, true
	d.Active, d.Running, d.server, d.address = false, d.loaded, nil, ""
	c, err := w.comesUp(d.loaded)
	if err != nil {
		return err
	}
	if c != nil && d.Refuses != nil {
		if why := d.Refuses(c.loaded.serial()); why != "" {
			return errors.New("dockerd ends: " + why)
		}
	}
	d.Active, d.server = true, c
	for _, h := range d.Hosts.Values {
		if c != nil && strings.HasPrefix(h, "tcp://") {
			d.address = spec.EngineTLS{Listen: []string{h}}.Address()
			break
		}
	}
	return nil
}

// comesUp is what dockerd serves once it is started with a command and its file, nil without TLS.
func (w *World) comesUp(command []string) (*container, error) {
	d := w.dockerd
	for _, word := range command {
		if d.Hosts.At != "" && (strings.HasPrefix(word, "-H") || strings.HasPrefix(word, "--host")) {
			return nil, fmt.Errorf("dockerd ends: hosts is in %s, and %s among its flags", d.Hosts.At, word)
		}
	}
	if !d.TLS.Verify {
		return nil, nil
	}
	c := d.serves(d.TLS)
	l, err := w.loadServer(c)
	if err != nil {
		return nil, fmt.Errorf("dockerd ends: %w", err)
	}
	c.loaded = l
	return c, nil
}

// serves is dockerd as a server with some files.
func (d *dockerd) serves(tls reconcile.DaemonTLS) *container {
	c := &container{Container: Container{
		Container: reconcile.Container{Name: d.Unit, Host: spec.LocalHost, State: "running"},
		Server:    &Server{Cert: tls.Cert, Key: tls.Key, CA: tls.CA, Behaviour: Restarts, ClientAuth: spec.ClientAuthRequired},
	}}
	for _, file := range []string{tls.Cert, tls.Key, tls.CA} {
		dir := path.Dir(file)
		c.Mounts = append(c.Mounts, reconcile.Mount{Type: "bind", Source: dir, Destination: dir})
	}
	return c
}

// usable reports what dockerd would not start with.
func (w *World) usable(tls reconcile.DaemonTLS) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := w.loadServer(w.dockerd.serves(tls))
	return err
}
