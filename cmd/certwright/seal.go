package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/providers/store"
)

// oldPassphraseEnv holds the passphrase a store is sealed with until now.
const oldPassphraseEnv = "CERTWRIGHT_OLD_PASSPHRASE"

func (a *app) sealCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "seal",
		Short: "Seal the store with the passphrase of the spec",
		Long: "Seal the store with the passphrase of the spec.\n\nA store that is sealed already is opened with " + oldPassphraseEnv +
			".\nUntil the change is whole the old passphrase opens it, from then on the new one.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.load()
			if err != nil {
				return err
			}
			passphrase, err := a.passphrase(s.Store)
			if err != nil {
				return err
			}
			if passphrase == nil {
				return hinted{errors.New("the spec has no passphrase to seal the store with"), "add `passphrase` to `store`"}
			}
			var old []byte
			if p := a.getenv(oldPassphraseEnv); p != "" {
				old = []byte(p)
			}
			st, err := a.openStore(cmd.Context(), s, a.engine(s), old, true)
			if err != nil {
				return err
			}
			defer st.Close()
			if _, err := st.Load(cmd.Context()); err != nil {
				if other := store.ErrPassphrase(""); !errors.Is(err, store.ErrSealed) && !errors.As(err, &other) {
					return a.lost(err)
				}
				tried := ", which was tried"
				if old == nil {
					tried = ", which is not set"
				}
				return hinted{err, "a store that is sealed already is opened with the passphrase in " + oldPassphraseEnv + tried}
			}
			if err := st.Reseal(cmd.Context(), passphrase); err != nil {
				return a.lost(err)
			}
			fmt.Fprintf(a.out, "%s: sealed.\n", st)
			return nil
		},
	}
}
