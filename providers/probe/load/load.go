// Package load keeps clients connecting to a server while a test changes its certificates, and counts who was
// let down. It is for tests only.
//
// Every handshake is a full one on a connection of its own, verified as the TLS configuration says, and goes on
// until the server has answered over its own protocol: in TLS 1.3 a refused client learns of it only then.
package load

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/certwright/certwright/providers/probe/wire"
	"github.com/certwright/certwright/reconcile"
)

// Config says whom to load and how.
type Config struct {
	Dial     func(ctx context.Context) (net.Conn, error)
	Protocol string // of package wire; tls is a handshake and an HTTP request
	// TLS is used as it is, but without a session cache. Its certificates are the client's.
	TLS           *tls.Config
	User          string        // PostgreSQL's
	Database      string        // PostgreSQL's
	RatePerSecond int           // of all clients together
	Clients       int           // at work at the same time
	Timeout       time.Duration // of each connection
	Each          func(Try)     // is told of every connection, of several at once; may be nil
}

// Try is one connection.
type Try struct {
	Began, Ended time.Time
	Leaf         *x509.Certificate // that the server showed; nil where none was seen, or none that is good
	Err          error
}

// Count is how many handshakes ended how.
type Count struct{ OK, Failed int }

// Ledger is what came of a load.
type Ledger struct {
	Serials map[string]Count // by the leaf's serial as State writes it; "" where none was seen
	Errors  map[string]int   // what failed, in words, and how often
	Took    time.Duration
}

// Total sums up all serials.
func (l Ledger) Total() Count {
	var sum Count
	for _, c := range l.Serials {
		sum.OK += c.OK
		sum.Failed += c.Failed
	}
	return sum
}

// String is the ledger in words, for a test's message.
func (l Ledger) String() string {
	var b strings.Builder
	sum := l.Total()
	fmt.Fprintf(&b, "%d ok, %d failed in %s", sum.OK, sum.Failed, l.Took.Round(time.Millisecond))
	for _, serial := range slices.Sorted(maps.Keys(l.Serials)) {
		fmt.Fprintf(&b, "\n  serial %q: %d ok, %d failed", serial, l.Serials[serial].OK, l.Serials[serial].Failed)
	}
	for _, words := range slices.Sorted(maps.Keys(l.Errors)) {
		fmt.Fprintf(&b, "\n  %d times: %s", l.Errors[words], words)
	}
	return b.String()
}

// Run loads a server until ctx ends. Connections that are under way then are finished and counted, so it returns
// at most a Timeout later. When the clients cannot keep up with the rate, fewer connections are made.
func Run(ctx context.Context, c Config) Ledger {
	begin := time.Now()
	ledger := Ledger{Serials: map[string]Count{}, Errors: map[string]int{}}
	var mu sync.Mutex
	var clients sync.WaitGroup
	turns := make(chan struct{})
	for range c.Clients {
		clients.Go(func() {
			for range turns {
				try := Try{Began: time.Now()}
				try.Leaf, try.Err = c.once(context.WithoutCancel(ctx))
				try.Ended = time.Now()
				mu.Lock()
				ledger.add(try)
				mu.Unlock()
				if c.Each != nil {
					c.Each(try)
				}
			}
		})
	}
	tick := time.NewTicker(time.Second / time.Duration(c.RatePerSecond))
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			select {
			case turns <- struct{}{}:
			case <-ctx.Done():
			}
		}
	}
	close(turns)
	clients.Wait()
	ledger.Took = time.Since(begin)
	return ledger
}

func (l *Ledger) add(t Try) {
	serial := ""
	if t.Leaf != nil {
		serial = hex.EncodeToString(t.Leaf.SerialNumber.Bytes())
	}
	count := l.Serials[serial]
	if t.Err == nil {
		count.OK++
	} else {
		count.Failed++
		l.Errors[wire.Words(t.Err)]++
	}
	l.Serials[serial] = count
}

// once makes one connection, and returns the leaf it saw even when it fails.
func (c Config) once(ctx context.Context) (leaf *x509.Certificate, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	raw, err := c.Dial(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = raw.Close() }()
	defer context.AfterFunc(ctx, func() { _ = raw.Close() })()
	defer func() {
		if err != nil && ctx.Err() != nil {
			err = fmt.Errorf("no answer within %s", c.Timeout)
		}
	}()
	if err := wire.StartTLS(raw, c.Protocol); err != nil {
		return nil, err
	}
	config := c.TLS.Clone()
	config.ClientSessionCache = nil
	conn := tls.Client(raw, config)
	err = conn.HandshakeContext(ctx)
	if peers := conn.ConnectionState().PeerCertificates; len(peers) > 0 {
		leaf = peers[0]
	}
	if err != nil {
		return leaf, err
	}
	defer func() { _ = conn.Close() }()
	answer, err := wire.Ask(conn, wire.Question{Protocol: c.Protocol, Host: config.ServerName, User: c.User, Database: c.Database})
	if answer != reconcile.LetIn && err == nil {
		err = errors.New("nothing was learned")
	}
	return leaf, err
}
