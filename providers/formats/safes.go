package formats

import (
	"encoding/asn1"
	"errors"
	"strings"
	"unicode/utf16"

	"golang.org/x/crypto/cryptobyte"
	asn "golang.org/x/crypto/cryptobyte/asn1"
)

var (
	oidFriendlyName = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 20}
	oidX509         = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 22, 1}
	// Java holds a certificate for trusted that has this attribute, and that for any use.
	oidTrustedUse = asn1.ObjectIdentifier{2, 16, 840, 1, 113894, 746875, 1, 1}
	oidAnyUse     = asn1.ObjectIdentifier{2, 5, 29, 37, 0}
)

// bag is one entry of a PKCS#12 file that has no password (RFC 7292 section 4.2), as it stands there.
type bag struct {
	raw         []byte
	alias       string // in lower case
	certificate []byte // DER; nil of what is something else
}

var (
	errNoSafes = errors.New("it is neither a JKS nor a PKCS#12 file, or it is damaged")
	errSealed  = errors.New("it is PKCS#12 with a password, where a JVM comes with one without: make it one again (`keytool -importkeystore` with -Dkeystore.pkcs12.macAlgorithm=NONE and -Dkeystore.pkcs12.certProtectionAlgorithm=NONE), or give the JVM a truststore in a volume")
)

// readSafes reads the bags of each of the safes of a PKCS#12 file without a password.
func readSafes(data []byte) ([][]bag, error) {
	file, outer, rest := cryptobyte.String(data), cryptobyte.String(nil), cryptobyte.String(nil)
	var version int
	if !file.ReadASN1(&outer, asn.SEQUENCE) || !file.Empty() || !outer.ReadASN1Integer(&version) || version != 3 {
		return nil, errNoSafes
	}
	held, err := readData(&outer)
	if err != nil {
		return nil, err
	}
	if !outer.Empty() { // a MAC, which nobody can make anew without the password
		return nil, errSealed
	}
	if !held.ReadASN1(&rest, asn.SEQUENCE) || !held.Empty() {
		return nil, errNoSafes
	}
	var safes [][]bag
	for !rest.Empty() {
		contents, err := readData(&rest)
		if err != nil {
			return nil, err
		}
		var list cryptobyte.String
		if !contents.ReadASN1(&list, asn.SEQUENCE) || !contents.Empty() {
			return nil, errNoSafes
		}
		var bags []bag
		for !list.Empty() {
			var raw cryptobyte.String
			if !list.ReadASN1Element(&raw, asn.SEQUENCE) {
				return nil, errNoSafes
			}
			b, ok := readBag(raw)
			if !ok {
				return nil, errNoSafes
			}
			bags = append(bags, b)
		}
		safes = append(safes, bags)
	}
	return safes, nil
}

// readData reads a ContentInfo of plain data.
func readData(s *cryptobyte.String) (cryptobyte.String, error) {
	var info, explicit, octets cryptobyte.String
	var kind asn1.ObjectIdentifier
	if !s.ReadASN1(&info, asn.SEQUENCE) || !info.ReadASN1ObjectIdentifier(&kind) {
		return nil, errNoSafes
	}
	if kind.Equal(oidEncryptedData) {
		return nil, errSealed
	}
	if !kind.Equal(oidData) || !info.ReadASN1(&explicit, asn.Tag(0).ContextSpecific().Constructed()) || !info.Empty() || !explicit.ReadASN1(&octets, asn.OCTET_STRING) || !explicit.Empty() {
		return nil, errNoSafes
	}
	return octets, nil
}

func readBag(raw cryptobyte.String) (bag, bool) {
	b := bag{raw: raw}
	var inside, value, attributes cryptobyte.String
	var kind asn1.ObjectIdentifier
	if !raw.ReadASN1(&inside, asn.SEQUENCE) || !inside.ReadASN1ObjectIdentifier(&kind) || !inside.ReadASN1(&value, asn.Tag(0).ContextSpecific().Constructed()) {
		return b, false
	}
	if kind.Equal(oidCertificate) && !readCertificate(value, &b) {
		return b, false
	}
	if inside.Empty() {
		return b, true
	}
	if !inside.ReadASN1(&attributes, asn.SET) || !inside.Empty() {
		return b, false
	}
	for !attributes.Empty() {
		var one, values, name cryptobyte.String
		var id asn1.ObjectIdentifier
		if !attributes.ReadASN1(&one, asn.SEQUENCE) || !one.ReadASN1ObjectIdentifier(&id) || !one.ReadASN1(&values, asn.SET) {
			return b, false
		}
		if id.Equal(oidFriendlyName) && values.ReadASN1(&name, asn.Tag(30)) { // BMPString
			b.alias = strings.ToLower(fromBMP(name))
		}
	}
	return b, true
}

// readCertificate reads a CertBag; one that is not of X.509 is left as it is.
func readCertificate(value cryptobyte.String, b *bag) bool {
	var inside, explicit, der cryptobyte.String
	var kind asn1.ObjectIdentifier
	if !value.ReadASN1(&inside, asn.SEQUENCE) || !inside.ReadASN1ObjectIdentifier(&kind) {
		return false
	}
	if !kind.Equal(oidX509) {
		return true
	}
	if !inside.ReadASN1(&explicit, asn.Tag(0).ContextSpecific().Constructed()) || !explicit.ReadASN1(&der, asn.OCTET_STRING) {
		return false
	}
	b.certificate = der
	return true
}

func fromBMP(s []byte) string {
	units := make([]uint16, len(s)/2)
	for i := range units {
		units[i] = uint16(s[2*i])<<8 | uint16(s[2*i+1])
	}
	return string(utf16.Decode(units))
}

// trustedBag is the bag of a certificate that Java trusts.
func trustedBag(alias string, der []byte) (bag, error) {
	var b cryptobyte.Builder
	b.AddASN1(asn.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oidCertificate)
		b.AddASN1(asn.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
			b.AddASN1(asn.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(oidX509)
				b.AddASN1(asn.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) { b.AddASN1OctetString(der) })
			})
		})
		b.AddASN1(asn.SET, func(b *cryptobyte.Builder) {
			attribute := func(id asn1.ObjectIdentifier, value func(*cryptobyte.Builder)) {
				b.AddASN1(asn.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1ObjectIdentifier(id)
					b.AddASN1(asn.SET, value)
				})
			}
			attribute(oidFriendlyName, func(b *cryptobyte.Builder) {
				b.AddASN1(asn.Tag(30), func(b *cryptobyte.Builder) {
					for _, unit := range utf16.Encode([]rune(alias)) {
						b.AddUint16(unit)
					}
				})
			})
			attribute(oidTrustedUse, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oidAnyUse) })
		})
	})
	raw, err := b.Bytes()
	return bag{raw: raw, alias: alias, certificate: der}, err
}

func writeSafes(safes [][]bag) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(asn.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(3)
		addData(b, func(b *cryptobyte.Builder) {
			for _, bags := range safes {
				addData(b, func(b *cryptobyte.Builder) {
					for _, one := range bags {
						b.AddBytes(one.raw)
					}
				})
			}
		})
	})
	return b.Bytes()
}

// addData writes a ContentInfo of data that is a sequence.
func addData(b *cryptobyte.Builder, inside func(*cryptobyte.Builder)) {
	b.AddASN1(asn.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oidData)
		b.AddASN1(asn.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
			b.AddASN1(asn.OCTET_STRING, func(b *cryptobyte.Builder) { b.AddASN1(asn.SEQUENCE, inside) })
		})
	})
}
