package mysql

import (
	"crypto/sha1" //nolint:gosec // the protocol's own
	"crypto/sha256"
)

// native proves a password by SHA1(p) XOR SHA1(seed, SHA1(SHA1(p))) ("Native Authentication").
func native(password []byte, seed Seed) []byte {
	if len(password) == 0 {
		return nil
	}
	once := sha1.Sum(password)
	twice := sha1.Sum(once[:])
	mask := sha1.Sum(append(append([]byte{}, seed...), twice[:]...))
	return xor(once[:], mask[:])
}

// caching proves a password by SHA256(p) XOR SHA256(SHA256(SHA256(p)), seed) ("Caching_sha2_password information").
func caching(password []byte, seed Seed) []byte {
	if len(password) == 0 {
		return nil
	}
	once := sha256.Sum256(password)
	twice := sha256.Sum256(once[:])
	mask := sha256.Sum256(append(twice[:], seed...))
	return xor(once[:], mask[:])
}

func xor(a, b []byte) []byte {
	for i := range a {
		a[i] ^= b[i]
	}
	return a
}
