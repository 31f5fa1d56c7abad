package reconcile

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/certwright/certwright/spec"
)

// SwarmCA is what a Swarm says of the CA that issues the certificates of its nodes.
type SwarmCA struct {
	Err      string // why it could not be asked; the rest is then empty
	Root     string // the SHA-256 of the root every node trusts, in lower-case hex
	NotAfter time.Time
	// Certificate is the root's, as DER.
	Certificate []byte
	Issuer      string        // stands for what signs now: another key than the root's during a rotation
	Lifetime    time.Duration // of the certificates of nodes
	Rotating    bool          // not every node has a certificate of the new root yet
	Forced      uint64        // Swarm's own counter of forced rotations
	External    []ExternalCA  // that may sign in its place
	Autolock    bool          // a manager that starts again wants a key before it reads what it has on disk
	Foreign     string        // why Swarm cannot rotate its root by itself as it is, or ""
	Labels      map[string]string
	Nodes       []SwarmNode // by name
}

// ExternalCA is a server that signs the certificates of nodes with a root of which Swarm has no key.
type ExternalCA struct {
	URL, Root string // Root as that of SwarmCA
}

// Signers are where the external CAs are that have the present root.
func (c SwarmCA) Signers() (urls []string) {
	for _, e := range c.External {
		if e.Root == c.Root {
			urls = append(urls, e.URL)
		}
	}
	return urls
}

// IssuerOf stands for what signs by the DER of its name and of its public key.
func IssuerOf(subject, key []byte) string { return string(digest(string(subject) + string(key))) }

// NodeCA is an external CA, with the DER of the certificate it signs with.
type NodeCA struct {
	URL  string
	Root []byte
}

// root is as that of a SwarmCA.
func (n NodeCA) root() string { return string(digest(string(n.Root))) }

// issuer is as that of a SwarmCA.
func (n NodeCA) issuer() (string, error) {
	c, err := x509.ParseCertificate(n.Root)
	if err != nil {
		return "", err
	}
	return IssuerOf(c.RawSubject, c.RawSubjectPublicKeyInfo), nil
}

// SwarmNode is a node of a Swarm, and the certificate it says it has.
type SwarmNode struct {
	Name         string // of its host
	State        string // ready, down, disconnected, unknown
	Root, Issuer string // as those of SwarmCA; "" when it did not say
	Address      string // HOST:PORT where a manager talks to the other nodes; "" of one that is none
	Served       Served // there, where Managers has looked
}

// SwarmUpdate is a change of a Swarm's CA.
type SwarmUpdate struct {
	Forced   uint64 // as it was seen, and so were Rotating and Root; where one is another by now, nothing is changed
	Rotating bool
	Root     string
	Labels   map[string]string // that are to be there besides those that are
	Lifetime time.Duration     // of the certificates of nodes; 0 leaves it
	Rotate   bool              // to a new root of its own
	External *NodeCA           // that is to sign; nil leaves it. Its root is rotated to where it is another one
}

// Nodes in these states are there, and are not.
const (
	nodeReady = "ready"
	nodeDown  = "down"
)

// The states of a node's certificate, in the words of `docker node ls`.
const (
	tlsReady   = "ready"
	tlsOld     = "needs rotation"
	tlsUnknown = "unknown"
)

// TLS says whether a node has a certificate of the present issuer and trusts the present root.
func (c SwarmCA) TLS(n SwarmNode) string {
	switch {
	case n.Issuer == "":
		return tlsUnknown
	case n.Issuer == c.Issuer && n.Root == c.Root:
		return tlsReady
	}
	return tlsOld
}

// behind are the nodes that have not got so far.
func (c SwarmCA) behind() []SwarmNode {
	return slices.DeleteFunc(slices.Clone(c.Nodes), func(n SwarmNode) bool { return c.TLS(n) == tlsReady })
}

// absent are the nodes that are not there, as far as Swarm knows.
func absent(nodes []SwarmNode) []SwarmNode {
	return slices.DeleteFunc(slices.Clone(nodes), func(n SwarmNode) bool { return n.State == nodeReady })
}

// stuck reports whether a rotation waits for nodes that are down and for no other.
func (c SwarmCA) stuck() bool {
	behind := c.behind()
	return c.Rotating && len(behind) > 0 && !slices.ContainsFunc(behind, func(n SwarmNode) bool { return n.State != nodeDown })
}

// progress says how far a rotation is: first every node gets a certificate of the new root, then Swarm drops the old one.
func (c SwarmCA) progress() string {
	behind := c.behind()
	done, has := len(c.Nodes)-len(behind), "trust the new root alone"
	if c.Rotating {
		has = "have a certificate of the new root"
	}
	s := fmt.Sprintf("%d/%d nodes %s", done, len(c.Nodes), has)
	if len(behind) > 0 {
		s += ", waits for " + nodeNames(behind)
	}
	return s
}

// nodeNames lists nodes, those that are not there with their state.
func nodeNames(nodes []SwarmNode) string {
	names := make([]string, len(nodes))
	for i, n := range nodes {
		names[i] = n.Name
		if n.State != nodeReady {
			names[i] += " (" + n.State + ")"
		}
	}
	return strings.Join(names, ", ")
}

// rotationLabel is where the spec of a Swarm itself keeps a project's counter of rotations. So the counter and the
// rotation are one update, of which Swarm takes all or nothing: whoever asks next, from wherever and with whichever
// store, sees whether it was done.
func rotationLabel(project string) string { return "certwright.rotation." + project }

// rotation is the counter of a project, unless there is none that can be read.
func (c SwarmCA) rotation(project string) (n int, known bool) {
	n, err := strconv.Atoi(c.Labels[rotationLabel(project)])
	return n, err == nil
}

// ofSwarm is the subject of what is done to the Swarm of a host.
func ofSwarm(host string) string { return "swarm/" + host }

// RecordRotation notes the counter of rotations with the Swarm, without rotating.
type RecordRotation struct {
	steady
	Host     string
	Rotation int
}

// SetNodeLifetime says how long the certificates of nodes are to live from their next renewal on.
type SetNodeLifetime struct {
	steady
	Host     string
	Lifetime time.Duration
}

// RotateSwarm gives a Swarm a new root, and follows until every node that is there has a certificate of it.
type RotateSwarm struct {
	steady
	Host     string
	Rotation int     // the counter that is noted with it
	To       *NodeCA // of which the root is, instead of one that Swarm makes, and then there is no counter
	Nodes    int
}

// SetNodeCA lets an external CA sign with the root that the nodes trust already.
type SetNodeCA struct {
	steady
	Host    string
	CA      NodeCA
	GivesUp bool // the nodes were being given another root, and go back
}

// AwaitRotation follows a rotation that is under way.
type AwaitRotation struct {
	steady
	Host string
}

func (RecordRotation) Kind() string  { return "record-rotation" }
func (SetNodeLifetime) Kind() string { return "set-node-lifetime" }
func (RotateSwarm) Kind() string     { return "rotate-swarm" }
func (SetNodeCA) Kind() string       { return "set-node-ca" }
func (AwaitRotation) Kind() string   { return "await-rotation" }

func (a RecordRotation) Subject() string  { return ofSwarm(a.Host) }
func (a SetNodeLifetime) Subject() string { return ofSwarm(a.Host) }
func (a RotateSwarm) Subject() string     { return ofSwarm(a.Host) }
func (a SetNodeCA) Subject() string       { return ofSwarm(a.Host) }
func (a AwaitRotation) Subject() string   { return ofSwarm(a.Host) }

func (a RecordRotation) String() string {
	return fmt.Sprintf("note rotation %d of the Swarm's root", a.Rotation)
}

func (a SetNodeLifetime) String() string {
	return "let the Swarm's node certificates live " + spec.FormatDuration(a.Lifetime)
}

func (a RotateSwarm) String() string {
	to := ""
	if a.To != nil {
		to = " to that of " + a.To.URL
	}
	return fmt.Sprintf("rotate the Swarm's root on %d nodes%s, which changes its join tokens", a.Nodes, to)
}

func (a SetNodeCA) String() string {
	if a.GivesUp {
		return "give up the rotation of the Swarm's root, and keep that of " + a.CA.URL
	}
	return "let " + a.CA.URL + " sign the certificates of the Swarm's nodes"
}
func (AwaitRotation) String() string { return "follow the rotation of the Swarm's root" }
