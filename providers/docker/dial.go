package docker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
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
// courier may look whether the server listens on its loopback alone.
func (e *Engine) Dial(ctx context.Context, c reconcile.Container, port int, couriers bool) (net.Conn, error) {
	switch {
	case e.err != nil:
		return nil, e.err
	case c.Away != nil && (c.Via == "" || !couriers):
		return nil, fmt.Errorf("%s runs on another node: %w", c.Name, reconcile.ErrNotHere)
	case c.Away != nil:
		return e.dialInside(ctx, c, port)
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
	conn, err := e.dialInside(ctx, c, port)
	switch {
	case err != nil && refused != nil:
		return nil, fmt.Errorf("%w (and from inside: %v)", refused, err)
	case err != nil:
		return nil, fmt.Errorf("port %d of %s: %w", port, c.Name, err)
	}
	return conn, nil
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

// dialInside starts a courier in the container's network that dials the container's loopback, then its addresses. To one
// that is away it goes through the network of another container, where the loopback is not its own.
func (e *Engine) dialInside(ctx context.Context, c reconcile.Container, port int) (net.Conn, error) {
	in, at := c.ID, append([]string{"127.0.0.1"}, c.Addresses...)
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
		return nil, err
	}
	if err := inside.outcome(ctx); err != nil {
		_ = inside.Close()
		return nil, err
	}
	_ = inside.SetDeadline(time.Time{})
	return inside, nil
}

// deadline is the context's, or after the time given if that is sooner.
func deadline(ctx context.Context, most time.Duration) time.Time {
	at := time.Now().Add(most)
	if d, ok := ctx.Deadline(); ok && d.Before(at) {
		return d
	}
	return at
}
