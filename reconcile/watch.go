package reconcile

import (
	"context"
	"time"
)

const (
	together = time.Second           // words that come within this time of the first make one pass
	briefly  = 50 * time.Millisecond // … of changed places alone, which are written in several steps
	glance   = time.Minute           // timers stand still while a machine is suspended, its clock does not
)

// Why passes are made, beside the words that wake a Watcher.
const (
	Started    = "started"
	InPlaces   = "places changed" // and it need only look at those
	AtInterval = "interval"
)

// Watcher makes pass after pass.
type Watcher struct {
	Clock    func() time.Time
	Interval time.Duration // between two passes at most
	Wake     <-chan string // why to make one
	Places   <-chan string // places that changed
	// Idle is called while it waits, once a minute at least.
	Idle func()
	// Pass makes one, and says when time alone makes another one needed (zero for never), and whether it went well.
	Pass func(ctx context.Context, why string) (next time.Time, ok bool)
}

// Watch makes a pass at once and again and again until ctx ends: when a word comes, when the time has come that a pass
// named, after the interval at the latest, and after one that did not go well, within a second at first and twice as long
// each time, up to five minutes. One that is made InPlaces puts off nothing.
func (w Watcher) Watch(ctx context.Context) {
	var retry time.Duration
	var due time.Time
	var reason string
	for why := Started; why != ""; why = w.await(ctx, due, reason) {
		next, ok := w.Pass(ctx, why)
		now := w.Clock().Round(0) // the wall's time alone
		if why != InPlaces {
			due, reason = now.Add(w.Interval), AtInterval
		}
		if !next.IsZero() && next.Before(due) {
			due, reason = next.Round(0), "due"
		}
		switch {
		case !ok:
			retry = min(max(2*retry, firstRetry), lastRetry)
		case why != InPlaces:
			retry = 0
		}
		if again := now.Add(retry); !ok && again.Before(due) {
			due, reason = again, "again after a failure"
		}
	}
}

// await returns the word that came, or reason when due, or "" when ctx ended. What seems further away than the interval is
// due as well: the clock was set back since.
func (w Watcher) await(ctx context.Context, due time.Time, reason string) string {
	for {
		w.Idle()
		left := due.Sub(w.Clock().Round(0))
		if left <= 0 || left > w.Interval {
			if ctx.Err() != nil {
				return ""
			}
			return reason
		}
		select {
		case <-ctx.Done():
			return ""
		case word := <-w.Wake:
			w.gather(ctx, together)
			return word
		case <-w.Places:
			if word := w.gather(ctx, briefly); word != "" {
				return word
			}
			return InPlaces
		case <-time.After(min(left, glance)):
		}
	}
}

// gather takes the words that come close after another, and returns one that is not about places alone, if there is one.
func (w Watcher) gather(ctx context.Context, within time.Duration) (word string) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		select {
		case <-ctx.Done():
			return word
		case word = <-w.Wake:
		case <-w.Places:
		}
	}
}
