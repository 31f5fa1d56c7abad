package reconcile

import (
	"slices"
	"sync"
	"time"

	"github.com/certwright/certwright/spec"
)

// trusted is how long Evidence stands for what it was given with: not every file system tells of every change.
const trusted = time.Hour

// Memory is what places held when they were read last, so that who looks again and again reads only what has changed. Its
// zero value is ready; nil remembers nothing.
type Memory struct {
	places map[Location]sight
	broken bool // the store, when it was written last

	mu     sync.Mutex // guards what follows
	absent map[string]absence
}

// keeps remembers whether the store could be written.
func (m *Memory) keeps(could bool) {
	if m != nil {
		m.broken = !could
	}
}

func (m *Memory) unkept() bool { return m != nil && m.broken }

// sight is one place as it was read.
type sight struct {
	evidence Evidence
	state    PlaceState
	at       time.Time
}

// of is the Evidence to ask for a place with; nil where there is none to ask for. What files with a password hold depends on
// more than the file.
func (m *Memory) of(at Location, b *spec.Binding, now time.Time) *Evidence {
	if m == nil || slices.ContainsFunc(b.Files, func(f spec.File) bool { return f.Password != nil }) {
		return nil
	}
	s := m.places[at]
	if now.Sub(s.at).Abs() > trusted {
		s.evidence = ""
	}
	return &s.evidence
}

// same gives the state of before when the answer is that nothing has changed.
func (m *Memory) same(q PlaceQuery, c PlaceContent) (PlaceState, bool) {
	if q.Seen == nil || *q.Seen == "" || c.Evidence != *q.Seen || c.Err != nil {
		return PlaceState{}, false
	}
	return m.places[q.At].state, true
}

// keep remembers an answer.
func (m *Memory) keep(q PlaceQuery, c PlaceContent, state PlaceState, now time.Time) {
	if q.Seen == nil || *q.Seen != "" && c.Evidence == *q.Seen {
		return
	}
	if c.Evidence == "" || state.Err != "" {
		delete(m.places, q.At)
		return
	}
	if m.places == nil {
		m.places = map[Location]sight{}
	}
	m.places[q.At] = sight{c.Evidence, state, now}
}
