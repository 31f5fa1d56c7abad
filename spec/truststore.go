package spec

// TrustStore is the store of roots that a container has of its own.
type TrustStore struct {
	Kind     TrustKind
	Database string // of NSSStore: the directory of the database in the container
}

// TrustKind is a kind of trust store as tls.yaml names it.
type TrustKind string

// The kinds of trust stores.
const (
	SystemStore TrustKind = "system" // of the distribution, or the bundle file that stands for it
	JavaStore   TrustKind = "java"   // cacerts of the JVM
	NSSStore    TrustKind = "nss"    // an NSS database
)

var trustStores = []TrustKind{SystemStore, JavaStore, NSSStore}

// trustStore reads which store of a container is meant; nil when that is none.
func (p *parser) trustStore(m *mapping, v value) *TrustStore {
	s := &TrustStore{Kind: choice(p, v, "trust store", trustStores)}
	path := m.get("path")
	switch {
	case s.Kind == "":
		return nil
	case s.Kind == NSSStore && path.node == nil:
		p.errorf(v, "needs the `path` of the database in the container, as /etc/pki/nssdb")
	case s.Kind == NSSStore:
		s.Database = p.inContainer(path)
	case path.node != nil:
		p.errorf(path, "goes with the trust store nss alone: where the others are is found out")
	}
	return s
}
