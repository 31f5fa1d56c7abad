// Package web shows over HTTP what a running watch knows: whether it lives, whether it is up to date, numbers for
// Prometheus, and a page for people.
//
// It is told when a pass begins, of each step, and how the pass ended; from that it keeps a document, a list of numbers
// and a few times. It changes nothing, asks nothing, and keeps no value that holds a key.
package web

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"sync"
	"time"

	"github.com/certwright/certwright/reconcile"
)

// Options are what a Server has to know.
type Options struct {
	Version  string
	Interval time.Duration // a pass comes after it at the latest
	Now      func() time.Time
}

// Server serves what it was told. All methods may be called at once; those that tell it something do nothing where it is nil.
type Server struct {
	o       Options
	handler http.Handler
	counts  counts
	streams chan struct{} // as many as may be open

	mu       sync.Mutex
	heard    time.Time     // when the loop was last seen to move
	silence  time.Duration // that a pass may be in until it moves again
	began    time.Time     // of the pass that goes on
	full     time.Time     // when the last pass ended that looked at everything; zero for never
	trouble  Trouble       // of the pass that ended last
	document []byte
	tag      string
	bundles  map[string]bundle // by CA; nil until a pass could look
	series   series
	changed  chan struct{} // closed when a pass ends
}

// Trouble is what was wrong with a pass.
type Trouble string

// The troubles, the gravest first. Causes are bounded, as they are labels: texts of errors are in the log.
const (
	NoTrouble    Trouble = ""
	PassTrouble  Trouble = "pass"  // it could not look at everything, or not write down what it did
	SpecTrouble  Trouble = "spec"  // tls.yaml cannot be used, and the last good one was
	StepsTrouble Trouble = "steps" // a step failed
)

var troubles = []Trouble{PassTrouble, SpecTrouble, StepsTrouble}

// Pass is how a pass ended.
type Pass struct {
	Trouble   Trouble           // that there is since the last one over everything
	Status    *reconcile.Status // what it saw; nil when it could not look
	Part      bool              // it looked at the bindings in Status alone
	Converged bool              // as far as is known, after this pass
	Document  []byte            // the JSON to be served from now on
}

// New returns a server that has been told nothing yet.
func New(o Options) *Server {
	s := &Server{o: o, counts: newCounts(), streams: make(chan struct{}, maxStreams), heard: o.Now(), changed: make(chan struct{})}
	s.handler = s.routes()
	return s
}

// Begin says that a pass begins.
func (s *Server) Begin() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.began = s.o.Now()
	s.heard = s.began
}

// Moved says that a pass gets on, and that it may be so long until it does so again.
func (s *Server) Moved(next time.Duration) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard, s.silence = s.o.Now(), next
}

// Step counts a step when it has ended.
func (s *Server) Step(e reconcile.Event) {
	if s != nil {
		s.counts.step(e)
	}
}

// End says how the pass ended, and shows it.
func (s *Server) End(p Pass) {
	if s == nil {
		return
	}
	sum := sha256.Sum256(p.Document)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = s.o.Now()
	s.counts.pass(p.Trouble, s.heard.Sub(s.began))
	s.counts.converged.Set(number(p.Converged))
	if p.Status != nil && !p.Part {
		s.full, s.series = s.heard, seriesOf(p.Status)
		s.counts.success.Set(seconds(s.full))
	}
	if p.Status != nil && p.Part {
		s.series = s.series.with(p.Status.Bindings)
	}
	if p.Status != nil {
		s.bundles = bundlesOf(p.Status.CAs)
	}
	s.trouble, s.document, s.tag = p.Trouble, p.Document, `"`+hex.EncodeToString(sum[:16])+`"`
	close(s.changed)
	s.changed = make(chan struct{})
}

// shown is the document, its tag, and what is closed when there is another.
func (s *Server) shown() (document []byte, tag string, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.document, s.tag, s.changed
}
