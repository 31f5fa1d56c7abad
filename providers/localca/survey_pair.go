package localca

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// findCAs pairs the certificates of CAs with their keys. Of several of one key the one that lives longest counts.
func (s *survey) findCAs() {
	var cas []foundCert
	for _, cert := range s.certs {
		if cert.IsCA {
			cas = append(cas, cert)
		}
	}
	slices.SortStableFunc(cas, func(a, b foundCert) int { return b.NotAfter.Compare(a.NotAfter) })
	var had []foundCert
	for _, cert := range cas {
		same := func(other foundCert) bool { return samePublic(other.PublicKey, cert.PublicKey) }
		if i := slices.IndexFunc(had, same); i >= 0 {
			if !bytes.Equal(had[i].Raw, cert.Raw) {
				s.left(cert.file, "another certificate of the same key lives longer: "+had[i].file)
			}
			continue
		}
		if s.findCA(cert) {
			had = append(had, cert)
		}
	}
}

// findCA reports whether a certificate with its key is a CA that can sign.
func (s *survey) findCA(cert foundCert) bool {
	_, key := s.pair([]foundCert{cert})
	switch {
	case key == nil:
		s.left(cert.file, "a CA whose "+s.absent(cert)+": nothing can be signed by it")
		return false
	case len(cert.DNSNames)+len(cert.IPAddresses) > 0 && isRoot(cert.Certificate):
		s.left(cert.file, "it is signed by itself and has names as a server has: there is no CA to take over; give that server an identity of a new CA")
		return false
	}
	ca := spec.CA{Name: s.name(cert, "ca"), Local: &spec.LocalCA{Certificate: cert.file, KeyFile: key.file, Passphrase: key.passphrase}}
	g, err := s.ca.bring(ca)
	for _, issuer := range s.certs {
		if err == nil {
			break
		}
		if issuer.IsCA && cert.CheckSignatureFrom(issuer.Certificate) == nil {
			ca.Local.Chain = issuer.file
			g, err = s.ca.bring(ca)
		}
	}
	if err != nil {
		s.left(cert.file, reasonOf(file{name: cert.file}, err))
		return false
	}
	s.signers[ca.Name] = foundSigner{g, cert.Certificate}
	found := FoundCA{CA: ca}
	if left := g.NotAfter.Sub(s.now()); left < 90*24*time.Hour {
		found.Notes = append(found.Notes, fmt.Sprintf("it ends on %s, and what it signs ends with it: soon put another CA beside it, or a renewed certificate of its key into its file (docs/tls-yaml.md)", g.NotAfter.UTC().Format(time.DateOnly)))
	}
	s.found.CAs = append(s.found.CAs, found)
	return true
}

// findIdentities pairs the other certificates with their keys. Of several of one subject and names the newest
// counts that can be taken over.
func (s *survey) findIdentities() {
	var leaves []foundCert
	copies := map[string][]foundCert{} // by content
	for _, cert := range s.certs {
		if cert.IsCA {
			continue
		}
		if len(copies[string(cert.Raw)]) == 0 {
			leaves = append(leaves, cert)
		}
		copies[string(cert.Raw)] = append(copies[string(cert.Raw)], cert)
	}
	slices.SortStableFunc(leaves, func(a, b foundCert) int { return b.NotBefore.Compare(a.NotBefore) })
	newest := map[string]string{} // the file, by subject and names
	for _, leaf := range leaves {
		leaf, key := s.pair(copies[string(leaf.Raw)])
		switch {
		case s.isRevoked(leaf.Certificate):
			s.left(leaf.file, "it was revoked")
			continue
		case s.now().After(leaf.NotAfter):
			s.left(leaf.file, "it expired on "+date(leaf.NotAfter))
			continue
		case key == nil:
			s.left(leaf.file, "its "+s.absent(leaf))
			continue
		}
		who := fmt.Sprintf("%x %q", leaf.RawSubject, sortedNames(leaf.Certificate))
		if newer := newest[who]; newer != "" {
			s.left(leaf.file, "a newer one has the same names: "+newer)
			continue
		}
		id, err := s.identity(leaf, *key)
		if err != nil {
			s.left(leaf.file, reasonOf(file{name: leaf.file}, err))
			continue
		}
		newest[who] = leaf.file
		s.found.Identities = append(s.found.Identities, id)
	}
	slices.SortFunc(s.found.Identities, func(a, b FoundIdentity) int { return strings.Compare(a.Name, b.Name) })
}

// pair is a certificate with its key, nil if there is none. Where there are copies, as in the directories of easy-rsa, those
// count that are called alike, and of these the ones in two files; without a key the one that is called after somebody.
func (s *survey) pair(copies []foundCert) (foundCert, *foundKey) {
	leaf, keys := copies[0], s.keys[publicText(copies[0].PublicKey)]
	if len(keys) == 0 {
		for _, c := range copies {
			if s.shut(c) != "" {
				return c, nil
			}
			if serialNumber.MatchString(stem(leaf.file)) {
				leaf = c
			}
		}
		return leaf, nil
	}
	key, best := keys[0], 0
	for _, c := range copies {
		for _, k := range keys {
			rank := 0
			if whose(c.file) == whose(k.file) {
				rank = 1
				if c.file != k.file {
					rank = 2
				}
			}
			if rank > best {
				leaf, key, best = c, k, rank
			}
		}
	}
	return leaf, &key
}

// serialNumber is what tools call a copy of a certificate that nobody asked for.
var serialNumber = regexp.MustCompile(`^[0-9A-Fa-f]+$`)

// shut is an encrypted key that did not open and is called as a certificate is, or "": what it is of is not known.
func (s *survey) shut(cert foundCert) string {
	for _, file := range s.found.Shut {
		if whose(file) == whose(cert.file) {
			return file
		}
	}
	return ""
}

// absent says of a certificate's key why it is not had.
func (s *survey) absent(cert foundCert) string {
	if file := s.shut(cert); file != "" {
		return "key may be " + file + ", which did not open"
	}
	return "key is not here"
}

// identity proves what a leaf and its key can be to a spec.
func (s *survey) identity(leaf foundCert, key foundKey) (FoundIdentity, error) {
	for _, ca := range s.found.CAs {
		by := s.signers[ca.Name]
		if leaf.CheckSignatureFrom(by.cert) != nil {
			continue
		}
		id, err := identityOf(leaf.Certificate)
		if err != nil {
			return FoundIdentity{}, err
		}
		id.Name, id.CA = s.name(leaf, "identity"), spec.Ref{Name: ca.Name}
		id.Brought = &spec.Brought{Certificate: leaf.file, Key: key.file, Passphrase: key.passphrase}
		issued, err := s.ca.bringIdentity(id, by.Generation)
		return FoundIdentity{Identity: id, Issued: issued, Notes: s.notes(&id, leaf.Certificate, issued)}, err
	}
	return s.outside(leaf, key)
}

// outside proves a leaf of a CA of which the key is elsewhere.
func (s *survey) outside(leaf foundCert, key foundKey) (FoundIdentity, error) {
	err := fmt.Errorf("it is of %q, which is not here", leaf.Issuer)
	for _, root := range s.certs {
		if !root.IsCA {
			continue
		}
		id := spec.Identity{Name: s.name(leaf, "identity"), From: &spec.From{Certificate: leaf.file, Key: key.file, CA: root.file}}
		issued, why := s.ca.read(id)
		if why == nil {
			return FoundIdentity{Identity: id, Issued: issued, Notes: []string{"the key of its CA is not here: what issues it has to renew it"}}, nil
		}
		if bytes.Equal(root.RawSubject, leaf.RawIssuer) {
			err = why
		}
	}
	return FoundIdentity{}, err
}

// notes say what is to be known of an identity that is taken in.
func (s *survey) notes(id *spec.Identity, leaf *x509.Certificate, issued reconcile.Issued) (notes []string) {
	if due := reconcile.RenewAt(id, &issued); !s.now().Before(due) {
		notes = append(notes, fmt.Sprintf("due for renewal: it ends on %s, so the first apply also issues the next one", leaf.NotAfter.UTC().Format(time.DateOnly)))
	}
	if id.Usage(spec.Server) && len(sortedNames(leaf)) == 0 {
		notes = append(notes, fmt.Sprintf("it has a common name alone, which clients no longer look at: `names: [%s]` in place of `brought` has a good one issued", id.Subject.CommonName))
	}
	if len(leaf.Subject.Names) != attributes(id.Subject) {
		notes = append(notes, fmt.Sprintf("its subject is %q; the next one's has only what tls.yaml has words for", leaf.Subject))
	}
	return notes
}
