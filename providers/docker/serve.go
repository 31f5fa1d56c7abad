package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/certwright/certwright/reconcile"
)

// drain is how long a courier that dialled waits for the server's last words after its input has ended.
const drain = 2 * time.Second

// ServeFiles is the courier's side of files: it carries out requests from stdin with places, whose locations are
// directories of the courier, and answers on stdout, until stdin ends. It is what `certwright courier files` runs.
func ServeFiles(ctx context.Context, stdin io.Reader, stdout io.Writer, places reconcile.Places) error {
	for {
		var r request
		err := readFrame(stdin, &r)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("request: %w", err)
		}
		err = writeFrame(stdout, carryOut(ctx, r, places))
		if errors.Is(err, errTooLarge) {
			err = writeFrame(stdout, response{TooLarge: true})
		}
		if err != nil {
			return fmt.Errorf("answer: %w", err)
		}
	}
}

func carryOut(ctx context.Context, r request, places reconcile.Places) response {
	if r.Protocol != protocol {
		return response{Error: fmt.Sprintf("this courier speaks version %d and was asked in version %d; its binary must be certwright's own",
			protocol, r.Protocol)}
	}
	var a response
	if len(r.Read) > 0 {
		for _, c := range places.Read(ctx, r.Read, false) {
			a.Contents = append(a.Contents, content{PlaceContent: c, Err: faultOf(c.Err)})
		}
	}
	if len(r.Write) > 0 {
		for _, err := range places.Write(ctx, r.Write) {
			a.Faults = append(a.Faults, faultOf(err))
		}
	}
	if len(r.Remove) > 0 {
		for _, err := range places.Remove(ctx, r.Remove) {
			a.Faults = append(a.Faults, faultOf(err))
		}
	}
	return a
}

// ServeDial is the courier's side of Dial: it connects to the first of the addresses (HOST:PORT, separated by
// commas) that answers, says so on stdout, and relays until the server or stdin ends. It is what
// `certwright courier dial ADDRESSES` runs.
func ServeDial(ctx context.Context, addresses string, stdin io.Reader, stdout io.Writer) error {
	conn, err := dialAny(ctx, strings.Split(addresses, ","))
	if err != nil {
		return writeFrame(stdout, outcome{Error: err.Error()})
	}
	defer conn.Close()
	if err := writeFrame(stdout, outcome{At: conn.RemoteAddr().String()}); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(conn, stdin)
		if half, ok := conn.(*net.TCPConn); ok {
			_ = half.CloseWrite()
		}
		_ = conn.SetReadDeadline(time.Now().Add(drain))
	}()
	_, err = io.Copy(stdout, conn)
	if errors.As(err, new(net.Error)) {
		return nil // the drain is over, or the server cut the connection: its end either way
	}
	return err
}

// ServeWait is what an outpost does: nothing, until it is ended, or has been left behind. It is what `certwright courier
// wait` runs.
func ServeWait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, outpostLife)
	defer cancel()
	<-ctx.Done()
	return nil
}

// dialAny returns the first connection, or the last error: the loopback's, which says most.
func dialAny(ctx context.Context, addresses []string) (net.Conn, error) {
	var last error
	for _, a := range addresses {
		d := net.Dialer{Timeout: connectTimeout}
		conn, err := d.DialContext(ctx, "tcp", a)
		if err == nil {
			return conn, nil
		}
		last = err
	}
	return nil, last
}
