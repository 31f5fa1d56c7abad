package store

import (
	"cmp"
	"strings"
	"unsafe"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// encode gives the document of s: the bytes that a state file carries, still in clear.
func encode(s reconcile.State) []byte {
	c := codec{writing: true, format: format, index: map[string]uint64{}, buf: make([]byte, 0, 4096+1536*len(s.Identities))}
	state(&c, &s)
	return c.buf
}

// decode is the inverse of encode, for a document of any format there was. All that it holds shares its memory with the
// document, which nobody may change afterwards.
func decode(document []byte, format int) (reconcile.State, error) {
	c := codec{format: format, buf: document, left: unsafe.String(unsafe.SliceData(document), len(document))}
	var s reconcile.State
	state(&c, &s)
	if c.err == nil && len(c.buf) > 0 {
		c.fail()
	}
	if c.err != nil {
		return reconcile.State{}, c.err
	}
	return s, nil
}

// The rest is the document, type by type. What follows here is what every later version must read: a change in it is a new
// format, and what a format brought is marked with its number.

func state(c *codec, s *reconcile.State) {
	text(c, &s.Installation)
	text(c, &s.Project)
	table(c, &s.CAs, strings.Compare, text, ca)
	table(c, &s.Identities, strings.Compare, text, issued)
	table(c, &s.Places, compareLocations, location, placeRow)
	table(c, &s.Loads, strings.Compare, text, load)
	table(c, &s.Owners, strings.Compare, text, owner)
	table(c, &s.Wishes, strings.Compare, text, wish)
	if c.format >= 2 {
		table(c, &s.Failures, strings.Compare, text, failure)
	}
	if c.format >= 4 {
		table(c, &s.Revocations, strings.Compare, text, revocation)
	}
}

func ca(c *codec, a *reconcile.CA) {
	list(c, &a.Generations, generation)
	if c.format >= 3 {
		key(c, &a.Kept)
	}
}

func generation(c *codec, g *reconcile.Generation) {
	number(c, &g.ID)
	text(c, &g.State)
	c.shared(&g.Certificate)
	list(c, &g.Chain, (*codec).shared)
	key(c, &g.Key)
	text(c, &g.KeyID)
	c.moment(&g.NotBefore)
	c.moment(&g.NotAfter)
	c.moment(&g.Created)
	subject(c, &g.Wanted.Subject)
	text(c, &g.Wanted.Key)
	number(c, &g.Wanted.Lifetime)
	text(c, &g.Wanted.Constraints)
	text(c, &g.Wanted.Parent)
}

func issued(c *codec, i *reconcile.Issued) {
	text(c, &i.Serial)
	c.bytes(&i.Certificate)
	list(c, &i.Chain, (*codec).shared)
	c.shared(&i.Root)
	key(c, &i.Key)
	text(c, &i.CA)
	text(c, &i.IssuerKeyID)
	c.moment(&i.NotBefore)
	c.moment(&i.NotAfter)
	c.moment(&i.IssuedAt)
	text(c, &i.Reason)
	list(c, &i.Wanted.Names, text)
	list(c, &i.Wanted.Usages, text)
	subject(c, &i.Wanted.Subject)
	text(c, &i.Wanted.Key)
	number(c, &i.Wanted.Lifetime)
	if c.format >= 2 {
		list(c, &i.Unbidden, (*codec).moment)
	}
}

func key(c *codec, k *reconcile.PrivateKey) {
	der := k.PKCS8()
	c.bytes(&der)
	if !c.writing {
		*k = reconcile.NewPrivateKey(der)
	}
}

func subject(c *codec, s *spec.Subject) {
	text(c, &s.CommonName)
	text(c, &s.Organization)
	text(c, &s.OrganizationalUnit)
	text(c, &s.Locality)
	text(c, &s.Province)
	text(c, &s.Country)
}

func location(c *codec, l *reconcile.Location) {
	text(c, &l.Host)
	text(c, &l.Dir)
	c.flag(&l.Machine)
	text(c, &l.Volume)
	text(c, &l.Sub)
	if c.format >= 5 {
		text(c, &l.Container)
	}
}

func compareLocations(a, b reconcile.Location) int {
	machine := 0
	if a.Machine != b.Machine {
		machine = 1
		if b.Machine {
			machine = -1
		}
	}
	return cmp.Or(
		strings.Compare(a.Host, b.Host),
		strings.Compare(a.Dir, b.Dir),
		machine,
		strings.Compare(a.Volume, b.Volume),
		strings.Compare(a.Sub, b.Sub),
		strings.Compare(a.Container, b.Container),
	)
}

func placeRow(c *codec, r *reconcile.PlaceRow) {
	text(c, &r.Binding)
	text(c, &r.Layout)
	list(c, &r.Files, text)
	text(c, &r.Wrote)
	if c.format >= 3 {
		number(c, &r.Version)
	}
	c.moment(&r.At)
	if c.format >= 6 {
		c.from(&r.First, r.At)
	}
	list(c, &r.Reverts, (*codec).moment)
}

func load(c *codec, l *reconcile.Load) {
	text(c, &l.Binding)
	text(c, &l.Target)
	text(c, &l.Unit)
	c.flag(&l.Proved)
	number(c, &l.Rung)
	text(c, &l.Served)
	c.moment(&l.At)
	text(c, &l.Error)
	list(c, &l.Restarts, (*codec).moment)
}

func owner(c *codec, o *reconcile.Owner) {
	number(c, &o.UID)
	number(c, &o.GID)
}

func wish(c *codec, w *reconcile.Wish) {
	c.moment(&w.At)
	text(c, &w.Serial)
	c.flag(&w.Adopt)
	if c.format >= 4 {
		c.flag(&w.NewKey)
	}
}

func revocation(c *codec, r *reconcile.Revocation) {
	text(c, &r.Identity)
	issued(c, &r.Issued)
	c.moment(&r.At)
}

func failure(c *codec, f *reconcile.Failure) {
	number(c, &f.Count)
	c.moment(&f.At)
	c.moment(&f.Next)
	c.flag(&f.Refused)
	text(c, &f.About)
	text(c, &f.Error)
}
