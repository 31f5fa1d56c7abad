package truststore

import (
	"bytes"
	"context"
	"fmt"
	"strings"
)

// bundled is the layout of a container that has bundle files, and no tool that makes them.
const bundled = "bundle"

// bundleFiles are where systems keep their roots as one file of PEM, as crypto/x509 and libraries have them.
var bundleFiles = []string{
	"/etc/ssl/certs/ca-certificates.crt",                // Debian, Alpine, and what is made from them
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // Fedora, RHEL
	"/etc/pki/tls/certs/ca-bundle.crt",                  // older ones
	"/etc/ca-certificates/extracted/tls-ca-bundle.pem",  // Arch
	"/var/lib/ca-certificates/ca-bundle.pem",            // SUSE
	"/etc/ssl/ca-bundle.pem",
	"/etc/ssl/cert.pem", // Alpine
}

// bundles are the bundle files of a container. Those that lead to one file are changed one after the other, and the second
// time there is nothing to do.
type bundles []string

// The lines around what is certwright's in a bundle. The line before it ends there too, so that what it was comes back byte for
// byte.
const (
	begin = "\n# begin certwright: "
	end   = "# end certwright: "
)

func (b bundles) has(ctx context.Context, c Container, roots []root) ([]root, error) {
	for _, file := range b {
		f, err := c.Get(ctx, file)
		if err != nil {
			return nil, err
		}
		var ours []root
		for _, r := range roots { // between its lines, and nowhere else
			if strings.Contains(string(f.Data), r.block()) {
				ours = append(ours, r)
			}
		}
		roots = among(ours, f.Data)
	}
	return roots, nil
}

func (r root) lines() (first, last string) { return begin + r.Name + "\n", end + r.Name + "\n" }

// block is what a root is in a bundle; where its DER is not known, how that begins.
func (r root) block() string {
	first, last := r.lines()
	if r.der == nil {
		return first
	}
	return first + string(encode([]root{r})) + last
}

func (b bundles) change(ctx context.Context, c Container, add, remove []root) error {
	for _, file := range b {
		f, err := c.Get(ctx, file)
		if err != nil {
			return err
		}
		if f.Path == "" {
			if len(add) > 0 {
				return fmt.Errorf("its bundle %s is gone", file)
			}
			continue
		}
		data := f.Data
		for _, r := range remove {
			data = without(data, r)
		}
		for _, r := range add {
			if !bytes.Contains(data, []byte(r.block())) {
				data = append(without(data, r), r.block()...)
			}
		}
		if bytes.Equal(data, f.Data) {
			continue
		}
		f.Data = data
		if err := c.Replace(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// without is a bundle without what is between the lines of a root, and without those. A line whose other is gone stays: it is
// no certificate, and where it ends is not known.
func without(bundle []byte, r root) []byte {
	first, last := r.lines()
	before, after, ended := bytes.Cut(bundle, []byte(last))
	began := bytes.LastIndex(before, []byte(first))
	if !ended || began < 0 {
		return bytes.Clone(bundle)
	}
	return append(bytes.Clone(before[:began]), after...)
}
