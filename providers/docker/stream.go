package docker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/docker/docker/api/types"
)

// demux reads the standard output out of an attached stream and lets the standard error go to stderr. Each part
// has a header: the stream's number, three zeros, the length in four bytes, big endian (Engine API, "Attach to a
// container"). A header that a deadline cut in two is finished by the next read.
type demux struct {
	r      io.Reader
	stderr io.Writer
	header [8]byte
	have   int // bytes of the header that are there
	left   int // bytes of the part that are not read yet
}

func (d *demux) Read(p []byte) (int, error) {
	for d.left == 0 {
		if err := d.next(); err != nil {
			return 0, err
		}
	}
	n, err := d.r.Read(p[:min(len(p), d.left)])
	d.left -= n
	return n, err
}

// next reads a header, and the whole part too if it is none of the standard output.
func (d *demux) next() error {
	for d.have < len(d.header) {
		n, err := d.r.Read(d.header[d.have:])
		d.have += n
		if err != nil && d.have < len(d.header) {
			return err
		}
	}
	d.have = 0
	kind, size := d.header[0], binary.BigEndian.Uint32(d.header[4:])
	switch {
	case kind == 1:
		d.left = int(size)
		return nil
	case kind == 2 || kind == 3: // 3 is an error of the engine's own
		_, err := io.CopyN(d.stderr, d.r, int64(size))
		return err
	}
	return fmt.Errorf("attached stream: part of kind %d", kind)
}

// stream is the standard input and output of a running courier as a connection. Closing it ends the courier, and
// returns when the engine has removed it.
type stream struct {
	types.HijackedResponse
	name   string // the courier's
	out    *demux
	stderr *head
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
