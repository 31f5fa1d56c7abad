package localca

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"strings"
)

// What is read is bounded before it is decoded; decoding PEM and opening keys can be made expensive.
const (
	maxCertificateFile = 256 << 10
	maxKeyFile         = 64 << 10 // room for text and certificates around the key
	maxKey             = 13000    // one key of RSA-16384, in DER, with room to spare
	maxRSABits         = 16384    // what OpenSSL verifies at most
)

// file is a file's content with its name, for errors.
type file struct {
	name string
	data []byte
}

// readFile reads a regular file of at most limit bytes.
func readFile(name string, limit int64) (file, error) {
	f, err := os.Open(name)
	if err != nil {
		return file{}, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return file{}, err
	} else if !info.Mode().IsRegular() {
		return file{}, fmt.Errorf("%s is not a regular file", name)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return file{}, err
	}
	if int64(len(data)) > limit {
		return file{}, fmt.Errorf("%s is larger than %d KiB: is it the right file?", name, limit>>10)
	}
	return file{name, data}, nil
}

// readPair reads the file of a certificate and that of its key.
func readPair(certificate, key string) (certFile, keyFile file, err error) {
	if certFile, err = readFile(certificate, maxCertificateFile); err == nil {
		keyFile, err = readFile(key, maxKeyFile)
	}
	return certFile, keyFile, err
}

// blocks decodes all of a file's PEM. A block that does not decode is an error: leaving it out would make
// another certificate the first.
func (f file) blocks() ([]*pem.Block, error) {
	var out []*pem.Block
	data := bytes.TrimPrefix(f.data, []byte("\ufeff")) // as some Windows editors begin a file
	begun := bytes.Count(data, []byte("-----BEGIN "))
	for len(out) < begun {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return nil, fmt.Errorf("%s: PEM block %d of %d is truncated or damaged: copy the file again", f.name, len(out)+1, begun)
		}
		out = append(out, block)
	}
	if begun == 0 && len(f.data) > 0 && f.data[0] == 0x30 { // an ASN.1 SEQUENCE
		return nil, fmt.Errorf("%s is DER, not PEM: convert it with openssl x509 or openssl pkey, -inform der", f.name)
	}
	return out, nil
}

// certificates gives all certificates of a file, in order; there is at least one. Other blocks are left out.
func (f file) certificates() ([]*x509.Certificate, error) {
	blocks, err := f.blocks()
	if err != nil {
		return nil, err
	}
	var certs []*x509.Certificate
	for _, block := range blocks {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := parseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: certificate %d: %w", f.name, len(certs)+1, err)
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, fmt.Errorf("%s holds no certificate (-----BEGIN CERTIFICATE-----)", f.name)
	}
	return certs, nil
}

// parseCertificate is x509.ParseCertificate for certificates whose signatures can be verified in good time.
func parseCertificate(der []byte) (*x509.Certificate, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	if key, ok := cert.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() > maxRSABits {
		return nil, fmt.Errorf("its RSA key has %d bits; no more than %d are supported", key.N.BitLen(), maxRSABits)
	}
	return cert, nil
}

// keyBlock gives the one private key of a file. Other blocks are left out.
func (f file) keyBlock() (*pem.Block, error) {
	blocks, err := f.blocks()
	if err != nil {
		return nil, err
	}
	var key *pem.Block
	for _, block := range blocks {
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			continue
		}
		if key != nil {
			return nil, fmt.Errorf("%s holds more than one key: leave only the right one", f.name)
		}
		key = block
	}
	if key == nil {
		return nil, fmt.Errorf("%s holds no private key", f.name)
	}
	if len(key.Bytes) > maxKey {
		return nil, fmt.Errorf("%s: a key of %d bytes is larger than any that is supported", f.name, len(key.Bytes))
	}
	return key, nil
}
