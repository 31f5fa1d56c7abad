package docker

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/pkg/stdcopy"

	"github.com/certwright/certwright/providers/command"
	"github.com/certwright/certwright/reconcile"
)

// parts is an attached stream as the engine's own code makes it.
func parts() []byte {
	var b bytes.Buffer
	out, errs := stdcopy.NewStdWriter(&b, stdcopy.Stdout), stdcopy.NewStdWriter(&b, stdcopy.Stderr)
	for _, p := range []struct {
		w    io.Writer
		text string
	}{{out, "one "}, {errs, "bad"}, {out, ""}, {out, strings.Repeat("x", 5000)}, {errs, "\nkey"}, {out, " two"}} {
		_, _ = p.w.Write([]byte(p.text))
	}
	return b.Bytes()
}

// TestDemux takes a stream apart, in pieces of any size, and with a deadline that passes before every byte.
func TestDemux(t *testing.T) {
	for name, r := range map[string]io.Reader{
		"whole": bytes.NewReader(parts()), "bytes": iotest.OneByteReader(bytes.NewReader(parts())),
		"deadlines": &stutter{r: iotest.OneByteReader(bytes.NewReader(parts()))},
	} {
		said := command.First(outputMax)
		d := &demux{r: r, stderr: said}
		var out []byte
		for {
			p := make([]byte, 100)
			n, err := d.Read(p)
			out = append(out, p[:n]...)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal(err)
			}
		}
		if want := "one " + strings.Repeat("x", 5000) + " two"; string(out) != want {
			t.Errorf("%s: %d bytes, want %d", name, len(out), len(want))
		}
		if said.String() != "bad key" {
			t.Errorf("%s: standard error %q", name, said)
		}
	}
	if _, err := (&demux{r: strings.NewReader("HTTP/1.1 400")}).Read(make([]byte, 1)); err == nil {
		t.Error("what is no attached stream was read")
	}
}

// stutter fails every other read as a deadline does.
type stutter struct {
	r    io.Reader
	fail bool
}

func (s *stutter) Read(p []byte) (int, error) {
	if s.fail = !s.fail; s.fail {
		return 0, os.ErrDeadlineExceeded
	}
	return s.r.Read(p)
}

// TestFrames carries what callers tell apart, and bounds what it is sent.
func TestFrames(t *testing.T) {
	var b bytes.Buffer
	sent := response{Faults: []*fault{nil, faultOf(errors.New("disk full")), faultOf(reconcile.ErrForeign)}}
	if err := writeFrame(&b, sent); err != nil {
		t.Fatal(err)
	}
	whole := b.Bytes()
	var got response
	if err := readFrame(bytes.NewReader(whole), &got); err != nil {
		t.Fatal(err)
	}
	errs := faults(got)
	if errs[0] != nil || errs[1].Error() != "disk full" || errors.Is(errs[1], reconcile.ErrForeign) || !errors.Is(errs[2], reconcile.ErrForeign) {
		t.Errorf("got %v", errs)
	}
	if err := readFrame(bytes.NewReader(nil), &got); !errors.Is(err, io.EOF) {
		t.Errorf("no frame: %v", err)
	}
	if err := readFrame(bytes.NewReader(whole[:len(whole)-1]), &got); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a frame cut short: %v", err)
	}
	if err := readFrame(bytes.NewReader(binary.BigEndian.AppendUint32(nil, frameMax+1)), &got); err == nil {
		t.Error("a frame without end was read")
	}
	if err := writeFrame(io.Discard, make([]byte, frameMax)); err == nil {
		t.Error("a frame without end was written")
	}
}

// TestServeFilesOfAnotherVersion is a courier binary that is not certwright's own.
func TestServeFilesOfAnotherVersion(t *testing.T) {
	var in, out bytes.Buffer
	if err := writeFrame(&in, request{Protocol: protocol + 1}); err != nil {
		t.Fatal(err)
	}
	if err := ServeFiles(t.Context(), &in, &out, nil); err != nil {
		t.Error(err)
	}
	var got response
	if err := readFrame(&out, &got); err != nil || !strings.Contains(got.Error, "its binary must be certwright's own") {
		t.Errorf("answer %+v, %v", got, err)
	}
	if err := ServeFiles(t.Context(), strings.NewReader("\x00\x00\x00\x05nonsense"), &out, nil); err == nil {
		t.Error("nonsense was taken for a request")
	}
}

// served is the stream of a courier in this process.
func served(t *testing.T, places reconcile.Places) *stream {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() { _ = near.Close() })
	go func() { _ = ServeFiles(t.Context(), far, stdcopy.NewStdWriter(far, stdcopy.Stdout), places) }()
	said := command.First(outputMax)
	return &stream{HijackedResponse: types.HijackedResponse{Conn: near}, out: &demux{r: near, stderr: said}, stderr: said}
}

// TestTooFewAnswers has a courier that leaves one out: whose it was is not known.
func TestTooFewAnswers(t *testing.T) {
	for i, err := range removing.send(t.Context(), served(t, few{}), make([]reconcile.Removal, 3)) {
		if err == nil || err.Error() != "courier: 2 answers to 3 questions" {
			t.Errorf("removal %d: %v", i, err)
		}
	}
}

type few struct{ reconcile.Places }

func (few) Remove(_ context.Context, removals []reconcile.Removal) []error {
	return make([]error, len(removals)-1)
}

// TestTooMuchForOneMessage has places that together, and one that alone, hold more than a message may.
func TestTooMuchForOneMessage(t *testing.T) {
	s := served(t, full{})
	var queries []reconcile.PlaceQuery
	var units []reconcile.Unit
	for _, size := range []int{26 << 20, 26 << 20, 0} {
		queries = append(queries, reconcile.PlaceQuery{At: reconcile.Location{Sub: strconv.Itoa(size)}})
		units = append(units, reconcile.Unit{Files: []reconcile.UnitFile{{Data: make([]byte, size)}}})
	}
	for i, c := range reading.send(t.Context(), s, queries) {
		if c.Err != nil || strconv.Itoa(len(c.Files["f"].Data)) != queries[i].At.Sub {
			t.Errorf("read %d: %d bytes, want %s: %v", i, len(c.Files["f"].Data), queries[i].At.Sub, c.Err)
		}
	}
	alone := len(units)
	units = append(units, reconcile.Unit{Files: []reconcile.UnitFile{{Data: make([]byte, frameMax)}}})
	for i, err := range writing.send(t.Context(), s, units) {
		if wrote := fmt.Sprintf("wrote %d", len(units[i].Files[0].Data)); i == alone && !errors.Is(err, errTooLarge) || i < alone && err.Error() != wrote {
			t.Errorf("write %d: %v", i, err)
		}
	}
}

// full has places that hold as many bytes as their Sub says.
type full struct{ reconcile.Places }

func (full) Read(_ context.Context, queries []reconcile.PlaceQuery, _ bool) []reconcile.PlaceContent {
	all := make([]reconcile.PlaceContent, len(queries))
	for i, q := range queries {
		size, _ := strconv.Atoi(q.At.Sub)
		all[i].Files = map[string]reconcile.FileContent{"f": {Data: make([]byte, size)}}
	}
	return all
}

func (full) Write(_ context.Context, units []reconcile.Unit) []error {
	all := make([]error, len(units))
	for i, u := range units {
		all[i] = errorf("wrote %d", len(u.Files[0].Data))
	}
	return all
}

func FuzzStream(f *testing.F) {
	f.Add(parts())
	f.Add([]byte("\x00\x00\x00\x02{}"))
	f.Add([]byte("\x01\x00\x00\x00\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		said := command.First(outputMax)
		out, _ := io.ReadAll(&demux{r: bytes.NewReader(data), stderr: said})
		if len(out) > len(data) || len(said.Bytes()) > outputMax {
			t.Errorf("%d bytes became %d and %d", len(data), len(out), len(said.Bytes()))
		}
		var r response
		_ = readFrame(bytes.NewReader(data), &r)
		_ = account(data, "root", 4)
	})
}
