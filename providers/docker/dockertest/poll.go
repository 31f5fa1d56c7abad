package dockertest

import (
	"testing"
	"time"
)

// Patience is for that of which nothing says how long it may take: an engine, a node or a server is up, a service says that it is well.
// On a machine that is busy with other tests it takes long.
const Patience = 3 * time.Minute

// Poll calls try every 25 ms until it returns nil, and fails the test with its last error when the deadline is
// over. what names what is waited for.
func Poll(t testing.TB, deadline time.Duration, what string, try func() error) {
	t.Helper()
	end := time.NewTimer(deadline)
	defer end.Stop()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-end.C:
			t.Fatalf("waited %s for %s: %v", deadline, what, err)
		case <-tick.C:
		}
	}
}
