package localca

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/certwright/certwright/spec"
)

// A directory with more files than this is not one of certificates alone.
const maxSurveyed = 20_000

// read takes in what the files of a directory hold, in the order of their names.
func (s *survey) read(dir string) error {
	if info, err := os.Stat(dir); err != nil {
		return err
	} else if !info.IsDir() {
		return fmt.Errorf("%s is not a directory", dir)
	}
	seen := 0
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrPermission) && path != dir:
			s.left(path, "it cannot be read by this user")
			return nil
		case err != nil:
			return err
		case entry.IsDir() && entry.Name() == ".git":
			return filepath.SkipDir
		case entry.IsDir():
			return nil
		}
		if seen++; seen > maxSurveyed {
			return fmt.Errorf("%s holds more than %d files: name the directory of the certificates", dir, maxSurveyed)
		}
		// A link counts as what it leads to: certificates of today are often links.
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() || info.Size() > maxCertificateFile {
			return nil
		}
		f, err := readFile(path, maxCertificateFile)
		if errors.Is(err, fs.ErrPermission) {
			s.left(path, "it cannot be read by this user")
			return nil
		}
		if err != nil {
			return err
		}
		s.readFile(f)
		return nil
	})
}

// Files that hold certificates or keys in another form, by how their names end, and what makes PEM of them.
var otherForms = map[string]string{
	".p12": "openssl pkcs12 -nodes", ".pfx": "openssl pkcs12 -nodes", ".jks": "keytool -importkeystore, then openssl pkcs12 -nodes",
}

func (s *survey) readFile(f file) {
	ext := strings.ToLower(filepath.Ext(f.name))
	switch {
	case otherForms[ext] != "":
		s.left(f.name, "a keystore is not read: "+otherForms[ext]+" makes PEM of it")
		return
	case strings.HasPrefix(filepath.Base(f.name), "index.txt") && ext == ".txt":
		s.indexes = append(s.indexes, f)
		return
	case slices.Contains([]string{".crt", ".cer", ".der", ".key", ".pem"}, ext) && bytes.HasPrefix(f.data, []byte{0x30}):
		_, err := f.blocks()
		s.left(f.name, reasonOf(f, err))
		return
	case !bytes.Contains(f.data, []byte("-----BEGIN ")):
		return
	case bytes.HasPrefix(bytes.TrimSpace(f.data), []byte("{")):
		s.left(f.name, "JSON is not read: cfssljson -bare makes files of it")
		return
	}
	blocks, err := f.blocks()
	if err != nil {
		s.left(f.name, reasonOf(f, err))
		return
	}
	has := func(end string) bool {
		for _, b := range blocks {
			if strings.HasSuffix(b.Type, end) {
				return true
			}
		}
		return false
	}
	if has("PRIVATE KEY") {
		s.readKey(f)
	}
	if has("CERTIFICATE") {
		s.readCertificate(f)
	}
	for _, b := range blocks {
		if b.Type == "X509 CRL" {
			if list, err := x509.ParseRevocationList(b.Bytes); err != nil {
				s.left(f.name, err.Error())
			} else {
				s.lists = append(s.lists, foundList{list, f.name})
			}
		}
	}
}

// reasonOf is what an error says, without the name of the file that it begins with.
func reasonOf(f file, err error) string {
	return strings.TrimLeft(strings.TrimPrefix(err.Error(), f.name), ": ")
}

func (s *survey) readCertificate(f file) {
	certs, err := f.certificates()
	if err != nil {
		s.left(f.name, reasonOf(f, err))
		return
	}
	s.certs = append(s.certs, foundCert{certs[0], f.name})
}

// readKey opens a key, with one of the passphrases where it is encrypted.
func (s *survey) readKey(f file) {
	encrypted := false
	key, err := f.key(func() ([]byte, error) {
		encrypted = true
		return nil, errors.New("it is encrypted: give the file of its passphrase with --passphrase-file")
	})
	var opener *spec.Source
	for i := range s.passphrases {
		if err == nil || !encrypted || s.ca.Passphrase == nil {
			break
		}
		opener = &s.passphrases[i]
		key, err = f.key(func() ([]byte, error) { return s.ca.Passphrase(*opener) })
	}
	if err != nil && encrypted {
		s.found.Shut = append(s.found.Shut, f.name)
	}
	if err != nil {
		s.left(f.name, reasonOf(f, err))
		return
	}
	public := publicText(key.Public())
	s.keys[public] = append(s.keys[public], foundKey{f.name, opener})
}
