package store

import (
	"bytes"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/chacha20poly1305"
)

// costs are the parameters of Argon2id (RFC 9106 section 3.1).
type costs struct {
	Time    uint32 `json:"time"`   // passes
	Memory  uint32 `json:"memory"` // KiB
	Threads uint8  `json:"threads"`
}

// recommended is the second recommended option of RFC 9106 section 4.
func recommended() costs { return costs{Time: 3, Memory: 64 << 10, Threads: 4} }

// check bounds what a header may make this process spend: no more than one that this version writes.
func (c costs) check() error {
	most := recommended()
	if c.Time < 1 || c.Time > most.Time || c.Threads < 1 || c.Threads > most.Threads ||
		c.Memory < 8*uint32(c.Threads) || c.Memory > most.Memory {
		return fmt.Errorf("its key derivation costs (%d passes, %d KiB, %d threads) are out of bounds", c.Time, c.Memory, c.Threads)
	}
	return nil
}

const saltSize = 16

// seal is the part of a header that says how to open what follows it.
type seal struct {
	KDF    string `json:"kdf"`
	Salt   []byte `json:"salt"`
	Cipher string `json:"cipher"`
	Nonce  []byte `json:"nonce"`
	costs
}

const (
	kdfName    = "argon2id"
	cipherName = "xchacha20poly1305"
)

// sealer seals and opens with the key of one passphrase and salt. A nil sealer stands for no passphrase.
type sealer struct {
	salt  []byte
	costs costs
	aead  cipher.AEAD
}

// newSealer derives a key with a fresh salt.
func newSealer(passphrase []byte, c costs, rand io.Reader) (*sealer, error) {
	salt := make([]byte, saltSize)
	if _, err := io.ReadFull(rand, salt); err != nil {
		return nil, fmt.Errorf("random bytes: %w", err)
	}
	return deriveSealer(passphrase, c, salt)
}

func deriveSealer(passphrase []byte, c costs, salt []byte) (*sealer, error) {
	if len(passphrase) == 0 {
		return nil, errors.New("the passphrase is empty")
	}
	aead, err := chacha20poly1305.NewX(argon2.IDKey(passphrase, salt, c.Time, c.Memory, c.Threads, chacha20poly1305.KeySize))
	if err != nil {
		return nil, err
	}
	return &sealer{salt: salt, costs: c, aead: aead}, nil
}

// openerOf derives the key that a header asks for, within bounds.
func openerOf(h *seal, passphrase []byte) (*sealer, error) {
	if h.KDF != kdfName || h.Cipher != cipherName || len(h.Salt) != saltSize || len(h.Nonce) != chacha20poly1305.NonceSizeX {
		return nil, errHeader
	}
	if err := h.costs.check(); err != nil {
		return nil, err
	}
	return deriveSealer(passphrase, h.costs, h.Salt)
}

// made reports whether s has the key that a header asks for.
func (s *sealer) made(h *seal) bool {
	return s != nil && h != nil && h.KDF == kdfName && h.Cipher == cipherName && h.costs == s.costs && bytes.Equal(h.Salt, s.salt)
}

// wrap gives the bytes of a file: the header's line, then the document, sealed with the line as associated data or,
// without a sealer, behind the SHA-256 of both.
func wrap(h header, document []byte, s *sealer, rand io.Reader) ([]byte, error) {
	if len(document) > maxDocument {
		return nil, fmt.Errorf("the state has %d bytes, at most %d are possible", len(document), maxDocument)
	}
	if s != nil {
		nonce := make([]byte, chacha20poly1305.NonceSizeX)
		if _, err := io.ReadFull(rand, nonce); err != nil {
			return nil, fmt.Errorf("random bytes: %w", err)
		}
		h.Seal = &seal{KDF: kdfName, Salt: s.salt, Cipher: cipherName, Nonce: nonce, costs: s.costs}
	}
	head, err := h.line()
	if err != nil {
		return nil, err
	}
	file := make([]byte, len(head), len(head)+sha256.Size+len(document))
	copy(file, head)
	if s != nil {
		return s.aead.Seal(file, h.Seal.Nonce, document, head), nil
	}
	file = append(file, checksum(head, document)...)
	return append(file, document...), nil
}

// unwrap gives the document of a file, proved together with the header's line.
func unwrap(h header, line, rest []byte, s *sealer) ([]byte, error) {
	if h.Seal == nil {
		if len(rest) < sha256.Size {
			return nil, errChecksum
		}
		document := rest[sha256.Size:]
		if subtle.ConstantTimeCompare(rest[:sha256.Size], checksum(line, document)) == 0 {
			return nil, errChecksum
		}
		return document, nil
	}
	if len(h.Seal.Nonce) != chacha20poly1305.NonceSizeX {
		return nil, errHeader
	}
	document, err := s.aead.Open(nil, h.Seal.Nonce, rest, line)
	if err != nil {
		return nil, ErrSealed
	}
	return document, nil
}

func checksum(line, document []byte) []byte {
	hash := sha256.New()
	hash.Write(line)
	hash.Write(document)
	return hash.Sum(nil)
}
