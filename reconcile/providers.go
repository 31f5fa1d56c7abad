package reconcile

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"time"

	"github.com/certwright/certwright/spec"
)

// Around is put around every side effect of a provider: it must call do once, or report that it did not happen.
// A nil Around calls do. What names the effect, e.g. "rename ..data" or "POST /containers/{id}/kill", never its
// content. Tests use it to refuse an effect, to lose its reply, or to end the process before or after it.
type Around func(what string, do func() error) error

// Do carries out one effect.
func (a Around) Do(what string, do func() error) error {
	if a == nil {
		return do()
	}
	return a(what, do)
}

// Providers is what a pass needs of the outside.
type Providers struct {
	Store     Store
	Authority Authority
	Formats   Formats
	Places    Places
	Engines   Engines
	Swarms    Swarms
	Prober    Prober
	// Secret reads a password from where the spec says; Roots gives spec.PublicRoots or spec.SystemRoots as DER.
	Secret func(spec.Source) ([]byte, error)
	Roots  func(name string) ([][]byte, error)
	Built  time.Time    // when this program was, zero if unknown: no clock is right that is behind it
	Log    *slog.Logger // is told where a provider panicked, and nothing else; may be nil
}

// Errors that providers return and this package or its callers tell apart with errors.Is.
var (
	// ErrNoStore: there is no store where the spec says; the first apply makes one.
	ErrNoStore = errors.New("there is no store")
	// ErrChanged: somebody else was faster, and what was to be done was not; it has to be planned anew.
	ErrChanged = errors.New("it has changed since it was read")
	// ErrForeign: something certwright did not make is in the way; nothing was changed.
	ErrForeign = errors.New("not made by certwright")
	// ErrNotHere: the files are on another machine and no courier can be started there.
	ErrNotHere = errors.New("out of reach")
	// ErrRefused: a CA was asked, and will not issue this. Another answer needs another question, or hours.
	ErrRefused = errors.New("refused")
)

// RetryAfter is an error of someone who said how long not to be asked again, as a CA does in a Retry-After header
// (RFC 9110 section 10.2.3).
type RetryAfter struct {
	Err  error
	Wait time.Duration
}

func (e RetryAfter) Error() string { return e.Err.Error() }

// Unwrap gives the error itself.
func (e RetryAfter) Unwrap() error { return e.Err }

// Store keeps the State.
type Store interface {
	// Load returns the state as it was last committed, or ErrNoStore. Damaged, foreign or undecryptable state is
	// any other error, and never an empty state.
	Load(ctx context.Context) (State, error)
	// Commit makes s the state. When it returns nil, s is durable; when it returns an error, either the old or the
	// new state is there, whole. Committing the same state again succeeds. A first state without an installation
	// is given one, which Load then shows.
	// It is ErrChanged when another state was committed since this store was loaded or committed to last.
	Commit(ctx context.Context, s State) error
	// ReadBack returns what was committed last, read anew, or ErrChanged when somebody else has committed since.
	ReadBack(ctx context.Context) (State, error)
}

// Authority makes keys and certificates. It is pure apart from randomness: what it makes is durable only after
// the caller commits it.
type Authority interface {
	// Create makes a generation for a CA of certwright's own; parent is nil for a root.
	Create(ca spec.CA, parent *Generation, id int, now time.Time) (Generation, error)
	// Bring reads the files of a CA that was brought along.
	Bring(ca spec.CA) (Generation, error)
	// Check proves that a generation can sign: its key opens, belongs to its certificate, and the certificate has
	// not expired. It is called on what was read back from the store before the first use.
	Check(g Generation, now time.Time) error
	// Issue signs a certificate for id. reuse is the key to keep, or empty for a new one. The names are checked
	// against the constraints of every CA of the chain first. The leaf never outlives its issuers.
	Issue(id spec.Identity, by Generation, reuse PrivateKey, now time.Time) (Issued, error)
	// Read takes an identity that something else issued from its files, and checks that key, certificate and CA
	// belong together.
	Read(id spec.Identity) (Issued, error)
	// Client makes a client certificate of five minutes that is never stored: the probe's own.
	Client(by Generation, now time.Time) (Issued, error)
}

// Holding is what a file holds, whatever its format.
type Holding struct {
	Certificates [][]byte // DER, in order; order does not count in truststores
	Key          PrivateKey
	KeyFirst     bool // the key stands before the certificates
}

// Formats turns what a file holds into bytes and back. It has no effects.
type Formats interface {
	// Encode gives the bytes of a file of that content. alias and password are for keystores.
	Encode(c spec.Content, h Holding, alias, password string) ([]byte, error)
	// Decode is the inverse of Encode. Anything but exactly that content is an error. Bounded in size.
	Decode(c spec.Content, data []byte, password string) (Holding, error)
}

// Places reads and writes units of files. Every method takes many at once, so that they share their durability
// and their courier, and answers in the same order. One failure does not stop the others.
type Places interface {
	// Read changes nothing. couriers says whether a courier may be started to look.
	Read(ctx context.Context, queries []PlaceQuery, couriers bool) []PlaceContent
	// Write puts each unit in its place, all or nothing (DESIGN.md 2.2), durable when it returns. ErrForeign
	// when something at one of the names is not ours and Adopt is false. Writing the same again succeeds.
	Write(ctx context.Context, units []Unit) []error
	// Remove takes away what Write put there, and only that. Removing what is not there succeeds.
	Remove(ctx context.Context, removals []Removal) []error
}

// PlaceQuery asks for the files of a place.
type PlaceQuery struct {
	At    Location
	Files []string
}

// PlaceContent is the answer to a PlaceQuery: a PlaceState before its files were decoded.
type PlaceContent struct {
	Err    error
	Exists bool
	Mark   *Mark
	Layout spec.Layout
	Files  map[string]FileContent // every name asked for
}

// FileContent is what stands at a name, and its bytes if it is a file (or a link of ours to one).
type FileContent struct {
	Kind string
	Ours bool
	Data []byte
	Mode fs.FileMode
	UID  int
	GID  int
}

// Unit is a set of files that belong together.
type Unit struct {
	At      Location
	Mark    Mark
	Layout  spec.Layout
	InPlace bool
	Adopt   bool
	Files   []UnitFile
	// Old names files of an earlier unit of ours there that are no longer wanted.
	Old []string
	Now time.Time
}

// UnitFile is one file of a unit; the owner is in the container's terms.
type UnitFile struct {
	Name string
	Data []byte
	Mode fs.FileMode
	UID  int
	GID  int
}

// Removal names what to clear from a place.
type Removal struct {
	At    Location
	Mark  Mark
	Files []string
}

// Engines are the Docker engines by host name.
type Engines interface {
	// List returns the containers and volumes of a host in a number of calls that does not depend on how many
	// there are. An engine that does not answer is an EngineState with Err.
	List(ctx context.Context, host string) EngineState
	// Owner finds the user of a container by name or number ("" for the one it runs as), in its own terms.
	Owner(ctx context.Context, host, container, user string) (Owner, error)
	// CreateVolume makes a volume; one of that name that is there already is success.
	CreateVolume(ctx context.Context, host, name string, labels map[string]string) error
	// Reload carries out one rung. It returns when the engine or the server has taken the request; that proves
	// nothing. A restart returns when the container runs again and is healthy, if it has a health check.
	Reload(ctx context.Context, t Target, how spec.Reload, env ReloadEnv) error
	// Dial connects to a port of a container from where it can be reached (DESIGN.md 2.4). An error that wraps
	// ErrNotHere means that there is no way from here.
	Dial(ctx context.Context, c Container, port int, couriers bool) (net.Conn, error)
}

// ReloadEnv is what some presets need to talk to a server over its own protocol.
type ReloadEnv struct {
	Container  Container
	Port       int      // of the binding's probe
	Client     *Issued  // a client certificate the server accepts, or nil
	Roots      [][]byte // DER of what the server's chain must verify with
	ServerName string
}

// Prober makes handshakes.
type Prober interface {
	// Probe dials and looks. It never fails: what went wrong is in the answer.
	Probe(ctx context.Context, r ProbeRequest) Served
}

// ProbeRequest says what to look at and with what.
type ProbeRequest struct {
	Dial       func(ctx context.Context) (net.Conn, error)
	Address    string // for the report
	Protocol   string // tls, postgres, redis
	ServerName string
	Roots      [][]byte // DER of the binding's trust
	ClientAuth spec.ClientAuth
	Good       *Issued // the client that must be accepted; nil if none can be made
	Foreign    *Issued // a client that must be refused
	User       string
	Database   string
	Timeout    time.Duration // of each handshake
	Now        time.Time
}
