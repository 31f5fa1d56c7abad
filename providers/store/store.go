// Package store keeps the State as one file: in a directory, or in the configs of a Swarm.
//
// The file is a line of JSON, the header, and a binary document. With a passphrase the document is sealed with
// XChaCha20-Poly1305 under a key derived by Argon2id (RFC 9106), whose parameters stand in the header, so that a new
// passphrase, too, is one change. Without one, the SHA-256 of header and document stands between them. Either way a
// change to any byte is seen.
//
// Whatever is there and is not understood is an error and is left alone: damage, another version, another project
// or installation, another passphrase, or a state that is missing beside its store.json. It never counts as an
// empty state. What cannot be seen here is an older file of the same store put back by hand: the marks that
// certwright leaves in the places tell.
package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"

	"github.com/certwright/certwright/providers/disk"
	"github.com/certwright/certwright/reconcile"
)

// Options say how to use a store.
type Options struct {
	Passphrase []byte // nil: plain; empty is an error
	Writer     bool   // take the lock; without it Commit and Reseal are errors
	Project    string // what the state must belong to
	Disk       disk.Disk
	Rand       io.Reader // nil: crypto/rand
}

// Store is a reconcile.Store. It is not for use by several goroutines at once.
type Store struct {
	at    medium
	o     Options
	costs costs // of keys derived for writing
	// seen is the file that the last Load or Commit saw: the only one Commit replaces. tried is what a failed Commit
	// wrote; it may be there all the same.
	seen, tried version
	last        proved
}

func newStore(at medium, o Options, c costs) (*Store, error) {
	if o.Passphrase != nil && len(o.Passphrase) == 0 {
		return nil, fmt.Errorf("store %s: the passphrase is empty", at)
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	return &Store{at: at, o: o, costs: c}, nil
}

// version is one state file.
type version struct {
	stamp  string // "" when there is none
	header header
	sealer *sealer // nil: plain
}

// medium is where the one file of a store lies.
type medium interface {
	String() string // names it in messages
	// look reads what is there; nothing in it is proved yet. With an error that is a fault, found has what could be read.
	look(ctx context.Context) (found, error)
	// hold is called before the look that a put relies on. A medium that has a lock takes it, until close.
	hold(ctx context.Context) error
	// label completes the header of a file that is to replace one, and has a document of so many bytes.
	label(h *header, before header, document int)
	// put makes file, whose header was h before it was sealed, the one that is there, in one step and durably. It fails with
	// reconcile.ErrChanged where another one came between look and it.
	put(ctx context.Context, f found, h header, file []byte) error
	// yield says that the file of an installation is about to come, whatever was there.
	yield(f *found, installation string) error
	close() error
}

// found is what a look found.
type found struct {
	path   string // of the file, for messages
	marker header // of store.json; zero if there is none
	stamp  string // "" if there is no state
	header header
	line   []byte
	rest   []byte
}

// stampOf tells one state file from every other: it takes in the checksum, or as much of what is sealed.
func stampOf(file []byte) string {
	return string(file[:min(len(file), maxHeader+sha256.Size)])
}

// Close frees the lock, if there is one.
func (s *Store) Close() error { return s.at.close() }

// String names the store, for messages.
func (s *Store) String() string { return s.at.String() }

// Load implements reconcile.Store.
func (s *Store) Load(ctx context.Context) (reconcile.State, error) {
	if err := ctx.Err(); err != nil {
		return reconcile.State{}, err
	}
	f, err := s.at.look(ctx)
	if err != nil {
		return reconcile.State{}, err
	}
	if f.stamp == "" {
		s.seen = version{}
		return reconcile.State{}, fmt.Errorf("%s: %w", s.at, reconcile.ErrNoStore)
	}
	return s.read(f)
}

// ReadBack implements reconcile.Store.
func (s *Store) ReadBack(ctx context.Context) (reconcile.State, error) {
	f, err := s.at.look(ctx)
	if err != nil {
		return reconcile.State{}, err
	}
	if f.stamp != s.seen.stamp {
		return reconcile.State{}, fmt.Errorf("store %s: %w", s.at, reconcile.ErrChanged)
	}
	return s.read(f)
}

// read opens a state file and takes it as seen.
func (s *Store) read(f found) (reconcile.State, error) {
	if p := s.o.Project; p != "" && f.header.Project != p {
		return reconcile.State{}, fmt.Errorf("%s belongs to project %s, not to %q; give each project a store of its own",
			f.path, quote(f.header.Project), p)
	}
	key, err := s.key(f)
	if err != nil {
		return reconcile.State{}, err
	}
	state, known := s.last.of(f)
	if !known {
		if state, err = openState(f.header, f.line, f.rest, key); err != nil {
			return reconcile.State{}, unreadable(f.path, err)
		}
		if s.o.Writer { // a reader comes but once
			s.last = prove(f, state)
		}
	}
	s.seen = version{f.stamp, f.header, key}
	return state, nil
}

// openState gives the state that a file holds.
func openState(h header, line, rest []byte, key *sealer) (reconcile.State, error) {
	document, err := unwrap(h, line, rest, key)
	if err != nil {
		return reconcile.State{}, err
	}
	state, err := decode(document, h.Format)
	if err == nil && (state.Installation != h.Installation || state.Project != h.Project) {
		err = errMixed
	}
	return state, err
}

// key gives the sealer for a state file; one that was used before is not derived again. A file of our own making
// opens whatever the options say, since Reseal may have made it.
func (s *Store) key(f found) (*sealer, error) {
	for _, v := range []version{s.tried, s.seen} {
		if v.stamp == f.stamp || v.sealer.made(f.header.Seal) {
			return v.sealer, nil
		}
	}
	switch {
	case f.header.Seal == nil && s.o.Passphrase != nil:
		return nil, ErrPassphrase(f.path + " is not sealed, but a passphrase is given; run `certwright seal`, or take the passphrase out of the spec")
	case f.header.Seal != nil && s.o.Passphrase == nil:
		return nil, ErrPassphrase(f.path + " is sealed; give its passphrase in the spec (store: passphrase)")
	case f.header.Seal == nil:
		return nil, nil
	}
	key, err := openerOf(f.header.Seal, s.o.Passphrase)
	if err != nil {
		return nil, unreadable(f.path, err)
	}
	return key, nil
}

// Commit implements reconcile.Store. A state without an installation gets a random one, one without a project that
// of the options; the next Load shows them. What is there must be what this Store saw last.
func (s *Store) Commit(ctx context.Context, state reconcile.State) error {
	return s.commit(ctx, state, nil, false)
}

// Reseal changes the passphrase; nil leaves the store plain. Until it returns nil the old or the new one opens the
// store; afterwards the new one alone.
func (s *Store) Reseal(ctx context.Context, passphrase []byte) error {
	state, err := s.Load(ctx)
	if err != nil {
		return err
	}
	var key *sealer
	if passphrase != nil {
		if key, err = newSealer(passphrase, s.costs, s.o.Rand); err != nil {
			return fmt.Errorf("store %s: %w", s.at, err)
		}
	}
	return s.commit(ctx, state, key, true)
}

func (s *Store) commit(ctx context.Context, state reconcile.State, key *sealer, reseal bool) error {
	if err := s.hold(ctx); err != nil {
		return err
	}
	f, err := s.at.look(ctx)
	if err != nil {
		return err
	}
	base := s.seen
	if f.stamp != "" && f.stamp == s.tried.stamp {
		base = s.tried
	}
	if s.seen = base; f.stamp != base.stamp {
		return fmt.Errorf("store %s: %w", s.at, reconcile.ErrChanged)
	}
	if err := s.name(&state, base.header); err != nil {
		return err
	}
	if !reseal {
		if key = base.sealer; base.stamp == "" {
			if key, err = s.newKey(); err != nil {
				return err
			}
		}
	}
	return s.put(ctx, f, state, base.header.Generation+1, key)
}

func (s *Store) hold(ctx context.Context) error {
	if !s.o.Writer {
		return fmt.Errorf("store %s was opened for reading", s.at)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.at.hold(ctx)
}

// newKey derives the key of a first state; nil without a passphrase.
func (s *Store) newKey() (*sealer, error) {
	if s.o.Passphrase == nil {
		return nil, nil
	}
	key, err := newSealer(s.o.Passphrase, s.costs, s.o.Rand)
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", s.at, err)
	}
	return key, nil
}

// put makes state the content of the store.
func (s *Store) put(ctx context.Context, f found, state reconcile.State, generation uint64, key *sealer) error {
	document := encode(state)
	h := header{
		Certwright: kindState, Format: format, Installation: state.Installation, Project: state.Project, Generation: generation,
	}
	s.at.label(&h, f.header, len(document))
	file, err := wrap(h, document, key, s.o.Rand)
	if err != nil {
		return fmt.Errorf("store %s: %w", s.at, err)
	}
	s.tried = version{stampOf(file), h, key}
	if err := s.at.put(ctx, f, h, file); err != nil {
		return err
	}
	s.seen = s.tried
	return nil
}

// name sees to it that a state says whose it is: of the installation that the store had before, if it had one.
func (s *Store) name(state *reconcile.State, before header) error {
	if state.Installation == "" {
		state.Installation = before.Installation
	}
	if state.Installation == "" {
		id := make([]byte, 16)
		if _, err := io.ReadFull(s.o.Rand, id); err != nil {
			return fmt.Errorf("store %s: random bytes: %w", s.at, err)
		}
		state.Installation = hex.EncodeToString(id)
	}
	if state.Project == "" {
		state.Project = s.o.Project
	}
	if before.Installation != "" && state.Installation != before.Installation {
		return fmt.Errorf("store %s: the state is of another installation", s.at)
	}
	if s.o.Project != "" && state.Project != s.o.Project {
		return fmt.Errorf("store %s: the state is of project %q, not %q", s.at, state.Project, s.o.Project)
	}
	return nil
}
