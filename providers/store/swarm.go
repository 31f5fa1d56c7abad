package store

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/certwright/certwright/reconcile"
)

// Configs are the Docker configs of a Swarm. They cannot be changed, and their names are unique.
type Configs interface {
	// List gives what the configs hold whose names begin with prefix, by name, as they are at one moment.
	List(ctx context.Context, prefix string) (map[string][]byte, error)
	// Read gives what one holds. One that is not there is fs.ErrNotExist.
	Read(ctx context.Context, name string) ([]byte, error)
	// Create makes one. A name that is taken is fs.ErrExist.
	Create(ctx context.Context, name string, data []byte) error
	// Remove removes one. One that is not there is success.
	Remove(ctx context.Context, name string) error
}

// swarm is a store in the configs of a Swarm:
//
//	certwright-state-PROJECT-0000000042               the file of generation 42, or its beginning, with the header
//	certwright-piece-PROJECT-0000000042-NONCE-1 …     the rest of it, where it is larger than a config may be
//
// Making the config of the next generation is the commit: one of two writers finds the name taken. The state is that of
// the highest generation; older ones are removed after a commit. There is no lock that a killed process could keep.
type swarm struct {
	configs     Configs
	head, piece string // the beginnings of names
}

// most is how many bytes one config of the store holds. Swarm takes less than 1000 KiB (swarmkit, api/validation).
const most = 900 << 10

// InSwarm opens the store in the configs of a Swarm, which need not have one yet. It is always sealed.
func InSwarm(c Configs, o Options) (*Store, error) { return inSwarm(c, o, recommended()) }

func inSwarm(c Configs, o Options, costs costs) (*Store, error) {
	project := o.Project
	const room = 64 - len("certwright-state--0123456789-0123456789ab-99") // Swarm's limit
	if len(project) > room {
		project = project[:room-13] + "-" + hex.EncodeToString(checksum(nil, []byte(project)))[:12]
	}
	return newStore(&swarm{c, "certwright-state-" + project + "-", "certwright-piece-" + project + "-"}, o, costs)
}

func (s *swarm) String() string { return "configs " + s.head + "…" }

func (s *swarm) hold(context.Context) error { return nil }

func (s *swarm) yield(*found, string) error { return nil }

func (s *swarm) close() error { return nil }

// parts is in how many pieces beside the first a document of so many bytes is kept.
func parts(document int) int { return (maxHeader + document + chacha20poly1305.Overhead - 1) / most }

// sealed reports whether a header has an id.
func (h header) sealed() bool { return h.Seal != nil && len(h.Seal.Nonce) >= 6 }

// id tells a file from every other: it is the beginning of its nonce.
func (h header) id() string { return hex.EncodeToString(h.Seal.Nonce[:6]) }

// remembered is how many files before it a file names: as many as its header has room for.
const remembered = 200

func (s *swarm) label(h *header, before header, document int) {
	h.Parts = parts(document)
	if before.sealed() {
		h.Before = append([]string{before.id()}, before.Before[:min(len(before.Before), remembered-1)]...)
	}
}

func (s *swarm) headName(generation uint64) string { return fmt.Sprintf("%s%010d", s.head, generation) }

// pieceName names a piece after the nonce of its file as well: two writers may be at the same generation.
func (s *swarm) pieceName(h header, i int) string {
	return fmt.Sprintf("%s%010d-%s-%d", s.piece, h.Generation, h.id(), i)
}

// heads are the generations there are, in ascending order, and what their first configs hold.
func (s *swarm) heads(ctx context.Context) ([]uint64, map[uint64][]byte, error) {
	all, err := s.configs.List(ctx, s.head+"0") // a project whose name begins like ours goes on with a letter, mostly
	if err != nil {
		return nil, nil, fmt.Errorf("store %s: %w", s, err)
	}
	files := map[uint64][]byte{}
	var generations []uint64
	for name, data := range all {
		n, err := strconv.ParseUint(strings.TrimPrefix(name, s.head), 10, 64)
		if err != nil || name != s.headName(n) {
			continue // of a project whose name begins like ours
		}
		files[n] = data
		generations = append(generations, n)
	}
	slices.Sort(generations)
	return generations, files, nil
}

func (s *swarm) look(ctx context.Context) (found, error) {
	for last := uint64(0); ; {
		generations, files, err := s.heads(ctx)
		if err != nil || len(generations) == 0 {
			return found{}, err
		}
		n := generations[len(generations)-1]
		f, err := s.open(ctx, n, files[n])
		if !errors.Is(err, fs.ErrNotExist) || n == last {
			return f, err
		}
		// A piece is gone. If a newer generation came in between, that is why.
		last = n
	}
}

// open puts the file of a generation together.
func (s *swarm) open(ctx context.Context, generation uint64, file []byte) (found, error) {
	f := found{path: "config " + s.headName(generation), stamp: stampOf(file)}
	h, line, rest, err := parseHeader(file, kindState)
	f.header.Generation = generation
	switch {
	case err != nil:
		return f, unreadable(f.path, err)
	case h.Generation != generation:
		return f, unreadable(f.path, errRenamed)
	case !h.sealed() || h.Parts < 0 || h.Parts > parts(maxDocument):
		return f, unreadable(f.path, errHeader)
	}
	rest = slices.Clip(rest)
	for i := range h.Parts {
		piece, err := s.configs.Read(ctx, s.pieceName(h, i+1))
		if errors.Is(err, fs.ErrNotExist) {
			return f, unreadable(f.path, fmt.Errorf("config %s: %w", s.pieceName(h, i+1), err))
		}
		if err != nil {
			return f, fmt.Errorf("store %s: %w", s, err)
		}
		rest = append(rest, piece...)
	}
	f.header, f.line, f.rest = h, line, rest
	return f, nil
}

func (s *swarm) put(ctx context.Context, _ found, _ header, file []byte) error {
	h, _, _, err := parseHeader(file, kindState)
	if err != nil {
		return fmt.Errorf("store %s: %w", s, err)
	}
	if h.Seal == nil {
		return fmt.Errorf("store %s: it is always sealed; give its passphrase in the spec (store: passphrase)", s)
	}
	size := (len(file) + h.Parts) / (h.Parts + 1)
	pieces := slices.Collect(slices.Chunk(file, size))
	for i, piece := range pieces[1:] {
		if err := s.configs.Create(ctx, s.pieceName(h, i+1), piece); err != nil {
			return fmt.Errorf("store %s: %w", s, errors.Join(err, s.removePieces(ctx, h)))
		}
	}
	err = s.configs.Create(ctx, s.headName(h.Generation), pieces[0])
	if errors.Is(err, fs.ErrExist) && !s.wrote(ctx, h) {
		return fmt.Errorf("store %s: %w", s, errors.Join(reconcile.ErrChanged, s.removePieces(ctx, h)))
	}
	if err != nil && !errors.Is(err, fs.ErrExist) { // it may be there all the same
		return fmt.Errorf("store %s: %w", s, err)
	}
	return s.settle(ctx, h)
}

// wrote reports whether the config of a generation is the one with this header: a request that was sent twice finds the
// name taken by itself.
func (s *swarm) wrote(ctx context.Context, h header) bool {
	file, err := s.configs.Read(ctx, s.headName(h.Generation))
	if err != nil {
		return false
	}
	is, _, _, err := parseHeader(file, kindState)
	return err == nil && is.sealed() && is.id() == h.id()
}

// settle removes all generations but the newest, and makes sure that a commit is that or comes before it. A writer that
// was stopped for long can take a name that is free again, since the generation of it has been removed: such a commit is
// none, as nobody has built on it. An older generation that cannot be removed is an error: the passphrase it was sealed
// with may be another one.
func (s *swarm) settle(ctx context.Context, h header) error {
	generations, files, err := s.heads(ctx)
	if err != nil {
		return err
	}
	if len(generations) == 0 {
		return fmt.Errorf("store %s: %w", s, reconcile.ErrChanged)
	}
	last := len(generations) - 1
	newest, _, _, bad := parseHeader(files[generations[last]], kindState)
	if removed := s.tidy(ctx, generations[:last], files, newest); removed != nil {
		err = fmt.Errorf("store %s: remove what is older: %w", s, removed)
	}
	switch {
	case generations[last] == h.Generation || bad == nil && slices.Contains(newest.Before, h.id()):
		return err
	case generations[last] > h.Generation+remembered:
		return fmt.Errorf("store %s: so many others have written since that nobody can tell whether this was one of them", s)
	}
	return errors.Join(fmt.Errorf("store %s: %w", s, reconcile.ErrChanged), err)
}

// tidy removes older generations, and pieces of whoever was not the newest: also those that a writer left that was
// killed, or lost.
func (s *swarm) tidy(ctx context.Context, older []uint64, files map[uint64][]byte, newest header) error {
	var failed error
	for _, n := range older {
		var err error
		if h, _, _, bad := parseHeader(files[n], kindState); bad == nil && h.sealed() && h.Generation == n {
			err = s.removePieces(ctx, h)
		}
		if err == nil { // the head goes last: it is what the next one finds
			err = s.configs.Remove(ctx, s.headName(n))
		}
		failed = errors.Join(failed, err)
	}
	pieces, err := s.configs.List(ctx, s.piece+"0")
	if err != nil || !newest.sealed() {
		return failed // there may be more of them than an answer may hold
	}
	for name := range pieces {
		end := pieceEnd.FindStringSubmatch(strings.TrimPrefix(name, s.piece))
		if end == nil {
			continue // of a project whose name begins like ours
		}
		n, err := strconv.ParseUint(end[1], 10, 64)
		if err == nil && (n < newest.Generation || n == newest.Generation && end[2] != newest.id()) {
			failed = errors.Join(failed, s.configs.Remove(ctx, name))
		}
	}
	return failed
}

var pieceEnd = regexp.MustCompile(`^([0-9]{10})-([0-9a-f]{12})-[0-9]{1,2}$`)

// removePieces removes the pieces of a file.
func (s *swarm) removePieces(ctx context.Context, h header) error {
	var failed error
	for i := range min(h.Parts, parts(maxDocument)) {
		failed = errors.Join(failed, s.configs.Remove(ctx, s.pieceName(h, i+1)))
	}
	return failed
}
