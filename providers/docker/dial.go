package docker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/certwright/certwright/reconcile"
)

// connectTimeout is enough for a container on this machine; more would be spent on networks that cannot be
// reached from here.
const connectTimeout = time.Second

// Dial connects to a port of a container: at its own address when the engine is on this machine and in its network, at a published
// port, or through a courier in the container's network. A refusal at its own address is the answer, unless a
// courier may look whether the server listens on its loopback alone. Where nobody listens there either, none is sent
// again for three seconds, unless the container was started since.
func (e *Engine) Dial(ctx context.Context, c reconcile.Container, port int, couriers bool) (net.Conn, error) {
	switch {
	case e.err != nil:
		return nil, e.err
	case c.Away != nil && (c.Via == "" || !couriers):
		return nil, fmt.Errorf("%s runs on another node: %w", c.Name, reconcile.ErrNotHere)
	case c.Away != nil:
		conn, _, err := e.dialInside(ctx, c, port)
		return conn, err
	}
	var refused error
	for _, address := range e.ways(c, port) {
		if refused != nil && address == c.Published[port] {
			break // the engine's proxy of a published port accepts everything
		}
		d := net.Dialer{Timeout: connectTimeout}
		conn, err := d.DialContext(ctx, "tcp", address)
		if err == nil {
			return conn, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			refused = err
		}
	}
	switch {
	case !couriers && refused != nil:
		return nil, refused
	case !couriers:
		return nil, fmt.Errorf("port %d of %s cannot be dialled from here without a courier: %w",
			port, c.Name, reconcile.ErrNotHere)
	case !c.Running():
		return nil, fmt.Errorf("container %s is %s", c.Name, c.State)
	}
	if refused != nil {
		if err := e.mute.lately(c.ID, port); err != nil {
			return nil, fmt.Errorf("%w (and from inside: %v)", refused, err)
		}
	}
	conn, at, err := e.dialInside(ctx, c, port)
	switch {
	case err != nil && refused != nil:
		return nil, fmt.Errorf("%w (and from inside: %v)", refused, err)
	case err != nil:
		return nil, fmt.Errorf("port %d of %s: %w", port, c.Name, err)
	case at == net.JoinHostPort(loopback, strconv.Itoa(port)) && (c.Network == "none" || ownAddress(c)):
		return reconcile.Within{Conn: conn}, nil
	}
	return conn, nil
}

// ownAddress reports whether a container has an address that others could reach it at. In the network of its machine it has none of
// its own: the loopback there is that of all its processes.
func ownAddress(c reconcile.Container) bool {
	return slices.ContainsFunc(c.Addresses, func(a string) bool { return !net.ParseIP(a).IsLoopback() })
}

// ways are the addresses to try, the container's own first.
func (e *Engine) ways(c reconcile.Container, port int) []string {
	var ways []string
	if e.end.onMachine() && !e.apart.Load() && runtime.GOOS == "linux" {
		for _, a := range c.Addresses {
			ways = append(ways, net.JoinHostPort(a, strconv.Itoa(port)))
		}
	}
	if a := c.Published[port]; a != "" {
		ways = append(ways, a)
	}
	return ways
}

const loopback = "127.0.0.1"

// dialInside starts a courier in the container's network that dials the container's addresses, then its loopback, and says which of
// them it was. To one that is away it goes through the network of another container, where the loopback is not its own.
func (e *Engine) dialInside(ctx context.Context, c reconcile.Container, port int) (conn net.Conn, address string, err error) {
	in, at := c.ID, append(slices.Clone(c.Addresses), loopback)
	if c.Away != nil {
		in, at = c.Via, c.Addresses
	}
	addresses := make([]string, len(at))
	for i, a := range at {
		addresses[i] = net.JoinHostPort(a, strconv.Itoa(port))
	}
	inside, err := e.hire(ctx, job{
		args: []string{"dial", strings.Join(addresses, ",")}, network: "container:" + in,
	})
	if err != nil {
		return nil, "", err
	}
	said, err := inside.outcome(ctx)
	if ctx.Err() == nil {
		e.mute.note(c.ID, port, err)
	}
	if err != nil {
		_ = inside.Close()
		return nil, "", err
	}
	_ = inside.SetDeadline(time.Time{})
	return inside, said.At, nil
}

// deadline is the context's, or after the time given if that is sooner.
func deadline(ctx context.Context, most time.Duration) time.Time {
	at := time.Now().Add(most)
	if d, ok := ctx.Deadline(); ok && d.Before(at) {
		return d
	}
	return at
}
