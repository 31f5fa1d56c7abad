package localca

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"unicode/utf8"

	"github.com/certwright/certwright/spec"
)

// maxCommonName is ub-common-name of RFC 5280 appendix A.1, in characters.
const maxCommonName = 64

// encodeSubject gives the DER of a distinguished name in the order openssl and most people write it: country
// first, common name last. pkix.Name has another one. The bounds are those of RFC 5280 appendix A.1.
func encodeSubject(s spec.Subject) ([]byte, error) {
	attributes := []struct {
		name  string
		oid   asn1.ObjectIdentifier
		value string
		max   int
	}{
		{"country", asn1.ObjectIdentifier{2, 5, 4, 6}, s.Country, 2},
		{"province", asn1.ObjectIdentifier{2, 5, 4, 8}, s.Province, 128},
		{"locality", asn1.ObjectIdentifier{2, 5, 4, 7}, s.Locality, 128},
		{"organization", asn1.ObjectIdentifier{2, 5, 4, 10}, s.Organization, 64},
		{"organizationalUnit", asn1.ObjectIdentifier{2, 5, 4, 11}, s.OrganizationalUnit, 64},
		{"commonName", asn1.ObjectIdentifier{2, 5, 4, 3}, s.CommonName, maxCommonName},
	}
	rdns := pkix.RDNSequence{}
	for _, a := range attributes {
		if a.value == "" {
			continue
		}
		if utf8.RuneCountInString(a.value) > a.max {
			return nil, fmt.Errorf("subject.%s %q is longer than the %d characters a certificate can hold", a.name, a.value, a.max)
		}
		rdns = append(rdns, pkix.RelativeDistinguishedNameSET{{Type: a.oid, Value: a.value}})
	}
	der, err := asn1.Marshal(rdns)
	if err != nil {
		return nil, fmt.Errorf("the subject cannot be encoded: %w", err)
	}
	return der, nil
}

// generationSubject gives the subject of a CA's generation. The first has the plain name; later ones end in
// " G2" and so on, so that a handshake shows which one signed. A long name is cut to leave room.
func generationSubject(ca spec.CA, id int) spec.Subject {
	s := ca.Local.Subject
	if s.CommonName == "" {
		s.CommonName = ca.Name
	}
	if id < 2 {
		return s
	}
	suffix := fmt.Sprintf(" G%d", id)
	name := []rune(s.CommonName)
	s.CommonName = string(name[:min(len(name), maxCommonName-len(suffix))]) + suffix
	return s
}
