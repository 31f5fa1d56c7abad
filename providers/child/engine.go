package child

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/certwright/certwright/providers/command"
	"github.com/certwright/certwright/providers/reload"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// Engines is an engine of which the one container is what we are in ourselves, with the child as its process.
type Engines struct{ *Child }

var _ reconcile.Engines = Engines{}

// dialTimeout bounds one connection to a port of our own.
const dialTimeout = 5 * time.Second

// List implements reconcile.Engines: there is no container before the child runs.
func (e Engines) List(context.Context, string) reconcile.EngineState {
	p, since, _ := e.running()
	if p == nil {
		return reconcile.EngineState{}
	}
	name := e.Name()
	image := strings.TrimSuffix(name, "-server") // that of redis-server is called redis
	return reconcile.EngineState{Containers: []reconcile.Container{{
		Host: spec.LocalHost, ID: name, Name: name, Image: image, Command: strings.Join(e.Argv, " "), State: "running", Created: since,
		Mounts: []reconcile.Mount{{Type: "bind", Source: "/", Destination: "/", ReadWrite: true}},
	}}}
}

// Owner implements reconcile.Engines, by the accounts of the image.
func (e Engines) Owner(_ context.Context, _, _, name string) (reconcile.Owner, error) {
	if name == "" {
		return reconcile.Owner{UID: os.Getuid(), GID: os.Getgid()}, nil
	}
	who, group, grouped := strings.Cut(name, ":")
	o := reconcile.Owner{}
	u, err := user.Lookup(who)
	if err != nil {
		u, err = user.LookupId(who)
	}
	switch {
	case err == nil:
		o.UID, o.GID = number(u.Uid), number(u.Gid)
	case number(who) >= 0: // the kernel asks nobody for a name
		o.UID = number(who)
	default:
		return o, errors.New("no such user in /etc/passwd")
	}
	if !grouped {
		return o, nil
	}
	if g, err := user.LookupGroup(group); err == nil {
		group = g.Gid
	}
	if o.GID = number(group); o.GID < 0 {
		return o, fmt.Errorf("no group %q in /etc/group", group)
	}
	return o, nil
}

// number is an id, or -1.
func number(text string) int {
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return -1
	}
	return int(n)
}

// Started implements reconcile.Engines.
func (e Engines) Started(context.Context, string, string, time.Time) (time.Time, error) {
	_, since, _ := e.running()
	return since, nil
}

// Ending implements reconcile.Engines: what ended is no container any more.
func (e Engines) Ending(context.Context, string, string) (reconcile.Ending, error) {
	return reconcile.Ending{}, errors.New("the child is not running")
}

// CreateVolume implements reconcile.Engines: there are none.
func (e Engines) CreateVolume(context.Context, string, string, map[string]string) error {
	return errors.New("there is no engine to make a volume")
}

// Reload implements reconcile.Engines.
func (e Engines) Reload(ctx context.Context, t reconcile.Target, how spec.Reload, env reconcile.ReloadEnv) error {
	server := reload.Server{
		Dial:   func(ctx context.Context, port int) (net.Conn, error) { return dial(ctx, port) },
		Secret: e.Secret, Now: e.Now, Around: e.Around,
	}
	switch {
	case how.None:
		return nil
	case how.Restart:
		return e.restart(ctx)
	case how.Signal != "":
		return e.signal(ctx, how.Signal)
	case how.ExecUser != "":
		return errors.New("here a command runs as certwright does: leave `user` out")
	case len(how.Exec) > 0:
		return e.Around.Do("run the reload of "+e.Name(), func() error {
			_, err := command.Command{Argv: how.Exec, Env: e.Env, Timeout: reload.Timeout(how)}.Run(ctx)
			return err
		})
	case how.HTTP != nil:
		return server.HTTP(ctx, how, env)
	}
	p, ok := spec.PresetNamed(how.Preset)
	switch {
	case !ok:
		return fmt.Errorf("no way to reload with preset %q", how.Preset)
	case p.Ask != "":
		return server.Ask(ctx, p, how, env)
	}
	return e.Reload(ctx, t, p.Act, env)
}

// Dial implements reconcile.Engines.
func (e Engines) Dial(ctx context.Context, _ reconcile.Container, port int, _ bool) (net.Conn, error) {
	return dial(ctx, port)
}

// dial connects to a port of our own, which may be open in one of the two protocols alone.
func dial(ctx context.Context, port int) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout}
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err == nil {
		return conn, nil
	}
	if six, other := d.DialContext(ctx, "tcp", net.JoinHostPort("::1", strconv.Itoa(port))); other == nil {
		return six, nil
	}
	return nil, err
}
