package reconcile

import (
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/certwright/certwright/spec"
)

// Fingerprint stands for content without being it: two equal ones hold the same. It is never shown to a user.
type Fingerprint string

// World is what one pass saw: values only, no handles, no keys but those in State.
type World struct {
	Now     time.Time
	Built   time.Time // this program, if that is known
	State   State
	Fresh   bool                    // there is no store yet
	Courier bool                    // couriers were allowed: what is beyond was beyond them too
	Only    []string                // the bindings that were looked at, with only their engines listed; nil for all
	Engines map[string]EngineState  // by host name; those that were asked
	Swarms  map[string]Swarm        // by host name; those that were asked
	Late    []string                // the hosts that did not answer within the patience of the look
	Unread  []string                // of them those that had not shown their places by then
	Daemons map[string]DaemonState  // by host name; those that were asked
	Places  map[Location]PlaceState // every place a binding has
	Started map[string]time.Time    // by container id; those that may be older than a directory they mount
	Endings map[string]Ending       // by container id; those of servers that ended with another code than zero
	Served  map[string]Served       // by TargetKey; only targets that were probed
	From    map[string]FromState    // by identity name; those issued by something else
	Brought map[string]BroughtState // by CA name; those brought along
	Pairs   map[string]FromState    // by identity name; those brought along of which the store has nothing yet
	Outside map[string]RootsState   // by CA name; those outside of which the spec names the roots, and the public ones
	Advice  map[string]Window       // by identity name; when their CAs want them renewed
	NodeCA  NodeCAState             // of the Swarm's external CA, when the spec has one
	Roots   map[string][][]byte     // spec.PublicRoots and spec.SystemRoots, as asked for by a binding
	Owners  map[string]Owner        // by OwnerKey: those the bindings need and that could be found
	Unknown map[string]string       // by OwnerKey: why the others could not

	// Networks are those on which containers have names, by container id, and KeyFiles those the spec names on this machine.
	// Here has the hosts that are this machine. They are for Lint alone, and nobody else looks.
	Networks map[string][]Network
	KeyFiles []KeyFile
	Here     map[string]bool
}

// EngineState is what a Docker engine listed.
type EngineState struct {
	Err        string // why it could not be listed; the rest is then empty
	Address    string // HOST:PORT by which it is reached; "" where that is no TCP
	Unproved   bool   // whoever answers there is taken for it: its certificate is not verified
	Named      bool   // the user named this engine, so its absence is an error and not a reason to wait
	Self       string // that of another host is that of the same engine; "" where it is not known, or there is no other host
	Elsewhere  bool   // its machine is known not to be this one
	Containers []Container
	Volumes    []Volume
}

// Container is one container as the engine's list shows it (GET /containers/json?all=1).
type Container struct {
	Host      string
	ID        string
	Name      string // without the leading slash
	Image     string // as it was named when the container was made
	Command   string // what it runs, in a line; "" if unknown
	Labels    map[string]string
	State     string // created, running, paused, restarting, removing, exited, dead
	Code      int    // that it exited with, zero unless it did
	Tried     bool   // its engine has tried to start it, at least once
	Anew      bool   // it runs for so short a time that it may not have come up yet
	Health    string // "", starting, healthy, unhealthy
	Created   time.Time
	Network   string         // its mode: bridge, host, none, container:ID, or the name of a network
	Addresses []string       // its addresses on the engine's networks
	Published map[int]string // container port → host:port reachable from outside
	Mounts    []Mount
	// Away is nil but for a task on another node, of which the engine has nothing: its addresses by the id of the overlay
	// network. Via is the container of this engine in whose network it can be reached, "" if there is none.
	Away map[string]string
	Via  string
}

// Running reports whether the container has a process that can serve and be signalled.
func (c Container) Running() bool { return c.State == "running" }

// Mount is one mount of a container.
type Mount struct {
	Type        string // bind, volume, tmpfs, …
	Name        string // of a volume
	Source      string // on the engine's machine
	Destination string // in the container
	ReadWrite   bool
}

// Volume is a named volume.
type Volume struct {
	Name   string
	Driver string
	Labels map[string]string
}

// Location is a place files can live in; comparable, so that two bindings on one are seen.
type Location struct {
	Host string // spec.LocalHost or a host of the spec
	// Dir is a directory: of the machine certwright runs on when Machine is false, else of the engine's machine.
	Dir     string
	Machine bool
	Volume  string // instead of Dir
	// Container is the id of one whose own trust store is meant, and Sub says which: its kind, and of NSS the database after it.
	Container string
	// Sub is a folder below Dir or Volume, slash-separated; "" for the place itself. With neither it is the Swarm service
	// whose secrets are meant, or, after a star, the binding whose secrets follow whoever mounts them.
	Sub string
}

// ofDirectory is the place that the directory of a binding is: of the machine certwright runs on, or of that of its host.
func ofDirectory(b *spec.Binding) Location {
	return Location{Host: b.Host.Name, Dir: b.Place.Directory, Machine: b.Host.Name != spec.LocalHost}
}

// ofSecrets is the place that the secrets of a binding are.
func ofSecrets(b *spec.Binding) Location {
	if b.Consumer == nil {
		return Location{Host: b.Host.Name, Sub: "*" + b.Name}
	}
	return Location{Host: b.Host.Name, Sub: b.Consumer.Service}
}

// secrets reports whether secrets are meant, and no files.
func (l Location) secrets() bool {
	return l.Dir == "" && l.Volume == "" && l.Container == "" && l.Sub != ""
}

// TrustStore is the trust store that a location with a Container is.
func (l Location) TrustStore() spec.TrustStore {
	kind, _, _ := strings.Cut(l.Sub, "/")
	return spec.TrustStore{Kind: spec.TrustKind(kind), Database: strings.TrimPrefix(l.Sub, kind)}
}

func (l Location) String() string {
	s := l.Dir
	if l.Volume != "" {
		s = "volume " + l.Volume
	}
	switch {
	case l.Container != "":
		s = fmt.Sprintf("trust store %s of container %.12s", l.Sub, l.Container)
	case l.secrets() && l.Sub[0] == '*':
		s = "secrets of binding " + l.Sub[1:]
	case l.secrets():
		s = "secrets of service " + l.Sub
	case l.Sub != "":
		s += "/" + l.Sub
	}
	if l.Host != "" && l.Host != spec.LocalHost {
		s = l.Host + ": " + s
	}
	return s
}

// PlaceState is what a place holds.
type PlaceState struct {
	Err    string // why it could not be looked at; everything else is then unknown
	Beyond bool   // … because it is out of reach without a courier
	Exists bool
	Dir    DirState    // the place's own directory
	Born   time.Time   // when that was made; zero where its file system does not tell
	Mark   *Mark       // the mark certwright left there, nil if none
	Layout spec.Layout // of what lies there; "" if nothing of ours does
	// Generation is the mode of the directory ..data leads to; 0 if there is none.
	Generation fs.FileMode
	Files      map[string]FileState
	Strays     []Stray // where the look was for them
}

// Stray is a file with certificates (DER) that stands in a place and is none of its binding.
type Stray struct {
	Name         string
	Certificates [][]byte
}

// Mark is what certwright leaves in a place to know its own again.
type Mark struct {
	Installation string `json:"installation"`
	Project      string `json:"project"`
	Binding      string `json:"binding"`
	// Version grows with each unit that is written to the place: one that is older than what is there comes too late.
	Version int `json:"version,omitempty"`
}

// Kinds of what stands at a file's name.
const (
	KindAbsent    = ""
	KindFile      = "file"
	KindLink      = "link"
	KindDirectory = "directory"
	KindOther     = "other"
)

// FileState is what stands at one name of a place.
type FileState struct {
	Kind  string
	Ours  bool        // a part of the unit certwright placed: in the atomic layout a link through ..data
	Holds Fingerprint // of what it holds, "" if it cannot be read as what the spec wants there
	Mode  fs.FileMode
	UID   int // in the container's terms
	GID   int
}

// Served is what a handshake with one target showed.
type Served struct {
	At          time.Time
	Address     string    // what was dialled
	Err         string    // why there was no handshake; the rest is then empty
	Unreachable bool      // there is no way to dial it from here: not the server's fault
	Late        bool      // there was no connection within the time
	Within      bool      // it could be dialled from within its own network alone, at its loopback
	Serial      string    // of the leaf, as State writes serials
	NotAfter    time.Time // of the leaf
	Chain       [][]byte  // as presented, leaf first
	Version     string    // TLS 1.2, TLS 1.3
	CANames     [][]byte  // the acceptable-CA list of the certificate request: raw subjects
	Untrusted   string    // why the chain does not verify for the server name against the binding's trust; "" if it does
	Without     Answer    // no client certificate
	Foreign     Answer    // a client certificate of a CA nobody trusts
	Accepted    Answer    // the client certificate that must be accepted
	NoClient    bool      // there was none that must be accepted: only refusal was checked
	ClientErr   string    // why a client check could not be made, or failed
}

// Answer is the answer to "was the client let in": yes, no, or not asked.
type Answer int

// The answers.
const (
	NotAsked Answer = iota
	LetIn
	Refused
)

// FromState is the content of the files of an identity that something else issues, or issued before it was brought along.
type FromState struct {
	Err    string
	Issued Issued
}

// RootsState is the content of a file of roots.
type RootsState struct {
	Err   string
	Roots [][]byte // DER
}

// Window is a time from Start to End.
type Window struct{ Start, End time.Time }

// NodeCAState is the file of a certificate that an external CA signs with.
type NodeCAState struct {
	Err  string
	Root []byte // DER
}

// BroughtState is the content of the files of a brought-along CA.
type BroughtState struct {
	Err        string
	Generation Generation // with its key
}
