package formats

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"

	"golang.org/x/crypto/cryptobyte"
)

// checkJKS walks over a JKS and returns the number of its entries. The library allocates whatever a length in the
// file says, ignores what follows the file, and panics on a key that is too short to be encrypted; none of that
// may depend on a file someone else can write.
func checkJKS(data []byte) (int, error) {
	const magic, version, keyEntry, trustEntry, digest = 0xfeedfeed, 2, 1, 2, 20
	errDamaged := errors.New("it is no JKS file, or cut off")
	s := cryptobyte.String(data)
	var gotMagic, gotVersion, entries uint32
	if !s.ReadUint32(&gotMagic) || gotMagic != magic || !s.ReadUint32(&gotVersion) || gotVersion != version ||
		!s.ReadUint32(&entries) {
		return 0, errDamaged
	}
	for range entries {
		var tag uint32
		var alias cryptobyte.String
		var created uint64
		if !s.ReadUint32(&tag) || !s.ReadUint16LengthPrefixed(&alias) || !s.ReadUint64(&created) {
			return 0, errDamaged
		}
		certificates := uint32(1)
		switch tag {
		case keyEntry:
			var key []byte
			if !readLong(&s, &key) || !isJKSKey(key) || !s.ReadUint32(&certificates) {
				return 0, errDamaged
			}
		case trustEntry:
		default:
			return 0, errDamaged
		}
		for range certificates {
			var kind cryptobyte.String
			var der []byte
			if !s.ReadUint16LengthPrefixed(&kind) || !readLong(&s, &der) {
				return 0, errDamaged
			}
		}
	}
	if len(s) != digest {
		return 0, errDamaged
	}
	return int(entries), nil
}

// readLong reads bytes behind a length of four bytes.
func readLong(s *cryptobyte.String, out *[]byte) bool {
	var n uint32
	return s.ReadUint32(&n) && uint64(n) <= uint64(len(*s)) && s.ReadBytes(out, int(n))
}

// isJKSKey reports whether an encrypted key has room for its salt and its check, of 20 bytes each.
func isJKSKey(der []byte) bool {
	var key struct {
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}
	rest, err := asn1.Unmarshal(der, &key)
	return err == nil && len(rest) == 0 && len(key.Data) >= 40
}
