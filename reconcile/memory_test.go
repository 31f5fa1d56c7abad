package reconcile

import (
	"testing"
	"time"

	"github.com/certwright/certwright/spec"
)

// TestMemory remembers a place for an hour, as long as its Evidence is the same.
func TestMemory(t *testing.T) {
	m, at, b := &Memory{}, Location{Dir: "/web"}, &spec.Binding{Files: []spec.File{{Name: "cert.pem"}}}
	start := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	ask := func(after time.Duration, want Evidence) PlaceQuery {
		t.Helper()
		seen := m.of(at, b, start.Add(after))
		if seen == nil || *seen != want {
			t.Fatalf("after %s it asks with %v, want %q", after, seen, want)
		}
		return PlaceQuery{At: at, Seen: seen}
	}
	answer := func(q PlaceQuery, after time.Duration, c PlaceContent, exists, want bool) {
		t.Helper()
		state, same := m.same(q, c)
		if same != want || same && !state.Exists {
			t.Fatalf("after %s the state of before stands: %t, with %v", after, same, state)
		}
		if !same {
			state = PlaceState{Exists: exists}
		}
		m.keep(q, c, state, start.Add(after))
	}
	answer(ask(0, ""), 0, PlaceContent{Evidence: "one"}, true, false)
	answer(ask(time.Minute, "one"), time.Minute, PlaceContent{Evidence: "one"}, false, true)
	// That it was the same does not make it younger.
	q := ask(time.Hour+time.Second, "")
	answer(q, time.Hour+time.Second, PlaceContent{Evidence: "one"}, true, false)
	ask(time.Hour+time.Minute, "one")
	ask(-time.Hour, "") // the clock was set back
	answer(ask(time.Hour+time.Minute, "one"), time.Hour+time.Minute, PlaceContent{Evidence: "two"}, true, false)
	answer(ask(time.Hour+2*time.Minute, "two"), time.Hour+2*time.Minute, PlaceContent{}, true, false)
	ask(time.Hour+3*time.Minute, "")

	b.Files[0].Password = &spec.Source{}
	if m.of(at, b, start) != nil {
		t.Error("it remembers what a file holds that has a password")
	}
	var none *Memory
	if none.of(at, b, start) != nil {
		t.Error("nobody asks for Evidence")
	}
}
