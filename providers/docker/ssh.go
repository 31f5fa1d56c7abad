package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/certwright/certwright/providers/command"
)

// sshDialer reaches an engine over the ssh command of this machine, with its configuration, agent and known
// hosts: each connection is one `ssh HOST docker system dial-stdio`, as the docker command does it.
func sshDialer(address string, environ []string) (func(ctx context.Context, network, addr string) (net.Conn, error), error) {
	args, socket, err := sshCommand(address)
	if err != nil {
		return nil, err
	}
	args = append(args, "docker")
	if socket != "" && socket != "/" {
		args = append(args, "--host", "unix://"+socket)
	}
	args = append(args, "system", "dial-stdio")
	return func(ctx context.Context, _, _ string) (net.Conn, error) { return dialCommand("ssh", args, environ) }, nil
}

// sshCommand is what ssh is called with to run a command at an address, which is to follow, and the path of the address.
func sshCommand(address string) (args []string, path string, err error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, "", fmt.Errorf("endpoint %q: %w", address, err)
	}
	if _, secret := u.User.Password(); secret {
		return nil, "", errors.New("an ssh endpoint takes no password; use a key")
	}
	if u.Hostname() == "" || strings.HasPrefix(u.Hostname(), "-") {
		return nil, "", fmt.Errorf("endpoint %q names no host", address)
	}
	args = []string{"-o", "ConnectTimeout=10", "-T"}
	if u.User.Username() != "" {
		args = append(args, "-l", u.User.Username())
	}
	if u.Port() != "" {
		args = append(args, "-p", u.Port())
	}
	return append(args, "--", u.Hostname()), u.Path, nil
}

// dialCommand starts a command and makes a connection of its input and output. The command outlives the dialling
// context, as connections do, and ends with the connection.
func dialCommand(name string, args, environ []string) (net.Conn, error) {
	near, far := net.Pipe()
	cmd := exec.Command(name, args...)
	cmd.Env = environ
	stderr := command.First(300)
	cmd.Stdout, cmd.Stderr = far, stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		_, _ = io.Copy(stdin, far)
		_ = stdin.Close()
	}()
	c := &commandConn{Conn: near, kill: cmd.Process.Kill}
	go func() {
		if err := cmd.Wait(); err != nil {
			if said := stderr.String(); said != "" {
				err = errors.New(strings.TrimPrefix(said, name+": "))
			}
			c.fail(commandError{fmt.Errorf("%s: %w", name, err)})
		}
		_ = far.Close()
	}()
	return c, nil
}

// commandError is why a command failed that a connection leads to: whatever others make of the connection's end, this is why.
type commandError struct{ error }

// commandConn is a connection to a command. What the command said when it failed is the error of the next read or write.
type commandConn struct {
	net.Conn
	kill func() error
	mu   sync.Mutex
	err  error
}

func (c *commandConn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

func (c *commandConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	return n, c.because(err)
}

func (c *commandConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	return n, c.because(err)
}

// because is why the command failed, if that is what an error comes from.
func (c *commandConn) because(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if (errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe)) && c.err != nil {
		return c.err
	}
	return err
}

func (c *commandConn) Close() error {
	err := c.Conn.Close()
	// ssh ends by itself when its input does; the kill is for one that hangs in its handshake.
	time.AfterFunc(time.Second, func() { _ = c.kill() })
	return err
}
