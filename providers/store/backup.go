package store

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/certwright/certwright/providers/disk"
	"github.com/certwright/certwright/reconcile"
)

// Backup writes the state as one file, always sealed, that Restore takes. The passphrase is the file's own and may
// differ from the store's.
func (s *Store) Backup(ctx context.Context, w io.Writer, passphrase []byte) error {
	if len(passphrase) == 0 {
		return errors.New("a backup holds every key, so it needs a passphrase")
	}
	state, err := s.Load(ctx)
	if err != nil {
		return err
	}
	key, err := newSealer(passphrase, s.costs, s.o.Rand)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	h := s.seen.header
	h.Certwright, h.Format, h.Parts, h.Before = kindBackup, format, 0, nil
	file, err := wrap(h, encode(state), key, s.o.Rand)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if _, err := w.Write(file); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return nil
}

// Restore makes the store hold what a backup holds: the same installation and content. The passphrase is the backup's.
// A state that is there is replaced only with force; one that was lost from the same store is brought back without.
func (s *Store) Restore(ctx context.Context, backup io.Reader, passphrase []byte, force bool) error {
	h, state, err := openBackup(backup, passphrase)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if err := s.name(&state, header{}); err != nil {
		return err
	}
	return s.restore(ctx, h, state, force)
}

// openBackup reads a whole backup, proves it, and gives the state it holds.
func openBackup(r io.Reader, passphrase []byte) (header, reconcile.State, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxHeader+maxDocument+1))
	if err != nil {
		return header{}, reconcile.State{}, err
	}
	if len(data) > maxHeader+maxDocument {
		return header{}, reconcile.State{}, disk.ErrTooLarge
	}
	h, line, rest, err := parseHeader(data, kindBackup)
	if err != nil {
		return header{}, reconcile.State{}, err
	}
	if h.Seal == nil || h.Installation == "" {
		return header{}, reconcile.State{}, errHeader
	}
	key, err := openerOf(h.Seal, passphrase)
	if err != nil {
		return header{}, reconcile.State{}, err
	}
	state, err := openState(h, line, rest, key)
	if errors.Is(err, ErrSealed) {
		err = fmt.Errorf("%w: it is another one, or the file is damaged", err)
	}
	return h, state, err
}

func (s *Store) restore(ctx context.Context, h header, state reconcile.State, force bool) error {
	if err := s.hold(ctx); err != nil {
		return err
	}
	f, err := s.at.look(ctx)
	if err := s.mayReplace(f, err, h, force); err != nil {
		return err
	}
	key, err := s.newKey()
	if err != nil {
		return err
	}
	if err := s.at.yield(&f, h.Installation); err != nil {
		return err
	}
	// A writer that was stopped before the store was lost must not come after what was restored.
	const leap = 1000
	return s.put(ctx, f, state, max(h.Generation, f.header.Generation)+leap, key)
}

// mayReplace is nil if a restore may replace what look found. Force does not help against what is no store, what
// others can read, and what a newer version wrote.
func (s *Store) mayReplace(f found, err error, backup header, force bool) error {
	var wrong fault
	switch {
	case err != nil && !errors.As(err, &wrong):
		return err
	case force:
		return nil
	case errors.Is(err, errLost) && (f.marker.Installation == "" || f.marker.Installation == backup.Installation):
		return nil
	case errors.Is(err, errLost):
		return fmt.Errorf("the store that %s was lost from is another one than the backup's; --force puts the backup in its place", f.path)
	case err != nil:
		return fmt.Errorf("%s cannot be used: %w; --force puts the backup in its place", wrong.path, wrong.err)
	case f.stamp == "":
		return nil
	case f.header.Installation != backup.Installation:
		return fmt.Errorf("%s is there and of another installation than the backup; --force puts the backup in its place, and its CAs and keys are then lost", f.path)
	case f.header.Generation > backup.Generation:
		return fmt.Errorf("%s is newer (generation %d) than the backup (generation %d); --force puts the backup in its place, and what was issued since is then forgotten",
			f.path, f.header.Generation, backup.Generation)
	}
	return fmt.Errorf("%s is there already (generation %d, the backup has %d); --force puts the backup in its place", f.path, f.header.Generation, backup.Generation)
}
