package dockertest

import (
	"strings"
	"sync"
	"testing"
)

// As many engines of their own may the tests of a process have at once: with more, a machine of two processors is so busy that
// what has a time limit fails by it.
const maxEngines = 6

var slots = struct {
	sync.Mutex
	freed *sync.Cond
	of    map[string]int // by test
	used  int
}{of: map[string]int{}}

func init() { slots.freed = sync.NewCond(&slots) }

// Reserve waits until so many engines may be started, and holds them until t ends: who starts engines does so by itself. A test
// that has some already gets more at once, or two such would wait for each other. So one that measures time first takes what
// others would start beside it.
func Reserve(t testing.TB, engines int) {
	t.Helper()
	test, _, _ := strings.Cut(t.Name(), "/")
	slots.Lock()
	defer slots.Unlock()
	for slots.of[test] == 0 && slots.used > 0 && slots.used+engines > maxEngines {
		slots.freed.Wait()
	}
	slots.of[test] += engines
	slots.used += engines
	t.Cleanup(func() {
		slots.Lock()
		defer slots.Unlock()
		slots.of[test] -= engines
		slots.used -= engines
		slots.freed.Broadcast()
	})
}
