package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
)

// A file to be shown has at most this many bytes.
const showMax = 1 << 20

const showReads = "PEM and DER are read; for a keystore, show the identity in it: `certwright show IDENTITY`"

func (a *app) showCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show FILE|IDENTITY|CA",
		Short: "Show certificates in words",
		Long:  "Show certificates in words: those of a file (PEM or DER), of an identity, or of a CA.",
		Args:  one("argument"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ders, err := a.certificates(cmd, args[0])
			if err != nil {
				return err
			}
			for i, der := range ders {
				cert, err := x509.ParseCertificate(der)
				if err != nil {
					return hinted{fmt.Errorf("%s: certificate %d: %w", args[0], i+1, err), showReads}
				}
				if i > 0 {
					fmt.Fprintln(a.out)
				}
				a.show(cert)
			}
			return nil
		},
	}
}

// certificates are those of a file, else of an identity or a CA of the store.
func (a *app) certificates(cmd *cobra.Command, what string) ([][]byte, error) {
	info, err := os.Stat(what)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if err == nil && !info.IsDir() { // a directory of files is often called as the identity in it
		f, err := os.Open(what)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return fromPEM(what, f)
	}
	s, err := a.open(cmd.Context(), false)
	if err != nil {
		return nil, err
	}
	defer s.close()
	st, err := s.store.Load(cmd.Context())
	if err != nil {
		return nil, a.lost(err)
	}
	if i, ok := st.Identities[what]; ok {
		return append([][]byte{i.Certificate}, i.Chain...), nil
	}
	if ca, ok := st.CAs[what]; ok {
		var out [][]byte
		for _, g := range ca.Generations {
			out = append(out, g.Certificate)
		}
		return out, nil
	}
	is := "no file"
	if info != nil {
		is = "a directory"
	}
	return nil, fmt.Errorf("%s is %s, and the store has no identity or CA of that name", what, is)
}

func fromPEM(name string, r io.Reader) ([][]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, showMax+1))
	if err != nil {
		return nil, err
	}
	if len(data) > showMax {
		return nil, fmt.Errorf("%s: larger than %d bytes", name, showMax)
	}
	if bytes.HasPrefix(data, []byte{0x30}) { // a DER SEQUENCE
		return [][]byte{data}, nil
	}
	var out [][]byte
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			out = append(out, block.Bytes)
		}
	}
	if len(out) == 0 {
		return nil, hinted{fmt.Errorf("%s: no certificate in it", name), showReads}
	}
	return out, nil
}

// show prints what a person asks of a certificate.
func (a *app) show(c *x509.Certificate) {
	t := a.table()
	row := func(what, value string) {
		if value != "" {
			t.row(what, printable(value))
		}
	}
	row("subject", dn(c.Subject.String()))
	row("issuer", dn(c.Issuer.String()))
	t.row("serial", hex.EncodeToString(c.SerialNumber.Bytes()))
	t.row("valid", stamp(c.NotBefore)+" to "+stamp(c.NotAfter)+a.validity(c))
	row("names", strings.Join(names(c), ", "))
	t.row("key", keyWords(c)+", signed with "+c.SignatureAlgorithm.String())
	row("usage", strings.Join(usages(c), ", "))
	row("key id", hex.EncodeToString(c.SubjectKeyId))
	row("issuer key id", hex.EncodeToString(c.AuthorityKeyId))
	row("constraints", strings.Join(constraints(c), "; "))
	sum := sha256.Sum256(c.Raw)
	t.row("sha256", hex.EncodeToString(sum[:]))
	t.flush()
}

func dn(s string) string {
	if s == "" {
		return "(empty)"
	}
	return s
}

// printable keeps what a stranger wrote from steering the terminal, and on its line.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

func (a *app) validity(c *x509.Certificate) string {
	switch now := a.now(); {
	case now.After(c.NotAfter):
		return " (expired)"
	case now.Before(c.NotBefore):
		return " (not yet)"
	}
	return ""
}

func names(c *x509.Certificate) []string {
	out := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		out = append(out, ip.String())
	}
	out = append(out, c.EmailAddresses...)
	for _, u := range c.URIs {
		out = append(out, u.String())
	}
	return out
}

func keyWords(c *x509.Certificate) string {
	switch k := c.PublicKey.(type) {
	case *ecdsa.PublicKey:
		return "ECDSA " + k.Curve.Params().Name
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", k.N.BitLen())
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return c.PublicKeyAlgorithm.String()
}

func usages(c *x509.Certificate) []string {
	var out []string
	if c.IsCA {
		out = append(out, "CA")
	}
	for _, u := range c.ExtKeyUsage {
		switch u {
		case x509.ExtKeyUsageServerAuth:
			out = append(out, "server")
		case x509.ExtKeyUsageClientAuth:
			out = append(out, "client")
		default:
			out = append(out, fmt.Sprintf("other (%d)", u))
		}
	}
	return out
}

func constraints(c *x509.Certificate) []string {
	var out []string
	add := func(word string, what []string) {
		if len(what) > 0 {
			out = append(out, word+" "+strings.Join(what, ", "))
		}
	}
	add("permits", c.PermittedDNSDomains)
	add("excludes", c.ExcludedDNSDomains)
	for _, n := range c.PermittedIPRanges {
		out = append(out, "permits "+n.String())
	}
	for _, n := range c.ExcludedIPRanges {
		out = append(out, "excludes "+n.String())
	}
	return out
}
