// Package store keeps the State in a directory.
//
//	DIR/         0700
//	.gitignore   keeps the directory out of git
//	lock         flock(2): one writer; a killed one frees it at once
//	store.json   says that there is a state, and of which installation
//	state        0600: the whole State, one file
//
// A commit replaces state in one step (a new file, fsync, rename, fsync of the directory), so there is always one
// whole state, and readers need no lock. The file is a line of JSON, the header, and a binary document. With a
// passphrase the document is sealed with XChaCha20-Poly1305 under a key derived by Argon2id (RFC 9106), whose
// parameters stand in the header, so that a new passphrase, too, is one rename. Without one, the SHA-256 of header
// and document stands between them. Either way a change to any byte is seen.
//
// Whatever is there and is not understood is an error and is left alone: damage, another version, another project
// or installation, another passphrase, or a state that is missing beside its store.json. It never counts as an
// empty state. What cannot be seen here is an older state file of the same store put back by hand: the marks that
// certwright leaves in the places tell.
package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/gofrs/flock"

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

// Store is a reconcile.Store in a directory. It is not for use by several goroutines at once.
type Store struct {
	path  string
	o     Options
	costs costs // of keys derived for writing
	lock  *flock.Flock
	// seen is the file that the last Load or Commit saw: the only one Commit replaces. tried is what a failed Commit
	// wrote; it may be there all the same.
	seen, tried version
}

// version is one state file.
type version struct {
	stamp  string // "" when there is none
	header header
	sealer *sealer // nil: plain
}

// Open opens the store at path, which need not exist. A writer waits for other writers until ctx ends, at most half
// a minute; where there is no store yet, the first Commit does that.
func Open(ctx context.Context, path string, o Options) (*Store, error) {
	return open(ctx, path, o, recommended())
}

func open(ctx context.Context, path string, o Options, c costs) (*Store, error) {
	if o.Passphrase != nil && len(o.Passphrase) == 0 {
		return nil, fmt.Errorf("store %s: the passphrase is empty", path)
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	s := &Store{path: path, o: o, costs: c}
	if !o.Writer {
		return s, nil
	}
	dir, err := o.Disk.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	defer dir.Close()
	if there, err := exists(dir, stateFile, storeFile); err != nil || !there {
		return s, err
	}
	if err := s.take(ctx, dir); err != nil {
		return nil, err
	}
	return s, nil
}

// Close frees the lock.
func (s *Store) Close() error {
	if s.lock == nil {
		return nil
	}
	err := s.lock.Unlock()
	s.lock = nil
	return err
}

// Load implements reconcile.Store.
func (s *Store) Load(ctx context.Context) (reconcile.State, error) {
	if err := ctx.Err(); err != nil {
		return reconcile.State{}, err
	}
	dir, err := s.o.Disk.Open(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		s.seen = version{}
		return reconcile.State{}, fmt.Errorf("%s: %w", s.path, reconcile.ErrNoStore)
	}
	if err != nil {
		return reconcile.State{}, fmt.Errorf("store: %w", err)
	}
	defer dir.Close()
	f, err := look(dir, s.path)
	if err != nil {
		return reconcile.State{}, err
	}
	if f.stamp == "" {
		s.seen = version{}
		return reconcile.State{}, fmt.Errorf("%s: %w", s.path, reconcile.ErrNoStore)
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
	state, err := openState(f.header, f.line, f.rest, key)
	if err != nil {
		return reconcile.State{}, unreadable(f.path, err)
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
	state, err := decode(document)
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
		return nil, fmt.Errorf("%s is not sealed, but a passphrase is given; run `certwright seal`, or take the passphrase out of the spec", f.path)
	case f.header.Seal != nil && s.o.Passphrase == nil:
		return nil, fmt.Errorf("%s is sealed; give its passphrase in the spec (store: passphrase)", f.path)
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
			return fmt.Errorf("store %s: %w", s.path, err)
		}
	}
	return s.commit(ctx, state, key, true)
}

func (s *Store) commit(ctx context.Context, state reconcile.State, key *sealer, reseal bool) error {
	dir, err := s.hold(ctx)
	if err != nil {
		return err
	}
	defer dir.Close()
	f, err := look(dir, s.path)
	if err != nil {
		return err
	}
	base := s.seen
	if f.stamp != "" && f.stamp == s.tried.stamp {
		base = s.tried
	}
	if s.seen = base; f.stamp != base.stamp {
		return fmt.Errorf("store %s has changed since it was read; read it again", s.path)
	}
	if err := s.name(&state, base.header); err != nil {
		return err
	}
	if base.stamp == "" {
		if err := s.prepare(dir); err != nil {
			return err
		}
	}
	if !reseal {
		if key = base.sealer; base.stamp == "" && s.o.Passphrase != nil {
			if key, err = newSealer(s.o.Passphrase, s.costs, s.o.Rand); err != nil {
				return fmt.Errorf("store %s: %w", s.path, err)
			}
		}
	}
	return s.put(dir, state, base.header.Generation+1, key, f.marker)
}

// put makes state the content of the store.
func (s *Store) put(dir *disk.Dir, state reconcile.State, generation uint64, key *sealer, marker header) error {
	h := header{Certwright: kindState, Format: format, Installation: state.Installation, Project: state.Project, Generation: generation}
	file, err := wrap(h, encode(state), key, s.o.Rand)
	if err != nil {
		return fmt.Errorf("store %s: %w", s.path, err)
	}
	s.tried = version{stampOf(file), h, key}
	if err := replace(dir, stateFile, file); err != nil {
		return err
	}
	if marker.Installation != state.Installation {
		if err := mark(dir, state.Installation); err != nil {
			return err
		}
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
			return fmt.Errorf("store %s: random bytes: %w", s.path, err)
		}
		state.Installation = hex.EncodeToString(id)
	}
	if state.Project == "" {
		state.Project = s.o.Project
	}
	if before.Installation != "" && state.Installation != before.Installation {
		return fmt.Errorf("store %s: the state is of another installation", s.path)
	}
	if s.o.Project != "" && state.Project != s.o.Project {
		return fmt.Errorf("store %s: the state is of project %q, not %q", s.path, state.Project, s.o.Project)
	}
	return nil
}
