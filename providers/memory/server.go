package memory

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// Behaviour says when a server loads its files after its start.
type Behaviour string

// The behaviours of servers.
const (
	Reloads  Behaviour = "reloads"  // when it is asked to, by its signal or in any other way
	Restarts Behaviour = "restarts" // never; a signal does nothing
	Lies     Behaviour = "lies"     // never, and not on a restart either: it serves a copy made at its first start
	Crashes  Behaviour = "crashes"  // it exits when it is restarted with another certificate
	Dies     Behaviour = "dies"     // it exits on any signal
	Breaks   Behaviour = "breaks"   // as Reloads, but files that are no pair leave it with none
	Notices  Behaviour = "notices"  // by itself, whenever someone connects
)

// Server is what serves TLS in a container. Its files are PEM and named as the container sees them.
type Server struct {
	Port       int
	Cert, Key  string // Cert holds the leaf and its chain; both may be one file
	CA         string // the CAs of its clients; "" unless it asks for certificates
	Behaviour  Behaviour
	Signal     string // the one it reloads on; HUP if empty
	ClientAuth spec.ClientAuth
}

// loaded is what a server has in its hands.
type loaded struct {
	chain []*x509.Certificate
	ca    []*x509.Certificate
}

func (l *loaded) serial() string { return hex.EncodeToString(l.chain[0].SerialNumber.Bytes()) }

// loadServer reads what the container's server would start with. The key must belong to the leaf.
func (w *World) loadServer(c *container) (*loaded, error) {
	if c.Server.Behaviour == Lies && c.first != nil {
		return c.first, nil
	}
	cert, err := w.read(c, c.Server.Cert)
	if err != nil {
		return nil, err
	}
	key, err := w.read(c, c.Server.Key)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("%s and %s: %w", c.Server.Cert, c.Server.Key, err)
	}
	l := &loaded{}
	for _, der := range pair.Certificate {
		one, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		l.chain = append(l.chain, one)
	}
	if c.Server.CA == "" {
		return l, nil
	}
	bundle, err := w.read(c, c.Server.CA)
	if err != nil {
		return nil, err
	}
	l.ca, err = certificates(bundle)
	return l, err
}

func certificates(bundle []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for {
		var block *pem.Block
		if block, bundle = pem.Decode(bundle); block == nil {
			break
		}
		one, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	if len(all) == 0 {
		return nil, errors.New("a CA bundle without a certificate")
	}
	return all, nil
}

// reload is what a running server makes of a rung. A pair it cannot load leaves it with the one it has.
func (w *World) reload(c *container, how spec.Reload) error {
	s := c.Server
	p, _ := spec.PresetNamed(how.Preset)
	signalled := how.Signal != "" || p.Act.Signal != ""
	switch {
	case s == nil:
	case s.Behaviour == Dies && signalled:
		c.State, c.loaded = "exited", nil
		return reconcile.ErrExited
	case s.Behaviour != Reloads && s.Behaviour != Breaks, how.Signal != "" && how.Signal != s.signal():
	default:
		if l, err := w.loadServer(c); err == nil || s.Behaviour == Breaks {
			c.loaded = l
		}
	}
	return nil
}

func (s *Server) signal() string {
	if s.Signal == "" {
		return "HUP"
	}
	return s.Signal
}
