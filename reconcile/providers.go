package reconcile

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"strconv"
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
	Daemons   Daemons            // nil where there are none
	Outside   map[string]Outside // by spec.CA.Kind
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
	// ErrExited: a container was sent a signal, and ended.
	ErrExited = errors.New("the container exited on it")
	// ErrRefused: a CA was asked, and will not issue this. Another answer needs another question, or hours.
	ErrRefused = errors.New("refused")
	// ErrOtherKey: what a CA kept a key for is over, since the identity is not to have that key again.
	ErrOtherKey = errors.New("another key is wanted")
)

// RetryAfter is an error of someone who said how long not to be asked again, as a CA does in a Retry-After header
// (RFC 9110 section 10.2.3).
type RetryAfter struct {
	Err  error
	Wait time.Duration
	// One: it said so of what it was asked for, and may be asked for something else.
	One bool
}

func (e RetryAfter) Error() string { return e.Err.Error() }

// ParseRetryAfter reads what such a header says, seconds or a date; zero when it says nothing, or what is over.
func ParseRetryAfter(header string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(header); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// Unwrap gives the error itself.
func (e RetryAfter) Unwrap() error { return e.Err }

// Away is an error of a CA that gave no answer at all, or of a host that gave none within a question's time limit: its text says
// which question. As after a RetryAfter, it is of no use to ask for something else in the same pass.
type Away struct{ Err error }

func (e Away) Error() string { return e.Err.Error() }

// Unwrap gives the error itself.
func (e Away) Unwrap() error { return e.Err }

// Store keeps the State.
type Store interface {
	// Load returns the state as it was last committed, or ErrNoStore. Damaged, foreign or undecryptable state is
	// any other error, and never an empty state. It may be given to others as well: who changes it changes a Clone.
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
	// Root reads the certificate of a CA of which the key is elsewhere, as DER: a file of exactly one.
	Root(file string) ([]byte, error)
	// Roots reads those of a CA outside: a file of certificates of which each is a root.
	Roots(file string) ([][]byte, error)
	// TakeIn makes a generation without a key of a root of a CA outside.
	TakeIn(root []byte, id int, now time.Time) (Generation, error)
	// Request makes a CSR for id, with the key to keep or, where that is empty, a new one.
	Request(id spec.Identity, reuse PrivateKey) (csr []byte, key PrivateKey, err error)
	// Accept takes a chain that a CA outside answered to a CSR, the leaf first; what it gives has no key. It is an error
	// unless the leaf is of the CSR's key, leads to one of the roots, is valid now, and has the names and usages of id and
	// no name more.
	Accept(id spec.Identity, csr []byte, chain, roots [][]byte, now time.Time) (Issued, error)
	// Requested reads a CSR that somebody else made, as an identity without usages and lifetime.
	Requested(csr []byte) (spec.Identity, error)
	// Certify signs a CSR for an identity, and gives the leaf and what leads to the root, without that.
	Certify(id spec.Identity, csr []byte, by Generation, now time.Time) (chain [][]byte, err error)
	// Check proves that a generation can sign: its key opens, belongs to its certificate, and the certificate has
	// not expired. It is called on what was read back from the store before the first use.
	Check(g Generation, now time.Time) error
	// Issue signs a certificate for id. reuse is the key to keep, or empty for a new one. The names are checked
	// against the constraints of every CA of the chain first. The leaf never outlives its issuers.
	Issue(id spec.Identity, by Generation, reuse PrivateKey, now time.Time) (Issued, error)
	// Read takes an identity that something else issued from its files, and checks that key, certificate and CA
	// belong together.
	Read(id spec.Identity) (Issued, error)
	// BringIdentity takes an identity that was brought along from its files. It is an error unless by signed the certificate,
	// the key is its key and of the kind that id wants, it has the names and the usages of id, and it has not expired.
	BringIdentity(id spec.Identity, by Generation) (Issued, error)
	// Client makes a client certificate of five minutes that is never stored: the probe's own.
	Client(by Generation, now time.Time) (Issued, error)
}

// Outside is one kind of CA that is asked to sign. Nothing it answers is believed before Authority.Accept has seen it.
type Outside interface {
	// Roots fetches the roots of a CA of which the spec names no file. They are pinned from then on.
	Roots(ctx context.Context, ca spec.CA) ([][]byte, error)
	// Sign asks for a certificate, and returns it with what leads from it to a root, as DER, the leaf first. An error that
	// wraps ErrRefused says that the CA will not, a RetryAfter when to ask again, an Away that it gave no answer; others pass.
	Sign(ctx context.Context, ca spec.CA, q SigningRequest) (chain [][]byte, err error)
}

// Adviser is an Outside that also says when what it issued is to be renewed, as before it revokes many at once.
type Adviser interface {
	// Advice asks when to renew certificates (DER). It answers in their order, with the zero Window where nothing is to be
	// had: no answer is no reason to fail. It is asked in every pass, and may remember. roots are those of SigningRequest.
	Advice(ctx context.Context, ca spec.CA, certificates, roots [][]byte, now time.Time) []Window
}

// Revoker is an Outside that can take back what it issued.
type Revoker interface {
	// Revoke has a certificate revoked. One that is revoked already is none the less. The errors are those of Sign.
	Revoke(ctx context.Context, ca spec.CA, q RevocationRequest) error
}

// RevocationRequest is what a CA outside is to revoke.
type RevocationRequest struct {
	Serial string   // hex
	Own    *Issued  // the certificate and its key, while it is valid; nil where they are not known
	Roots  [][]byte // those of SigningRequest
	Now    time.Time
}

// SigningRequest is what a CA outside is asked for.
type SigningRequest struct {
	Identity spec.Identity
	CSR      []byte   // DER
	Roots    [][]byte // DER, what the answer has to lead to
	Current  *Issued  // what the identity has of this CA, where it is still good and what is asked for, or nil
	Now      time.Time
	// Key is what the CSR is of. A CA that may be asked again for what it was asked already keeps it, and then has Resume
	// make the CSR of the key it kept. The answer is taken for the key that Resume was called with last. ErrOtherKey wants the CA
	// to begin anew, with Key.
	Key    PrivateKey
	Resume func(kept PrivateKey) (csr []byte, err error)
	// Accepts reports whether a chain is what Authority.Accept takes for the CSR made last, at a time. A CA that keeps what it
	// was answered asks anew where that is not.
	Accepts func(chain [][]byte, at time.Time) bool
	// Kept is what Keep kept for this CA last, in the store and as secret as a key: an account, an order under way.
	Kept func() []byte
	Keep func(kept []byte) error
}

// Holding is what a file holds, whatever its format.
type Holding struct {
	Certificates [][]byte // DER, in order; order does not count in truststores
	Key          PrivateKey
	KeyFirst     bool // the key stands before the certificates
	Context      DockerContext
}

// DockerContext is what the description of a docker context says. It verifies the engine always.
type DockerContext struct{ Name, Endpoint string }

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
	// Write puts each unit in its place, all or nothing (DESIGN.md 2.2), durable when it returns, and gives the place
	// DirMode as well where its directory does not admit the files. ErrForeign
	// when something at one of the names is not ours and Adopt is false, ErrChanged when what is there has a mark of a
	// later version. Writing the same again succeeds.
	Write(ctx context.Context, units []Unit) []error
	// Remove takes away what Write put there, and only that. Removing what is not there succeeds.
	Remove(ctx context.Context, removals []Removal) []error
}

// PlaceQuery asks for the files of a place.
type PlaceQuery struct {
	At    Location
	Files []string
	// Seen is the Evidence that came with an answer that is still at hand, "" where there is none. Nil asks for no Evidence.
	Seen *Evidence
	// Strays asks for certificates in other files of the place as well.
	Strays bool
}

// Evidence is what directories and files of a place show without being read: a place of the same Evidence holds the same. ""
// is none.
type Evidence string

// PlaceContent is the answer to a PlaceQuery: a PlaceState before its files were decoded.
type PlaceContent struct {
	Err        error
	Exists     bool
	Dir        DirState
	Born       time.Time
	Mark       *Mark
	Layout     spec.Layout
	Generation fs.FileMode
	Files      map[string]FileContent // every name asked for
	Strays     []Stray                // where they were asked for, of the first files by name
	Evidence   Evidence               // where it was asked for; that of the query when nothing has changed, and then nothing else is said
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
	// Backups is the directory that what is adopted goes into, by the time; "" keeps it in the place.
	Backups string
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

// Engines are the Docker engines by host name. What an engine did not answer in time is an Away, here and of Places. Where a
// context ends by its deadline, or by context.DeadlineExceeded as its cause, methods return within a second or two.
type Engines interface {
	// List returns the containers and volumes of a host in a number of calls that does not depend on how many
	// there are. An engine that does not answer is an EngineState with Err.
	List(ctx context.Context, host string) EngineState
	// Owner finds the user of a container by name or number ("" for the one it runs as), in its own terms.
	Owner(ctx context.Context, host, container, user string) (Owner, error)
	// Started is when a container started last, or when it did once where that is not before since: it never starts earlier.
	Started(ctx context.Context, host, container string, since time.Time) (time.Time, error)
	// Ending is how a container that exited did.
	Ending(ctx context.Context, host, container string) (Ending, error)
	// CreateVolume makes a volume; one of that name that is there already is success.
	CreateVolume(ctx context.Context, host, name string, labels map[string]string) error
	// Reload carries out one rung. It returns when the engine or the server has taken the request; that proves
	// nothing. ErrExited says that the container ended of a signal. A restart returns when the container runs again and is healthy, if it has a health check.
	Reload(ctx context.Context, t Target, how spec.Reload, env ReloadEnv) error
	// Dial connects to a port of a container from where it can be reached (DESIGN.md 2.4). An error that wraps
	// ErrNotHere means that there is no way from here, and a Within that there is one from the container's own network alone.
	Dial(ctx context.Context, c Container, port int, couriers bool) (net.Conn, error)
}

// Within is a connection to the loopback of a container of which the addresses, if it has any, do not answer.
type Within struct{ net.Conn }

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
	Protocol   string // of spec.Probe
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
