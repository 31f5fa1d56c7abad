package dockerd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// Hosts are the dockerd of this machine, and those of others. It implements reconcile.Daemons.
type Hosts struct {
	Machine
	Others Others
}

var _ reconcile.Daemons = Hosts{}

// Others run programs on the machines of hosts. An error with a method Hint says what to do.
type Others interface {
	// OnMachine runs `certwright courier ARGS` there, and returns its input and output.
	OnMachine(ctx context.Context, host string, args ...string) (net.Conn, error)
	// DialOnMachine connects to an address as it is reached there.
	DialOnMachine(ctx context.Context, host, address string) (net.Conn, error)
}

const (
	// lookLimit bounds an observation of another machine once the program is there.
	lookLimit = 30 * time.Second
	// maxTalk bounds all that is read of one program, in bytes.
	maxTalk = 4 << 20
)

// message is what certwright and its program on a machine tell each other.
type message struct {
	Config *reconcile.DaemonConfig `json:",omitempty"` // to the program, first
	Prove  bool                    `json:",omitempty"` // from it: dockerd runs with that, is it well?
	Proved *verdict                `json:",omitempty"` // to it: the answer, or that it is to stop, whenever that comes
	State  *reconcile.DaemonState  `json:",omitempty"` // from it, last
	Done   *verdict                `json:",omitempty"` // from it, last
}

// verdict is an error that can travel, "" for none.
type verdict struct {
	Error     string
	Untouched bool
}

func verdictOf(err error) *verdict {
	if err == nil {
		return &verdict{}
	}
	return &verdict{err.Error(), errors.Is(err, reconcile.ErrUntouched)}
}

func (v verdict) err() error {
	switch {
	case v.Error == "":
		return nil
	case v.Untouched:
		return untouched{v.Error}
	}
	return errors.New(v.Error)
}

// untouched is a reconcile.ErrUntouched with the text it had there.
type untouched struct{ text string }

func (u untouched) Error() string { return u.text }
func (untouched) Unwrap() error   { return reconcile.ErrUntouched }

// talk is a conversation with a program on a machine.
type talk struct {
	net.Conn
	mu   sync.Mutex // of what is said
	to   *json.Encoder
	from *json.Decoder
}

func (t *talk) say(m message) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.to.Encode(m)
}

func (h Hosts) talk(ctx context.Context, host, what string) (*talk, error) {
	conn, err := h.Others.OnMachine(ctx, host, "engine", what)
	if err != nil {
		return nil, err
	}
	return &talk{Conn: conn, to: json.NewEncoder(conn), from: json.NewDecoder(io.LimitReader(conn, maxTalk))}, nil
}

// Daemon implements reconcile.Daemons.
func (h Hosts) Daemon(ctx context.Context, host string) reconcile.DaemonState {
	if host == spec.LocalHost {
		return h.Machine.Daemon(ctx, host)
	}
	t, err := h.talk(ctx, host, "look")
	if err != nil {
		var hinted interface{ Hint() string }
		if errors.As(err, &hinted) {
			return unknown(err.Error(), hinted.Hint())
		}
		return away(fmt.Sprintf("the machine of %s does not answer: %v", host, err))
	}
	defer t.Close()
	defer bounded(ctx, t, lookLimit)()
	var m message
	if err := t.from.Decode(&m); err != nil || m.State == nil {
		return away(fmt.Sprintf("the machine of %s does not say how dockerd is configured: %v", host, err))
	}
	return *m.State
}

func away(why string) reconcile.DaemonState {
	return reconcile.DaemonState{Err: why, Hint: "see that ssh reaches it as root", Away: true}
}

// bounded ends a conversation after a time, or with ctx; what it returns takes that back.
func bounded(ctx context.Context, t *talk, limit time.Duration) func() {
	_ = t.SetDeadline(time.Now().Add(limit))
	stop := context.AfterFunc(ctx, func() { _ = t.SetDeadline(time.Unix(1, 0)) })
	return func() { stop() }
}

// Reach implements reconcile.Daemons.
func (h Hosts) Reach(ctx context.Context, host, address string) (net.Conn, error) {
	if host == spec.LocalHost {
		return h.Machine.Reach(ctx, host, address)
	}
	return h.Others.DialOnMachine(ctx, host, address)
}

// Settle implements reconcile.Daemons.
func (h Hosts) Settle(ctx context.Context, host string) error {
	if host == spec.LocalHost {
		return h.Machine.Settle(ctx, host)
	}
	t, err := h.talk(ctx, host, "settle")
	if err != nil {
		return err
	}
	defer t.Close()
	defer bounded(ctx, t, proveLimit)()
	return t.done(host)
}

// Reconfigure implements reconcile.Daemons. It is proved from here, over the program's machine.
func (h Hosts) Reconfigure(ctx context.Context, host string, want reconcile.DaemonConfig, proof func(context.Context) error) error {
	if host == spec.LocalHost {
		return h.Machine.Reconfigure(ctx, host, want, proof)
	}
	t, err := h.talk(ctx, host, "reconfigure")
	if err != nil {
		return fmt.Errorf("%w: %w", reconcile.ErrUntouched, err)
	}
	defer t.Close()
	_ = t.SetDeadline(time.Now().Add(proveLimit + backLimit))
	if err := t.say(message{Config: &want}); err != nil {
		return fmt.Errorf("%w: %w", reconcile.ErrUntouched, err)
	}
	// Who has had enough waits for the way back, as on this machine.
	stop := context.AfterFunc(ctx, func() { _ = t.say(message{Proved: verdictOf(ctx.Err())}) })
	defer stop()
	var m message
	if err := t.from.Decode(&m); err != nil || m.Done != nil {
		return m.outcome(host, err)
	}
	if err := proof(ctx); ctx.Err() == nil { // else it has been told
		if err := t.say(message{Proved: verdictOf(err)}); err != nil {
			return m.outcome(host, err)
		}
	}
	return t.done(host)
}

func (t *talk) done(host string) error {
	var m message
	err := t.from.Decode(&m)
	return m.outcome(host, err)
}

// outcome is what came of it.
func (m message) outcome(host string, err error) error {
	if err == nil && m.Done == nil {
		err = errors.New("it ended too early")
	}
	if err != nil {
		return fmt.Errorf("the machine of %s does not say what came of it, and goes back by itself unless all is well: %w", host, err)
	}
	return m.Done.err()
}
