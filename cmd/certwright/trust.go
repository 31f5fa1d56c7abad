package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/providers/disk"
	"github.com/certwright/certwright/providers/formats"
	"github.com/certwright/certwright/providers/web"
	"github.com/certwright/certwright/spec"
)

func (a *app) trustCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "trust",
		Short: "Take a trust bundle from a watch",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.trustFetchCommand())
	return c
}

func (a *app) trustFetchCommand() *cobra.Command {
	var print, output string
	c := &cobra.Command{
		Use:   "fetch URL --fingerprint SHA256",
		Short: "Take the roots of a CA from a watch, if they are those that are pinned",
		Long: "Take the roots of a CA from a `watch --listen`, if their SHA-256 is the one that is pinned, and they are nothing but CA\n" +
			"certificates (PEM). Else nothing is written.\n\n" +
			"The fingerprint is the only proof: also over https the server's certificate is not looked at. So it has to come another\n" +
			"way than the roots.",
		Example: "  certwright trust fetch http://10.0.0.5:9320/trust/internal.pem --fingerprint 9f86d081…0f00a08 -o ca.pem",
		Args:    one("URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			pinned, err := fingerprint(print)
			if err != nil {
				return err
			}
			bundle, err := web.Fetch(cmd.Context(), args[0], pinned, a.logged())
			if errors.Is(err, web.ErrFingerprint) {
				return hinted{err, "ask who keeps that watch for the fingerprint, and by another way: a CA that has another root has another one"}
			}
			if err != nil {
				return err
			}
			if err := onlyCAs(bundle); err != nil {
				return fmt.Errorf("it has the fingerprint that is pinned, and is no trust bundle: %w", err)
			}
			if output == "" {
				_, err := a.out.Write(bundle)
				return err
			}
			return a.keepBundle(output, bundle)
		},
	}
	f := c.Flags()
	f.StringVar(&print, "fingerprint", "", "the SHA-256 of the bundle: 64 hex digits, with or without colons")
	f.StringVarP(&output, "output", "o", "", "write the bundle to this file; one that is there must be a trust bundle, too")
	_ = c.MarkFlagRequired("fingerprint") // an error says that there is no such flag
	return c
}

// fingerprint reads a SHA-256 as people write them.
func fingerprint(text string) (sum [sha256.Size]byte, err error) {
	data, err := hex.DecodeString(strings.ReplaceAll(text, ":", ""))
	if err != nil || len(data) != len(sum) {
		return sum, errors.New("--fingerprint is the 64 hex digits of a SHA-256, with or without colons")
	}
	return [sha256.Size]byte(data), nil
}

// onlyCAs says why data is no trust bundle, or nil.
func onlyCAs(data []byte) error {
	held, err := formats.Formats{}.Decode(spec.ContentCA, data, "")
	if err != nil {
		return err
	}
	for i, der := range held.Certificates {
		cert, err := x509.ParseCertificate(der)
		if err == nil && !cert.IsCA {
			err = errors.New("it is none of a CA")
		}
		if err != nil {
			return fmt.Errorf("certificate %d: %w", i+1, err)
		}
	}
	return nil
}

// keepBundle makes a bundle the content of a file. What is there already is left if it is the same, and replaced in one step if it
// is another bundle.
func (a *app) keepBundle(path string, bundle []byte) error {
	dir, err := disk.Disk{Around: a.logged()}.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	name := filepath.Base(path)
	was, _, err := dir.Read(name, web.MaxBundle)
	there := !errors.Is(err, fs.ErrNotExist)
	if err == nil {
		err = onlyCAs(was)
	}
	switch {
	case there && err != nil:
		return hinted{fmt.Errorf("%s is there, and cannot be taken for a trust bundle: %w", path, err), "name another file, or take it away"}
	case there && bytes.Equal(was, bundle):
		fmt.Fprintf(a.out, "%s: unchanged.\n", path)
		return nil
	}
	if err := dir.Write(name, "."+name+"."+rand.Text(), bundle, 0o644); err != nil {
		return err
	}
	fmt.Fprintf(a.out, "%s: written.\n", path)
	return nil
}
