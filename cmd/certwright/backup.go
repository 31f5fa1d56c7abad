package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/providers/store"
	"github.com/certwright/certwright/spec"
)

// backupEnv holds the passphrase of a backup when the store has none of its own.
const backupEnv = "CERTWRIGHT_BACKUP_PASSPHRASE"

func (a *app) backupCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "backup FILE",
		Short: "Write the store into one encrypted file",
		Long: "Write the store into one encrypted file.\n\nIt is sealed with the store's passphrase, or with " + backupEnv +
			" if that is set.",
		Args: one("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.open(cmd.Context(), false)
			if err != nil {
				return err
			}
			defer s.close()
			passphrase, err := a.backupPassphrase(s.spec.Store)
			if err != nil {
				return err
			}
			f, err := os.OpenFile(args[0], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if errors.Is(err, fs.ErrExist) {
				return hinted{err, "a backup is never overwritten: name another file"}
			}
			if err != nil {
				return err
			}
			err = errors.Join(s.store.Backup(cmd.Context(), f, passphrase), f.Sync(), f.Close())
			if err != nil {
				return a.lost(errors.Join(err, os.Remove(args[0])))
			}
			fmt.Fprintf(a.out, "%s: the store of %s, sealed.\n", args[0], s.spec.Project)
			return nil
		},
	}
}

func (a *app) restoreCommand() *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use:   "restore FILE",
		Short: "Bring the store back from a backup",
		Args:  one("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.load()
			if err != nil {
				return err
			}
			own, err := a.passphrase(s.Store)
			if err != nil {
				return err
			}
			passphrase, err := a.backupPassphrase(s.Store)
			if err != nil {
				return err
			}
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			st, err := a.openStore(cmd.Context(), s, a.engine(s), own, true)
			if err != nil {
				return err
			}
			defer st.Close()
			err = st.Restore(cmd.Context(), f, passphrase, force)
			if errors.Is(err, store.ErrSealed) && a.getenv(backupEnv) == "" {
				return hinted{err, "the store's passphrase was tried; a backup that has one of its own opens with " + backupEnv}
			}
			if err != nil {
				return a.lost(err)
			}
			fmt.Fprintf(a.out, "%s: restored. `certwright plan` shows what has to be placed again.\n", st)
			return nil
		},
	}
	c.Flags().BoolVar(&force, "force", false, "replace a store that is there, also a newer one")
	return c
}

func (a *app) backupPassphrase(s spec.Store) ([]byte, error) {
	if p := a.getenv(backupEnv); p != "" {
		return []byte(p), nil
	}
	p, err := a.passphrase(s)
	if err == nil && p == nil {
		err = hinted{errors.New("a backup is always sealed, and the store has no passphrase"), "set " + backupEnv}
	}
	return p, err
}
