package docker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/certwright/certwright/providers/command"
	"github.com/docker/docker/api/types"
)

// demux reads the standard output out of an attached stream and lets the standard error go to stderr. Each part
// has a header: the stream's number, three zeros, the length in four bytes, big endian (Engine API, "Attach to a
// container"). What a deadline cuts in two is finished by the next read.
type demux struct {
	r      io.Reader
	stderr io.Writer
	header [8]byte
	have   int   // bytes of the header that are there
	left   int64 // bytes of the part that are not read yet
}

const (
	partStdout = 1
	partEngine = 3 // an error of the engine's own; 2 is the standard error
)

func (d *demux) Read(p []byte) (int, error) {
	var aside [512]byte
	for {
		if d.left == 0 {
			if err := d.next(); err != nil {
				return 0, err
			}
			continue
		}
		into := p
		if d.header[0] != partStdout {
			into = aside[:]
		}
		n, err := d.r.Read(into[:min(int64(len(into)), d.left)])
		d.left -= int64(n)
		if d.header[0] == partStdout {
			return n, err
		}
		_, _ = d.stderr.Write(into[:n])
		if err != nil {
			return 0, err
		}
	}
}

// next reads the header of a part.
func (d *demux) next() error {
	for d.have < len(d.header) {
		n, err := d.r.Read(d.header[d.have:])
		d.have += n
		if err != nil && d.have < len(d.header) {
			return err
		}
	}
	d.have = 0
	if kind := d.header[0]; kind < partStdout || kind > partEngine {
		return fmt.Errorf("attached stream: part of kind %d", kind)
	}
	d.left = int64(binary.BigEndian.Uint32(d.header[4:]))
	return nil
}

// stream is the standard input and output of a running courier as a connection. Closing it ends the courier, and
// returns when the engine has removed it.
type stream struct {
	types.HijackedResponse
	name   string // the courier's
	out    io.Reader
	stderr *command.Words
	end    func()
}

var _ net.Conn = (*stream)(nil)

func (s *stream) Read(p []byte) (int, error)         { return s.out.Read(p) }
func (s *stream) Write(p []byte) (int, error)        { return s.Conn.Write(p) }
func (s *stream) LocalAddr() net.Addr                { return courierAddr(s.name) }
func (s *stream) RemoteAddr() net.Addr               { return courierAddr(s.name) }
func (s *stream) SetDeadline(t time.Time) error      { return s.Conn.SetDeadline(t) }
func (s *stream) SetReadDeadline(t time.Time) error  { return s.Conn.SetReadDeadline(t) }
func (s *stream) SetWriteDeadline(t time.Time) error { return s.Conn.SetWriteDeadline(t) }

// Close implements net.Conn.
func (s *stream) Close() error {
	err := s.Conn.Close()
	s.end()
	return err
}

// outcome waits for what the courier says of what it does.
func (s *stream) outcome(ctx context.Context) (outcome, error) {
	_ = s.SetDeadline(deadline(ctx, answerTimeout))
	var o outcome
	if err := readFrame(s, &o); err != nil {
		return o, s.explain(err)
	}
	if o.Error != "" {
		return o, errors.New(o.Error)
	}
	return o, nil
}

// explain adds what the courier said before it ended.
func (s *stream) explain(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("the courier ended before it answered")
	}
	if said := s.stderr.String(); said != "" {
		return fmt.Errorf("%w: %s", err, said)
	}
	return err
}

// courierAddr is the name of a courier where an address is asked for.
type courierAddr string

func (courierAddr) Network() string  { return "courier" }
func (a courierAddr) String() string { return string(a) }

// hijack waits for an attached stream no longer than the context lasts: the client itself does not. A stream that
// comes too late is closed.
func hijack(ctx context.Context, attach func() (types.HijackedResponse, error)) (types.HijackedResponse, error) {
	type answer struct {
		stream types.HijackedResponse
		err    error
	}
	answers := make(chan answer, 1)
	go func() {
		s, err := attach()
		answers <- answer{s, err}
	}()
	select {
	case a := <-answers:
		return a.stream, a.err
	case <-ctx.Done():
		go func() {
			if a := <-answers; a.err == nil {
				a.stream.Close()
			}
		}()
		return types.HijackedResponse{}, ctx.Err()
	}
}
