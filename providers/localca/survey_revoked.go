package localca

import (
	"crypto/x509"
	"math/big"
	"strings"
)

// readRevocations notes what CAs have taken back, by their lists and by the index of `openssl ca`, which easy-rsa has too.
func (s *survey) readRevocations() {
	for _, list := range s.lists {
		for _, ca := range s.certs {
			if ca.IsCA && list.CheckSignatureFrom(ca.Certificate) == nil {
				for _, r := range list.RevokedCertificateEntries {
					s.revoked[revokedKey(ca.RawSubject, r.SerialNumber)] = true
				}
			}
		}
	}
	for _, index := range s.indexes {
		for line := range strings.Lines(string(index.data)) {
			// Status, end, time of revocation, serial, file, subject (openssl-ca(1)).
			fields := strings.Split(strings.TrimRight(line, "\r\n"), "\t")
			if len(fields) < 6 || fields[0] != "R" {
				continue
			}
			_, cn, _ := strings.Cut(fields[5], "/CN=")
			cn, _, _ = strings.Cut(cn, "/")
			if serial, ok := new(big.Int).SetString(fields[3], 16); ok {
				s.revoked[indexKey(cn, serial)] = true
			}
		}
	}
}

// revokedKey stands for a serial of an issuer.
func revokedKey(issuer []byte, serial *big.Int) string { return string(issuer) + "/" + serial.Text(16) }

// indexKey stands for a serial of a subject: an index does not name its CA, and many begin with the same serial.
func indexKey(commonName string, serial *big.Int) string {
	return "index/" + commonName + "/" + serial.Text(16)
}

func (s *survey) isRevoked(cert *x509.Certificate) bool {
	return s.revoked[revokedKey(cert.RawIssuer, cert.SerialNumber)] || s.revoked[indexKey(cert.Subject.CommonName, cert.SerialNumber)]
}
