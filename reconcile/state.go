package reconcile

import (
	"maps"
	"time"

	"github.com/certwright/certwright/spec"
)

// State is everything the store keeps: CAs, issued identities, and the records of what was done. It is a value;
// nothing in it is shared with a copy made by Clone.
type State struct {
	Installation string // a random id given once; with the project it marks what is ours
	Project      string
	CAs          map[string]CA
	Identities   map[string]Issued
	Places       map[Location]PlaceRow
	Loads        map[string]Load       // by TargetKey
	Owners       map[string]Owner      // by container id + "/" + user name: facts that cannot change for that id
	Wishes       map[string]Wish       // by subject: identity/NAME, binding/NAME
	Failures     map[string]Failure    // by failureKey: what does not work
	Revocations  map[string]Revocation // by serial: what a person wants revoked, until its CA has done so
}

// CA is what the store keeps of a CA: its generations, oldest first. There is always exactly one Active. A CA outside has
// one without a key for each of its roots.
type CA struct {
	Generations []Generation
	Kept        PrivateKey // what a CA outside needs to be asked again, as an account; it may have a key in it
}

// The states of a CA's generation (DESIGN.md 2.5).
const (
	GenerationActive   = "active"
	GenerationNext     = "next"
	GenerationRetiring = "retiring"
)

// Generation is one key of a CA and its certificate.
type Generation struct {
	ID          int        // from one
	State       string     // GenerationActive, …
	Certificate []byte     // DER
	Chain       [][]byte   // its issuers, nearest first, the root last; empty for a root
	Key         PrivateKey // empty for a brought-along CA, whose key stays in its file
	KeyID       string     // lower-case hex of its subject key identifier (RFC 5280 section 4.2.1.2)
	NotBefore   time.Time
	NotAfter    time.Time
	Created     time.Time
	Wanted      CAProfile // what was asked for when it was made
}

// Root returns the DER of the root the generation chains to: itself when it is one.
func (g Generation) Root() []byte {
	if len(g.Chain) == 0 {
		return g.Certificate
	}
	return g.Chain[len(g.Chain)-1]
}

// roots are those of all generations.
func (c CA) roots() [][]byte {
	out := make([][]byte, len(c.Generations))
	for i, g := range c.Generations {
		out[i] = g.Root()
	}
	return out
}

// path is the generation's certificate and its issuers, the root last.
func (g Generation) path() [][]byte { return append([][]byte{g.Certificate}, g.Chain...) }

// Active returns the generation that signs, or nil.
func (c CA) Active() *Generation {
	for i := range c.Generations {
		if c.Generations[i].State == GenerationActive {
			return &c.Generations[i]
		}
	}
	return nil
}

// CAProfile is what the spec asked of a CA; another profile is reported, never acted on by making a new key.
type CAProfile struct {
	Subject     spec.Subject
	Key         spec.KeyKind
	Lifetime    time.Duration
	Constraints string // in words; only ever compared
	Parent      string // the key id of the issuing generation; "" for a root
}

// Profile is what the spec asked of an identity when it was issued; a difference is a reason to issue again.
type Profile struct {
	Names    []string // kind:value, in the order of the spec
	Usages   []spec.Usage
	Subject  spec.Subject
	Key      spec.KeyKind
	Lifetime time.Duration
}

// Issued is an identity's key and certificate.
type Issued struct {
	Serial      string   // lower-case hex, two digits a byte
	Certificate []byte   // the leaf's DER
	Chain       [][]byte // the intermediates, nearest first, without the root
	Root        []byte   // DER
	Key         PrivateKey
	CA          string // the CA's name; "" when it was issued by something else
	IssuerKeyID string // the KeyID of the generation that signed it
	NotBefore   time.Time
	NotAfter    time.Time
	IssuedAt    time.Time
	Reason      string // why it was issued
	Wanted      Profile
	Unbidden    []time.Time // when the identity was issued neither because it was due nor because anybody wanted it, the last hour
}

// PlaceRow is the inventory's entry of a place: written before the place is, so that nothing of ours is ever lost.
type PlaceRow struct {
	Binding string
	Layout  spec.Layout
	Files   []string    // the names that are ours there, sorted
	Wrote   Fingerprint // of the whole unit as last written
	Version int         // of the mark it was last written with
	First   time.Time   // when it was first written; zero where an earlier format did not keep it
	At      time.Time   // when it was last written
	Reverts []time.Time // when someone else's change to it was undone, the last ten minutes of them
}

// Load says what a target was last made to load, and how that went.
type Load struct {
	Binding  string
	Target   string      // the container's id: another id is another process
	Unit     Fingerprint // of the place's whole unit
	Proved   bool        // the wire showed it (or nothing can prove it and the rung succeeded)
	Rung     int         // the rung of the ladder tried last, from zero
	Served   string      // the serial it served before that; "" when nothing showed
	At       time.Time
	Error    string      // of the last rung, when it failed
	Restarts []time.Time // restarts that did not bring the wanted serial, the last hour of them
}

// Owner is a user and group as a container numbers them.
type Owner struct{ UID, GID int }

// Wish is something a person asked for that the next pass carries out.
type Wish struct {
	At     time.Time
	Serial string // rotate: the serial to be replaced; the wish is granted when another is there
	Adopt  bool   // adopt: take over what is in the binding's places
	NewKey bool   // rotate: also where the identity keeps its key
}

// Revocation is a certificate that is to be revoked.
type Revocation struct {
	Identity string // that it was issued to; "" where that is not known
	Issued   Issued // of one that the store does not have, only Serial and CA
	At       time.Time
}

// Clone returns a copy that shares no map with s, and has none that is nil.
func (s State) Clone() State {
	s.CAs, s.Identities = clone(s.CAs), clone(s.Identities)
	s.Places, s.Loads = clone(s.Places), clone(s.Loads)
	s.Owners, s.Wishes = clone(s.Owners), clone(s.Wishes)
	s.Failures, s.Revocations = clone(s.Failures), clone(s.Revocations)
	return s
}

func clone[K comparable, V any](m map[K]V) map[K]V {
	if m == nil {
		return map[K]V{}
	}
	return maps.Clone(m)
}
