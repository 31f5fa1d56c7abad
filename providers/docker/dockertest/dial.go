package dockertest

import (
	"context"
	"net"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Dial connects to an IP address and port as one who is on the manager's machine would: to its loopback, or to a container
// of its bridges.
func (m Manager) Dial(ctx context.Context, address string) (net.Conn, error) {
	type answer struct {
		conn net.Conn
		err  error
	}
	made := make(chan answer, 1)
	go func() {
		// A thread is in one network, and a socket stays in that it was made in. Never unlocked, the thread ends with this
		// goroutine, and nothing else runs in the network of the machine.
		runtime.LockOSThread()
		conn, err := func() (net.Conn, error) {
			network, err := os.Open("/run/netns/" + m.Namespace)
			if err != nil {
				return nil, err
			}
			defer network.Close()
			if err := unix.Setns(int(network.Fd()), unix.CLONE_NEWNET); err != nil {
				return nil, err
			}
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}()
		made <- answer{conn, err}
	}()
	a := <-made
	return a.conn, a.err
}
