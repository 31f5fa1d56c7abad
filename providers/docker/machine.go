package docker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/certwright/certwright/providers/command"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// What has to outlive an engine cannot run in one of its containers: a courier dies with it. Where the engine is reached over
// ssh, certwright's own program runs on its machine.

// aboard brings the program that stdin holds, after a line with its size, into a folder of root's alone. It is there until the
// connection ends, however it does. What runs already goes on without its file.
const aboard = `umask 077; [ "$(id -u)" = 0 ] || { echo "user $(id -un)"; exit; }; echo "machine $(uname -m)"; ` +
	`read n && d=$(mktemp -d) || exit 1; trap "rm -rf \"$d\"" EXIT; trap "exit 1" HUP INT TERM; ` +
	`head -c "$n" > "$d/certwright" && chmod 700 "$d/certwright" || exit 1; echo "program $d/certwright"; exec 3<&0; cat <&3 > /dev/null`

// maxLine bounds what the script says, in bytes.
const maxLine = 4096

// program is certwright's own on the machine of an engine.
type program struct {
	ready chan struct{}
	path  string // once it is ready
	err   error
	gone  atomic.Bool // the connection that keeps it there has ended
}

// NoMachine says why nothing can run on the machine of an engine, and what to do.
type NoMachine struct{ Why, What string }

func (e NoMachine) Error() string { return e.Why }

// Hint is what to do.
func (e NoMachine) Hint() string { return e.What }

// OnMachine runs `certwright courier ARGS` on the machine of a host that is reached over ssh, as root, and returns its input and
// output. It ends when they do. The program is brought there once, and is taken away when this process ends.
func (es Engines) OnMachine(ctx context.Context, host string, args ...string) (net.Conn, error) {
	e, err := es.engine(host)
	if err != nil {
		return nil, err
	}
	return e.onMachine(ctx, args...)
}

// DialOnMachine connects to an address as the machine of a host reaches it.
func (es Engines) DialOnMachine(ctx context.Context, host, address string) (net.Conn, error) {
	conn, err := es.OnMachine(ctx, host, "dial", address)
	if err != nil {
		return nil, err
	}
	s := overSSH(conn)
	if _, err := s.outcome(ctx); err != nil {
		_ = s.Close()
		return nil, err
	}
	_ = s.SetDeadline(time.Time{})
	return s, nil
}

func (e *Engine) onMachine(ctx context.Context, args ...string) (net.Conn, error) {
	ssh, err := e.ssh()
	if err != nil {
		return nil, err
	}
	p, err := e.aboard(ctx, ssh)
	if err != nil {
		return nil, err
	}
	words := make([]string, len(args))
	for i, word := range args {
		if strings.ContainsAny(word, "'\n") {
			return nil, fmt.Errorf("%q cannot be said over ssh", word)
		}
		words[i] = "'" + word + "'"
	}
	return dialCommand("ssh", slices.Concat(ssh, []string{p + " courier " + strings.Join(words, " ")}), e.o.Environ)
}

// ssh is the command that runs others on the engine's machine.
func (e *Engine) ssh() ([]string, error) {
	const hint = "name it under hosts as ssh://root@HOST, or run certwright on its machine"
	switch {
	case !strings.HasPrefix(e.end.address, "ssh://"):
		return nil, NoMachine{
			fmt.Sprintf("host %s is reached at %s, and dockerd is restarted where its service manager is: on its machine, or over ssh", e.host, e.end.address), hint,
		}
	case e.o.LookOnly:
		return nil, NoMachine{"a machine is looked at by certwright's own program, which --no-couriers does not bring there", "plan without --no-couriers"}
	}
	args, _, err := sshCommand(e.end.address)
	return append([]string{"-o", "ServerAliveInterval=15"}, args...), err // one that has no way back is to be noticed
}

// aboard is where the program is on the engine's machine. It is brought by one, whoever waits for it.
func (e *Engine) aboard(ctx context.Context, ssh []string) (path string, err error) {
	e.mu.Lock()
	p := e.program
	if p == nil || p.gone.Load() {
		p = &program{ready: make(chan struct{})}
		e.program = p
		go func() {
			if p.err = e.o.Around.Do("ssh: bring certwright", func() error { return e.bring(p, ssh) }); p.err != nil {
				p.gone.Store(true)
			}
			close(p.ready)
		}()
	}
	e.mu.Unlock()
	select {
	case <-p.ready:
		return p.path, p.err
	case <-ctx.Done():
		return "", fmt.Errorf("%s: bring certwright to the machine: %w", e.end.address, ctx.Err())
	}
}

func (e *Engine) bring(p *program, ssh []string) error {
	conn, err := dialCommand("ssh", slices.Concat(ssh, []string{"sh -c '" + aboard + "'"}), e.o.Environ)
	if err != nil {
		return err
	}
	_ = conn.SetDeadline(time.Now().Add(importTimeout))
	said := bufio.NewReaderSize(io.LimitReader(conn, maxLine), maxLine)
	if err := e.hand(conn, said); err != nil {
		_ = conn.Close()
		return err
	}
	path, err := line(said, "program")
	if err != nil || strings.ContainsAny(path, "'; \t$`\"\\") {
		_ = conn.Close()
		return errors.Join(err, fmt.Errorf("%s: no program can be brought there", e.end.address))
	}
	_ = conn.SetDeadline(time.Time{})
	p.path = path
	go func() { // it stays as long as this process does
		_, _ = io.Copy(io.Discard, conn)
		p.gone.Store(true)
		_ = conn.Close()
	}()
	return nil
}

// hand answers the script with the program for its machine.
func (e *Engine) hand(to io.Writer, said *bufio.Reader) error {
	arch, err := line(said, "machine")
	if err != nil {
		return fmt.Errorf("%s: %w", e.end.address, err)
	}
	binary, err := readCourier(e.o.CourierBinary)
	if err != nil {
		return err
	}
	_, loader, err := needs(binary, arch)
	if err == nil && loader != "" {
		err = unfit("it is dynamically linked")
	}
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(to, "%d\n", len(binary)); err != nil {
		return err
	}
	_, err = to.Write(binary)
	return err
}

// line reads one that begins with a word.
func line(said *bufio.Reader, word string) (string, error) {
	text, err := said.ReadString('\n')
	is, rest, _ := strings.Cut(strings.TrimSuffix(text, "\n"), " ")
	switch {
	case is == "user":
		return "", NoMachine{fmt.Sprintf("the user %q that ssh logs in as is not root, who alone restarts dockerd", rest), "let ssh log in as root: ssh://root@HOST"}
	case err != nil:
		return "", err
	case is != word:
		return "", fmt.Errorf("it says %q", text)
	}
	return rest, nil
}

// overSSH is what a program on a machine says and hears, as what a courier does.
func overSSH(conn net.Conn) *stream {
	s := &stream{name: "ssh", out: conn, stderr: command.First(0), end: func() {}}
	s.Conn = conn
	return s
}

// there lets certwright's own program carry out items on the engine's machine, whether the engine runs or not.
func there[Q, A any](ctx context.Context, e *Engine, items []Q, c errand[Q, A]) []A {
	conn, err := e.onMachine(ctx, "files")
	if err != nil {
		return repeat(len(items), c.refuse(err))
	}
	s := overSSH(conn)
	defer s.Close()
	for i := range items {
		l := c.at(&items[i])
		*l = reconcile.Location{Host: spec.LocalHost, Dir: l.Dir, Sub: l.Sub}
	}
	return c.send(ctx, s, items)
}
