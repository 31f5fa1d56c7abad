package dockertest

import (
	"sync"
	"testing"
)

// As many engines of their own may the tests of a process have at once: with more, a machine of two processors is so busy that
// what has a time limit fails by it.
const maxEngines = 6

var (
	slots = make(chan struct{}, maxEngines)
	turn  sync.Mutex // one after the other takes all it wants, so that none waits for another in a circle
)

// Reserve waits until so many engines may be started, at most all, and holds them until the test ends: who starts engines does
// so by itself. A test that measures time takes those as well that others would start beside it.
func Reserve(t testing.TB, engines int) {
	t.Helper()
	engines = min(engines, maxEngines)
	turn.Lock()
	for range engines {
		slots <- struct{}{}
	}
	turn.Unlock()
	t.Cleanup(func() {
		for range engines {
			<-slots
		}
	})
}
