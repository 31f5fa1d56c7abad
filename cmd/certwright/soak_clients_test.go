package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/certwright/certwright/providers/docker/dockertest"
	"github.com/certwright/certwright/providers/probe/load"
)

// clients keep connecting to a server, and check its certificate by the clock.
type clients struct {
	end    func() // ends them, and says whom the test is not to blame for
	ledger load.Ledger

	mu      sync.Mutex
	address string   // of the server's container, which gets another one when it starts
	good    load.Try // the last one that was let in
	failed  []load.Try
	away    []span
}

// span is a time in which the test itself has the server down; to is zero as long as it has.
type span struct{ from, to time.Time }

func (a span) excuses(try load.Try) bool {
	return try.Ended.After(a.from) && (a.to.IsZero() || try.Began.Before(a.to))
}

// connect lets them begin. One that meets an expired certificate is never the test's fault.
func (c *clients) connect(t *testing.T, m dockertest.Manager, config *tls.Config) {
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.ledger = load.Run(ctx, load.Config{
			Dial:     func(ctx context.Context) (net.Conn, error) { return m.Dial(ctx, c.at()) },
			Protocol: "tls", TLS: config, RatePerSecond: soakRate, Clients: 4, Timeout: 10 * time.Second,
			Each: func(try load.Try) {
				var bad x509.CertificateInvalidError
				if errors.As(try.Err, &bad) && bad.Reason == x509.Expired {
					t.Errorf("%s: %s: %v", try.Ended.Format(time.TimeOnly), config.ServerName, try.Err)
					return
				}
				c.note(try)
			},
		})
	}()
	c.end = sync.OnceFunc(func() {
		stop()
		<-ended
		c.judge(t, config.ServerName)
	})
	t.Cleanup(c.end)
}

func (c *clients) at() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.address
}

func (c *clients) saw() load.Try {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.good
}

func (c *clients) note(try load.Try) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case try.Err != nil:
		c.failed = append(c.failed, try)
	case try.Began.After(c.good.Began):
		c.good = try
	}
}

// down says that the test is about to have the server down.
func (c *clients) down() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.away = append(c.away, span{from: time.Now()})
}

// up says that the server is back, and where.
func (c *clients) up(address string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.address, c.away[len(c.away)-1].to = address, time.Now()
}

// judge says who failed at another time than when the server was down, and whether there were as many as meant.
func (c *clients) judge(t *testing.T, name string) {
	t.Helper()
	var down time.Duration
	for _, a := range c.away[1:] { // the first was before they began
		down += a.to.Sub(a.from)
	}
	for _, f := range c.failed {
		if !slices.ContainsFunc(c.away, func(a span) bool { return a.excuses(f) }) {
			t.Errorf("%s failed a client that came at %s, at %s: %v", name, f.Began.Format(time.TimeOnly), f.Ended.Format(time.TimeOnly), f.Err)
		}
	}
	delete(c.ledger.Serials, "")
	sum := c.ledger.Total()
	t.Logf("%s: %d connections, %d failed, down %d times for %s in all, %d certificates",
		name, sum.OK, len(c.failed), len(c.away)-1, down.Round(100*time.Millisecond), len(c.ledger.Serials))
	if least := soakRate * int((c.ledger.Took - down).Seconds()) * 9 / 10; sum.OK < least {
		t.Errorf("%s: %d connections, want %d at least", name, sum.OK, least)
	}
}
