// Package docker is the Docker engine behind reconcile: its containers and volumes, how a consumer is made to
// load its files, how a port of one is reached, and how files get to machines that certwright does not run on.
//
// An Engine is one engine, named as the docker command names it. Engines are those of a spec by host name, and
// Places sends each unit of files the way it can go: through the file system of this machine, or through a
// courier, a short-lived container made from certwright's own binary.
//
// Nothing is decided here: callers say what to do and to whom. Every request that can be made to an engine is in
// Calls. Nothing is pulled, no key goes through the archive endpoint, and no container but our own couriers is
// made or removed.
package docker

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/docker/docker/client"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// answerTimeout bounds one question to an engine; a healthy one with a thousand containers needs 0.1 s.
const answerTimeout = 10 * time.Second

// Options says which engine, and what it may use.
type Options struct {
	// Endpoint (unix://, tcp:// or ssh://) or Context names the engine. With neither the environment does.
	Endpoint, Context string
	// TLS has an engine at a tcp endpoint prove itself, also where DOCKER_TLS_VERIFY is not set, and refuses a context that leads to
	// another machine in the clear: keys are sent there.
	TLS bool
	// Getenv reads the environment; os.Getenv when nil.
	Getenv func(string) string
	// Environ is the environment of the ssh command, without passwords; this process's own when nil.
	Environ []string
	// Project is the owner mark on couriers.
	Project string
	// CourierBinary is a linux binary for the engine's architecture; "" takes the running one.
	CourierBinary string
	// ForceCourier never takes the short way over the file system of this machine.
	ForceCourier bool
	// LookOnly changes nothing while listing, not even what is left of outposts, and sends signals without a courier.
	LookOnly bool
	// Secret reads the password of a preset from where the spec says.
	Secret func(spec.Source) ([]byte, error)
	// Around is put around every request that changes something.
	Around reconcile.Around
	// Now is the clock; time.Now when nil.
	Now func() time.Time
}

// Engine is one Docker engine. Its methods may be called at the same time. One that cannot be set up answers
// everything with the reason, so that a broken host stops no other.
type Engine struct {
	host string
	o    Options
	end  endpoint
	cli  *client.Client
	err  error // why cli is nil

	refused refusals
	mute    mutes
	apart   atomic.Bool // its network is another one than that of this process, by the last list

	settle time.Duration // how long a container is watched after a signal or a start for dying of it

	mu     sync.Mutex
	facts  *facts               // nil until asked for
	image  string               // the courier image's name, "" until asked for
	swept  time.Time            // when leftovers of couriers were last looked for
	starts map[string]time.Time // of containers by id

	program *program // nil until one is needed
}

// New sets up the engine that the spec calls host. It sends nothing; the API version is negotiated by the first
// request.
func New(host string, o Options) *Engine {
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	e := &Engine{host: host, o: o, settle: 500 * time.Millisecond}
	e.end, e.err = resolve(o)
	if e.err == nil {
		e.cli, e.err = e.end.client(host, o.Environ, &e.refused)
	}
	if e.err != nil {
		e.err = fmt.Errorf("engine %s: %w", host, e.err)
	}
	return e
}

// name is the engine as people know it: core-02 at tcp://core-02:2376.
func (e *Engine) name() string { return e.host + " at " + e.end.address }

// facts are what GET /info says that cannot change while an engine runs.
type facts struct {
	arch     string // as uname has it: x86_64, aarch64
	name     string // the engine's machine's host name
	remapped bool   // user ids in containers are not those of the machine (userns-remap, rootless)
	self     string // tells the engine from all others
}

// about asks the engine about itself, once as long as it runs.
func (e *Engine) about(ctx context.Context) (facts, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.facts != nil {
		return *e.facts, nil
	}
	ctx, cancel := limited(ctx, answerTimeout)
	defer cancel()
	info, err := e.cli.Info(ctx)
	if err != nil {
		return facts{}, err
	}
	f := facts{arch: info.Architecture, name: info.Name, self: self(info)}
	for _, o := range info.SecurityOptions {
		if o == "name=userns" || o == "name=rootless" {
			f.remapped = true
		}
	}
	e.facts = &f
	return f, nil
}

// anew forgets what an engine said of itself: who answers after it did not may be another.
func (e *Engine) anew() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.facts = nil
}

// Engines are the engines of a spec by host name. It implements reconcile.Engines.
type Engines map[string]*Engine

var (
	_ reconcile.Engines = Engines{}
	_ reconcile.Swarms  = Engines{}
)

// engine finds a usable engine.
func (es Engines) engine(host string) (*Engine, error) {
	e, ok := es[host]
	if !ok {
		return nil, fmt.Errorf("no host named %q", host)
	}
	return e, e.err
}

// List implements reconcile.Engines.
func (es Engines) List(ctx context.Context, host string) reconcile.EngineState {
	e, ok := es[host]
	if !ok {
		return reconcile.EngineState{Err: fmt.Sprintf("the spec has no host named %s any more", host)}
	}
	ctx, cancel := limited(ctx, answerTimeout)
	defer cancel()
	state := e.List(ctx)
	switch {
	case state.Err != "":
		e.anew()
	case len(es) > 1:
		e.tell(ctx, &state)
	}
	return state
}

// Owner implements reconcile.Engines.
func (es Engines) Owner(ctx context.Context, host, container, user string) (reconcile.Owner, error) {
	e, err := es.engine(host)
	if err != nil {
		return reconcile.Owner{}, err
	}
	return e.Owner(ctx, container, user)
}

// Started implements reconcile.Engines.
func (es Engines) Started(ctx context.Context, host, container string, since time.Time) (time.Time, error) {
	e, err := es.engine(host)
	if err != nil {
		return time.Time{}, err
	}
	return e.Started(ctx, container, since)
}

// Ending implements reconcile.Engines.
func (es Engines) Ending(ctx context.Context, host, container string) (reconcile.Ending, error) {
	e, err := es.engine(host)
	if err != nil {
		return reconcile.Ending{}, err
	}
	return e.Ending(ctx, container)
}

// CreateVolume implements reconcile.Engines.
func (es Engines) CreateVolume(ctx context.Context, host, name string, labels map[string]string) error {
	e, err := es.engine(host)
	if err != nil {
		return err
	}
	return e.CreateVolume(ctx, name, labels)
}

// Reload implements reconcile.Engines.
func (es Engines) Reload(ctx context.Context, t reconcile.Target, how spec.Reload, env reconcile.ReloadEnv) error {
	e, err := es.engine(t.Host)
	if err != nil {
		return err
	}
	return e.Reload(ctx, t, how, env)
}

// Dial implements reconcile.Engines.
func (es Engines) Dial(ctx context.Context, c reconcile.Container, port int, couriers bool) (net.Conn, error) {
	e, err := es.engine(c.Host)
	if err != nil {
		return nil, err
	}
	return e.Dial(ctx, c, port, couriers)
}

// Swarm implements reconcile.Swarms.
func (es Engines) Swarm(ctx context.Context, host string) reconcile.Swarm {
	e, err := es.engine(host)
	if err != nil {
		return reconcile.Swarm{Err: err.Error()}
	}
	return e.Swarm(ctx)
}

// CreateSecret implements reconcile.Swarms.
func (es Engines) CreateSecret(ctx context.Context, host string, s reconcile.NewSecret) error {
	e, err := es.engine(host)
	if err != nil {
		return err
	}
	return e.CreateSecret(ctx, s)
}

// LabelSecret implements reconcile.Swarms.
func (es Engines) LabelSecret(ctx context.Context, host string, s reconcile.Secret, data []byte) (bool, error) {
	e, err := es.engine(host)
	if err != nil {
		return false, err
	}
	return e.LabelSecret(ctx, s, data)
}

// Update implements reconcile.Swarms.
func (es Engines) Update(ctx context.Context, host string, u reconcile.ServiceUpdate) error {
	e, err := es.engine(host)
	if err != nil {
		return err
	}
	return e.Update(ctx, u)
}

// RemoveSecret implements reconcile.Swarms.
func (es Engines) RemoveSecret(ctx context.Context, host string, s reconcile.Secret) error {
	e, err := es.engine(host)
	if err != nil {
		return err
	}
	return e.RemoveSecret(ctx, s)
}

// Outposts implements reconcile.Swarms.
func (es Engines) Outposts(ctx context.Context, host string, networks []string) (map[string]string, func(), error) {
	e, err := es.engine(host)
	if err != nil {
		return nil, func() {}, err
	}
	return e.Outposts(ctx, networks)
}

// SwarmCA implements reconcile.Swarms.
func (es Engines) SwarmCA(ctx context.Context, host string) reconcile.SwarmCA {
	e, err := es.engine(host)
	if err != nil {
		return reconcile.SwarmCA{Err: err.Error()}
	}
	return e.SwarmCA(ctx)
}

// UpdateSwarm implements reconcile.Swarms.
func (es Engines) UpdateSwarm(ctx context.Context, host string, u reconcile.SwarmUpdate) error {
	e, err := es.engine(host)
	if err != nil {
		return err
	}
	return e.UpdateSwarm(ctx, u)
}
