package reconcile

import (
	"io/fs"
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
	Part    bool                    // only some bindings were looked at, and only their engines listed
	Engines map[string]EngineState  // by host name; those that were asked
	Swarms  map[string]Swarm        // by host name; those that were asked
	Places  map[Location]PlaceState // every place a binding has
	Served  map[string]Served       // by TargetKey; only targets that were probed
	From    map[string]FromState    // by identity name; those issued by something else
	Brought map[string]BroughtState // by CA name; those brought along
	Roots   map[string][][]byte     // spec.PublicRoots and spec.SystemRoots, as asked for by a binding
	Owners  map[string]Owner        // by OwnerKey: those the bindings need and that could be found
	Unknown map[string]string       // by OwnerKey: why the others could not
}

// EngineState is what a Docker engine listed.
type EngineState struct {
	Err        string // why it could not be listed; the rest is then empty
	Named      bool   // the user named this engine, so its absence is an error and not a reason to wait
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
	Health    string // "", starting, healthy, unhealthy
	Created   time.Time
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
	// Sub is a folder below Dir or Volume, slash-separated; "" for the place itself. With neither it is the Swarm service
	// whose secrets are meant, or, after a star, the binding whose secrets follow whoever mounts them.
	Sub string
}

// ofSecrets is the place that the secrets of a binding are.
func ofSecrets(b *spec.Binding) Location {
	if b.Consumer == nil {
		return Location{Host: b.Host.Name, Sub: "*" + b.Name}
	}
	return Location{Host: b.Host.Name, Sub: b.Consumer.Service}
}

// secrets reports whether secrets are meant, and no files.
func (l Location) secrets() bool { return l.Dir == "" && l.Volume == "" && l.Sub != "" }

func (l Location) String() string {
	s := l.Dir
	if l.Volume != "" {
		s = "volume " + l.Volume
	}
	switch {
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
	Mark   *Mark       // the mark certwright left there, nil if none
	Layout spec.Layout // of what lies there; "" if nothing of ours does
	Files  map[string]FileState
}

// Mark is what certwright leaves in a place to know its own again.
type Mark struct {
	Installation string `json:"installation"`
	Project      string `json:"project"`
	Binding      string `json:"binding"`
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

// FromState is the content of the files of an identity that something else issues.
type FromState struct {
	Err    string
	Issued Issued
}

// BroughtState is the content of the files of a brought-along CA.
type BroughtState struct {
	Err        string
	Generation Generation // with its key
}
