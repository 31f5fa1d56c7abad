package reconcile

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/certwright/certwright/spec"
)

// material is what a binding's files are made of.
type material struct {
	issued *Issued  // nil for a binding of trust alone
	trust  [][]byte // DER
}

// anyOwner leaves the owner of a file as it comes.
var anyOwner = Owner{UID: -1, GID: -1}

// wantedFile is one file as it should be.
type wantedFile struct {
	spec  spec.File
	holds Holding
	print Fingerprint
	mode  fs.FileMode
	owner Owner
}

// material collects what the binding's files are made of from what is stored. missing says what is not there yet.
func (v *view) material(b *spec.Binding, st State) (m material, missing string) {
	if b.Identity != nil {
		issued, ok := v.issued(b.Identity.Name, st)
		if !ok {
			return m, "identity " + b.Identity.Name + " is not issued"
		}
		m.issued = &issued
	}
	if len(b.Trust) == 0 && m.issued != nil {
		m.trust = [][]byte{m.issued.Root}
	}
	for _, ref := range b.Trust {
		if roots, ok := v.w.Roots[ref.Name]; ok {
			m.trust = append(m.trust, roots...)
			continue
		}
		ca, ok := st.CAs[ref.Name]
		if !ok || ca.Active() == nil {
			return m, "CA " + ref.Name + " is not there"
		}
		m.trust = append(m.trust, ca.roots()...)
	}
	m.trust = distinct(m.trust)
	return m, ""
}

// issued is the identity as stored, or as read from the files something else keeps.
func (v *view) issued(name string, st State) (Issued, bool) {
	if id := v.ids[name]; id != nil && id.From != nil {
		f, ok := v.w.From[name]
		return f.Issued, ok && f.Err == ""
	}
	i, ok := st.Identities[name]
	return i, ok
}

// files says how every file of the binding should be at one of its locations.
func (v *view) files(b *spec.Binding, at located, m material) []wantedFile {
	out := make([]wantedFile, 0, len(at.list))
	for _, f := range at.list {
		h := holding(f.Content, m)
		if f.Content == spec.ContentContext {
			h = Holding{Context: DockerContext{Name: b.Place.Context.Name, Endpoint: b.Place.Context.Endpoint}}
		}
		out = append(out, wantedFile{
			spec: f, holds: h, print: fingerprint(f.Content, h), mode: f.Mode, owner: v.owner(b, f, at),
		})
	}
	return out
}

// owner is the file's owner in the container's terms: as the spec has it, else the preset's user, else the one
// the container runs as. Where nobody can be asked, since the container or its engine is away, it stays as it is: the
// container comes back before anybody looks, and has to read what is there.
func (v *view) owner(b *spec.Binding, f spec.File, at located) Owner {
	want := f.Owner
	if want == nil {
		want = b.Owner
	}
	if want != nil && want.Name == "" {
		return Owner{UID: want.UID, GID: want.GID}
	}
	if len(at.containers) > 0 {
		c := at.containers[0]
		if o, ok := v.w.Owners[OwnerKey(c.ID, ownerName(b, want, c))]; ok {
			return o
		}
		// An image without the preset's user runs its server as someone else.
		if o, ok := v.w.Owners[OwnerKey(c.ID, "")]; ok && want == nil {
			return o
		}
	}
	if is := v.w.Places[at.at].Files[f.Name]; is.Ours {
		return Owner{UID: is.UID, GID: is.GID}
	}
	return anyOwner
}

// unowned says why a user the spec names cannot be given a file, or "".
func (v *view) unowned(b *spec.Binding, at located) string {
	for _, f := range at.list {
		want := f.Owner
		if want == nil {
			want = b.Owner
		}
		if want == nil || want.Name == "" || len(at.containers) == 0 {
			continue
		}
		if why, ok := v.w.Unknown[OwnerKey(at.containers[0].ID, want.Name)]; ok {
			return "owner " + want.Name + ": " + why
		}
	}
	return ""
}

func ownerName(b *spec.Binding, want *spec.Owner, c Container) string {
	if want != nil {
		return want.Name
	}
	return readerOf(b, c)
}

// OwnerKey is the key of World.Owners and State.Owners; user is "" for the one the container runs as.
func OwnerKey(container, user string) string { return container + "/" + user }

// holding is what a file of that content holds.
func holding(c spec.Content, m material) Holding {
	var leaf, chain [][]byte
	var key PrivateKey
	if m.issued != nil {
		leaf, chain, key = [][]byte{m.issued.Certificate}, m.issued.Chain, m.issued.Key
	}
	switch c {
	case spec.ContentCert, spec.ContentCertDER:
		return Holding{Certificates: leaf}
	case spec.ContentChain:
		return Holding{Certificates: chain}
	case spec.ContentFullchain:
		return Holding{Certificates: append(slices.Clip(leaf), chain...)}
	case spec.ContentKey, spec.ContentKeyDER:
		return Holding{Key: key}
	case spec.ContentCADER:
		return Holding{Certificates: m.trust[:min(1, len(m.trust))]}
	case spec.ContentCA, spec.ContentTrustPKCS12, spec.ContentTrustJKS:
		return Holding{Certificates: m.trust}
	}
	return Holding{
		Certificates: append(slices.Clip(leaf), chain...), Key: key, KeyFirst: c == spec.ContentCombinedKeyFirst,
	}
}

// fingerprint is equal for two holdings of one content that mean the same; in trust stores order means nothing.
func fingerprint(c spec.Content, h Holding) Fingerprint {
	certs := h.Certificates
	if c.HoldsTrust() {
		certs = slices.Clone(certs)
		slices.SortFunc(certs, slices.Compare)
	}
	sum := sha256.New()
	part := func(kind byte, b []byte) {
		var head [9]byte
		head[0] = kind
		binary.BigEndian.PutUint64(head[1:], uint64(len(b)))
		sum.Write(head[:])
		sum.Write(b)
	}
	if h.KeyFirst {
		part('f', nil)
	}
	if h.Context != (DockerContext{}) {
		part('n', []byte(h.Context.Name))
		part('e', []byte(h.Context.Endpoint))
	}
	if der := h.Key.PKCS8(); len(der) > 0 {
		part('k', der)
	}
	for _, c := range certs {
		part('c', c)
	}
	var out [sha256.Size]byte
	return printOf(sum.Sum(out[:0]))
}

// unitPrint is the fingerprint of a whole unit: what a consumer has to load.
func unitPrint(files []wantedFile) Fingerprint {
	all := make([]byte, 0, len(files)*128) // a sum and a name
	for _, f := range files {
		all = append(append(append(append(all, f.spec.Name...), 0), f.print...), 0)
		if f.spec.Alias != "" {
			all = append(append(all, f.spec.Alias...), 0)
		}
	}
	sum := sha256.Sum256(all)
	return printOf(sum[:])
}

// printOf writes a sum. There are thousands in a pass, so it makes nothing but the text.
func printOf(sum []byte) Fingerprint {
	var out [2 * sha256.Size]byte
	hex.Encode(out[:], sum)
	return Fingerprint(out[:])
}

// version stands for a secret: what it holds, and which file of which binding of which installation it is. Its name shows
// some of it, so it is keyed (RFC 2104) with the private key of the binding's identity; where there is none there is
// nothing to hide.
func (v *view) version(b *spec.Binding, f wantedFile, m material) Fingerprint {
	var key []byte
	if m.issued != nil {
		key = m.issued.Key.PKCS8()
	}
	mac := hmac.New(sha256.New, key)
	_, _ = fmt.Fprintf(mac, "%s/%s/%s %s %s", v.w.State.Installation, b.Name, f.spec.Name, f.spec.Content, f.print)
	return Fingerprint(hex.EncodeToString(mac.Sum(nil)))
}

func digest(parts ...string) Fingerprint {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return Fingerprint(hex.EncodeToString(sum[:]))
}

func distinct(ders [][]byte) [][]byte {
	var out [][]byte
	for _, d := range ders {
		if !slices.ContainsFunc(out, func(o []byte) bool { return slices.Equal(o, d) }) {
			out = append(out, d)
		}
	}
	return out
}
