package formats

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/crypto/x509roots/fallback/bundle"

	"github.com/certwright/certwright/spec"
)

// PublicVersion is the version of golang.org/x/crypto/x509roots/fallback that the roots of spec.PublicRoots are: its time is that of
// Mozilla's list.
const PublicVersion = "v0.0.0-20261030153154-30a33513ff6d"

// bundleFiles is where systems keep their trust as one file of PEM; the first that exists is read, as crypto/x509
// does.
func bundleFiles() []string {
	return []string{
		"/etc/ssl/certs/ca-certificates.crt",                // Debian, Ubuntu, Gentoo
		"/etc/pki/tls/certs/ca-bundle.crt",                  // Fedora, RHEL 6
		"/etc/ssl/ca-bundle.pem",                            // openSUSE
		"/etc/pki/tls/cacert.pem",                           // OpenELEC
		"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // RHEL 7 and later
		"/etc/ssl/cert.pem",                                 // Alpine, macOS, the BSDs
	}
}

// Roots returns the certificates a reserved CA name stands for, as DER, sorted and without doubles.
//
// spec.PublicRoots are Mozilla's roots as of the version of golang.org/x/crypto/x509roots in go.mod, without those
// Mozilla trusts only for certificates from before a date: a file cannot carry that condition. spec.SystemRoots
// are those of the host's own bundle file.
func Roots(name string) ([][]byte, error) {
	switch name {
	case spec.PublicRoots:
		return publicRoots(), nil
	case spec.SystemRoots:
		return systemRoots(bundleFiles())
	}
	return nil, fmt.Errorf("there are no roots named %q; write %q or %q", name, spec.PublicRoots, spec.SystemRoots)
}

func publicRoots() [][]byte {
	var roots [][]byte
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			roots = append(roots, bytes.Clone(root.Certificate))
		}
	}
	return sortedSet(roots)
}

func systemRoots(files []string) ([][]byte, error) {
	for _, name := range files {
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("roots of this host: %w", err)
		}
		data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
		_ = f.Close()
		switch {
		case err != nil:
			return nil, fmt.Errorf("roots of this host: %w", err)
		case len(data) > maxFile:
			return nil, fmt.Errorf("roots of this host: %s has more than %d bytes", name, maxFile)
		}
		roots := certificatesIn(data)
		if len(roots) == 0 {
			return nil, fmt.Errorf("roots of this host: %s holds no certificate", name)
		}
		return sortedSet(roots), nil
	}
	return nil, errors.New("roots of this host: no bundle file in any known place; install ca-certificates")
}

// certificatesIn finds the certificates in a bundle. Unlike in files of ours, text of any kind stands between them.
func certificatesIn(data []byte) [][]byte {
	var certificates [][]byte
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return certificates
		}
		if block.Type == certificateLabel && isCertificate(block.Bytes) {
			certificates = append(certificates, block.Bytes)
		}
	}
}

func sortedSet(ders [][]byte) [][]byte {
	slices.SortFunc(ders, bytes.Compare)
	return slices.CompactFunc(ders, bytes.Equal)
}
