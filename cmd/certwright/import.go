package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/providers/localca"
	"github.com/certwright/certwright/spec"
)

func (a *app) importCommand() *cobra.Command {
	var passphrases []string
	c := &cobra.Command{
		Use:   "import DIRECTORY...",
		Short: "Print a tls.yaml that takes over CAs and certificates that other tools made",
		Long: "Print a tls.yaml that takes over the CAs and certificates that other tools left in directories: omgwtfssl, certstrap,\n" +
			"easy-rsa, certyaml, mkcert, cfssl and certmgr, or openssl. Nothing there is changed.\n\n" +
			"The CAs sign what comes next, and what is good stays until it is due: the first apply takes it in and issues nothing.\n" +
			"What cannot be taken over is named, with the reason.",
		Example: "  certwright import pki >tls.yaml\n  certwright import --passphrase-file ca.pass ~/.local/share/mkcert certs >tls.yaml",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("import wants a directory: `certwright import DIRECTORY`")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return a.importFrom(args, passphrases) },
	}
	c.Flags().StringArrayVar(&passphrases, "passphrase-file", nil, "the file of a passphrase to open encrypted keys with; may be given several times")
	return c
}

func (a *app) importFrom(dirs, passphrases []string) error {
	var sources []spec.Source
	for _, file := range passphrases {
		src := spec.Source{File: file, Pos: spec.Pos{File: "--passphrase-file"}}
		if _, err := a.secret(src); err != nil {
			return err
		}
		sources = append(sources, src)
	}
	ca := localca.CA{Passphrase: a.secret, Now: a.now}
	found, err := ca.Survey(dirs, sources)
	if err != nil {
		return err
	}
	here, err := filepath.Abs(".")
	if err != nil {
		return err
	}
	d := inherited{project: projectName(filepath.Base(here)), from: dirs, Found: found}
	d.leaveUnspeakable(a.getenv)
	for _, l := range d.Left {
		fmt.Fprintf(a.err, "certwright: not taken over: %s: %s\n", printable(l.File), printable(l.Why))
	}
	if len(d.CAs)+len(d.Identities) == 0 {
		hint := "name the directories that hold the CA's certificate and key (PEM) and what it signed"
		if len(found.Shut) > 0 {
			hint = "give the files of the passphrases of its keys, --passphrase-file FILE for each: some are encrypted, and did not open"
		}
		return hinted{fmt.Errorf("nothing in %s can be taken over", printable(strings.Join(dirs, ", "))), hint}
	}
	text := d.render()
	if _, err := spec.Parse([]spec.Input{{Name: "tls.yaml", Data: text}}, lookup(a.getenv)); err != nil {
		return fmt.Errorf("no tls.yaml can be made of what is there: %w", err)
	}
	_, err = a.out.Write(text)
	return err
}
