package acmeca

import (
	"fmt"
	"net"
	"sync"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
	"golang.org/x/net/netutil"
)

// maxConnections is how many a server that looks, or whoever else comes, may have open at once.
const maxConnections = 64

// listening answers challenges in this process.
type listening struct {
	end func() error

	mu      sync.Mutex
	answers map[string]any // by what is asked
}

// answer finds how challenges of a kind are answered, and has that done at a listener until it is closed.
func answer(kind string, ln net.Listener) (*listening, error) {
	l := &listening{}
	ln = netutil.LimitListener(ln, maxConnections)
	switch kind {
	case acme.ChallengeTypeHTTP01:
		l.end = l.serveHTTP(ln)
	case acme.ChallengeTypeTLSALPN01:
		l.end = l.serveTLS(ln)
	default:
		_ = ln.Close()
		return nil, fmt.Errorf("no listener proves names by %q", kind)
	}
	return l, nil
}

func (l *listening) give(all []acme.Challenge) error {
	answers := make(map[string]any, len(all))
	for _, c := range all {
		if c.Type != acme.ChallengeTypeTLSALPN01 {
			answers[c.HTTP01ResourcePath()] = c.KeyAuthorization
			continue
		}
		certificate, err := acmez.TLSALPN01ChallengeCert(c)
		if err != nil {
			return err
		}
		answers[serverName(c.Identifier)] = certificate
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answers = answers
	return nil
}

// Close implements io.Closer.
func (l *listening) Close() error { return l.end() }

// asked finds an answer, or nil.
func (l *listening) asked(what string) any {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.answers[what]
}
