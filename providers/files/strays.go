package files

import (
	"crypto/x509"
	"encoding/pem"
	"path"
	"slices"
	"strings"

	"github.com/certwright/certwright/reconcile"
)

const (
	maxStrays       = 32        // files of one place that are read
	maxStray        = 256 << 10 // of a file: a bundle of all public roots has 220 kB
	maxCertificates = 200       // of a file
)

// strays reads the certificates in files that stand in the place beside those of a unit. No link is followed, and nothing but
// certificates is kept: a key may stand in the same file. What cannot be looked at is left out, as it says nothing of the unit.
func (p *place) strays(unit []string) (found []reconcile.Stray) {
	names, err := p.dir.Names()
	if err != nil {
		return nil
	}
	read := 0
	for _, name := range names {
		if strings.HasPrefix(name, ".") || slices.Contains(unit, name) || !holdsCertificates(name) {
			continue
		}
		if e, err := p.at(name); err != nil || e.ours || e.kind != reconcile.KindFile {
			continue
		}
		if read++; read > maxStrays {
			break
		}
		data, _, err := p.dir.Read(name, maxStray)
		if err != nil {
			continue
		}
		if all := certificatesIn(data); len(all) > 0 {
			found = append(found, reconcile.Stray{Name: name, Certificates: all})
		}
	}
	return found
}

// holdsCertificates reports whether a name is one that files of certificates have.
func holdsCertificates(name string) bool {
	return slices.Contains([]string{".pem", ".crt", ".cer", ".cert", ".der"}, strings.ToLower(path.Ext(name)))
}

func certificatesIn(data []byte) (all [][]byte) {
	if c, err := x509.ParseCertificate(data); err == nil {
		return [][]byte{c.Raw}
	}
	for len(all) < maxCertificates {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			all = append(all, c.Raw)
		}
	}
	return all
}
