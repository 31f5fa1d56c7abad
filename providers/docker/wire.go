package docker

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/certwright/certwright/reconcile"
)

const (
	// frameMax bounds one message between certwright and a courier: some thousand places.
	frameMax = 64 << 20
	// protocol changes with the messages; a courier of another version is told apart by it.
	protocol = 2
)

// request asks a courier for one call of reconcile.Places; the locations are those of its own file system.
type request struct {
	Protocol int
	Read     []reconcile.PlaceQuery
	Write    []reconcile.Unit
	Remove   []reconcile.Removal
}

// response answers a request: Contents for Read, Faults for the others, one each in the order of the request.
type response struct {
	Error    string
	TooLarge bool // the answer has more than frameMax bytes: ask for less
	Contents []content
	Faults   []*fault
}

// content is a PlaceContent whose error can travel.
type content struct {
	reconcile.PlaceContent
	Err *fault
}

// errTooLarge: a message has more than frameMax bytes. Nothing of it was sent.
var errTooLarge = errors.New("too large for one message with a courier")

// fault is an error that can travel without losing what callers tell apart.
type fault struct {
	Text             string
	Foreign, Changed bool
}

func faultOf(err error) *fault {
	if err == nil {
		return nil
	}
	return &fault{Text: err.Error(), Foreign: errors.Is(err, reconcile.ErrForeign), Changed: errors.Is(err, reconcile.ErrChanged)}
}

func (f *fault) err() error {
	switch {
	case f == nil:
		return nil
	case f.Foreign:
		return travelled{f.Text, reconcile.ErrForeign}
	case f.Changed:
		return travelled{f.Text, reconcile.ErrChanged}
	}
	return errors.New(f.Text)
}

// travelled is an error with the text it had at the courier.
type travelled struct {
	text string
	is   error
}

func (t travelled) Error() string { return t.text }
func (t travelled) Unwrap() error { return t.is }

// outcome is what a courier that does one thing says of it first. After that of one that dials come the bytes themselves.
type outcome struct {
	Error string
	At    string // HOST:PORT that was dialled
}

// writeFrame writes a message: its length in four bytes, big endian, then JSON.
func writeFrame(w io.Writer, message any) error {
	data, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if len(data) > frameMax {
		return fmt.Errorf("%d bytes, %d are allowed: %w", len(data), frameMax, errTooLarge)
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(data)), uint32(len(data)))
	_, err = w.Write(append(frame, data...))
	return err
}

// readFrame reads a message. It is io.EOF only when there is none.
func readFrame(r io.Reader, message any) error {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > frameMax {
		return fmt.Errorf("message of %d bytes; %d are allowed", n, frameMax)
	}
	data, err := io.ReadAll(io.LimitReader(r, int64(n)))
	if err != nil {
		return err
	}
	if len(data) < int(n) {
		return io.ErrUnexpectedEOF
	}
	return json.Unmarshal(data, message)
}
