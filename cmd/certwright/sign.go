package main

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/spec"
)

// A request to be signed has at most this many bytes.
const requestMax = 64 << 10

func (a *app) signCommand() *cobra.Command {
	var ca, output string
	var usages []string
	lifetime := 30 * 24 * time.Hour
	c := &cobra.Command{
		Use:   "sign --ca NAME FILE.csr",
		Short: "Sign a request that was made elsewhere, so that its key stays there",
		Long: "Sign a request (CSR, PEM) that was made elsewhere, so that its key stays there. `-` reads it from the standard\n" +
			"input. The certificate and what leads to the root are printed.\n\n" +
			"The CA's constraints hold, and names are checked as those of the spec are. What else the request asks for is left\n" +
			"out. certwright does not renew what it signed so.",
		Example: "  certwright sign --ca internal laptop.csr >laptop.pem\n  certwright sign --ca internal --usages client --lifetime 2160h -",
		Args:    one("request"),
		RunE: func(cmd *cobra.Command, args []string) error {
			csr, err := a.request(args[0])
			if err != nil {
				return err
			}
			s, err := a.open(cmd.Context(), true)
			if err != nil {
				return err
			}
			defer s.close()
			by := s.spec.CAByName(ca)
			if by == nil {
				return unknown("CA", ca, caNames(s.spec))
			}
			id, err := s.applier.Authority.Requested(csr)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			for _, u := range usages {
				if id.Usages = append(id.Usages, spec.Usage(u)); u != string(spec.Server) && u != string(spec.Client) {
					return fmt.Errorf("--usages is server, client or both, not %q", u)
				}
			}
			id.Name, id.CA, id.Lifetime = args[0], spec.Ref{Name: ca}, lifetime
			chain, err := s.applier.Certify(cmd.Context(), *by, id, csr)
			if err != nil {
				return fmt.Errorf("CA %s does not sign %s: %w", ca, args[0], err)
			}
			return a.printed(output, chain)
		},
	}
	f := c.Flags()
	f.StringVar(&ca, "ca", "", "the CA of the spec that signs")
	f.StringVarP(&output, "output", "o", "", "write the chain to this file, which must not be there yet")
	f.StringSliceVar(&usages, "usages", []string{string(spec.Server)}, "server, client or both")
	f.DurationVar(&lifetime, "lifetime", lifetime, "how long the certificate lives")
	_ = c.MarkFlagRequired("ca") // an error says that there is no such flag
	return c
}

// request is the DER of the one request in a file.
func (a *app) request(name string) ([]byte, error) {
	in := a.in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, requestMax))
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(data)
	// Old tools write NEW CERTIFICATE REQUEST (RFC 7468 section 7).
	if block == nil || !slices.Contains([]string{"CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"}, block.Type) {
		return nil, hinted{fmt.Errorf("%s holds no request (-----BEGIN CERTIFICATE REQUEST-----)", name), "`openssl req -new -key KEY -subj /CN=NAME -addext subjectAltName=DNS:NAME` makes one"}
	}
	if more, _ := pem.Decode(rest); more != nil {
		return nil, fmt.Errorf("%s holds more than one request", name)
	}
	return block.Bytes, nil
}

// printed writes a chain as PEM.
func (a *app) printed(output string, chain [][]byte) (err error) {
	out := a.out
	if output != "" {
		f, err := os.OpenFile(output, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		out = f
	}
	for _, der := range chain {
		if err := pem.Encode(out, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
			return err
		}
	}
	return nil
}

func caNames(s *spec.Spec) (names []string) {
	for _, c := range s.CAs {
		names = append(names, c.Name)
	}
	return names
}
