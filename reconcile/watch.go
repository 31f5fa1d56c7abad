package reconcile

import (
	"context"
	"time"
)

const (
	together = time.Second // words that come within this time of the first make one pass
	glance   = time.Minute // timers stand still while a machine is suspended, its clock does not
)

// Watch calls pass at once and again and again until ctx ends: when a word comes from wake, when the time has come that
// the last pass named (zero for none), after interval at the latest, and after one that was not ok, within a second at
// first and twice as long each time, up to five minutes. pass is told why.
func Watch(ctx context.Context, clock func() time.Time, interval time.Duration, wake <-chan string, pass func(ctx context.Context, why string) (next time.Time, ok bool)) {
	retry := time.Duration(0)
	for why := "started"; why != ""; {
		next, ok := pass(ctx, why)
		now := clock().Round(0) // the wall's time alone
		due, reason := now.Add(interval), "interval"
		if !next.IsZero() && next.Before(due) {
			due, reason = next.Round(0), "due"
		}
		if retry = min(max(2*retry, firstRetry), lastRetry); ok {
			retry = 0
		} else if again := now.Add(retry); again.Before(due) {
			due, reason = again, "again after a failure"
		}
		why = await(ctx, clock, due, reason, wake)
	}
}

// await returns the word that came, or reason when due, or "" when ctx ended.
func await(ctx context.Context, clock func() time.Time, due time.Time, reason string, wake <-chan string) string {
	for {
		left := due.Sub(clock().Round(0))
		if left <= 0 {
			if ctx.Err() != nil {
				return ""
			}
			return reason
		}
		select {
		case <-ctx.Done():
			return ""
		case word := <-wake:
			gather(ctx, wake)
			return word
		case <-time.After(min(left, glance)):
		}
	}
}

// gather takes the words that come close after another.
func gather(ctx context.Context, wake <-chan string) {
	end := time.After(together)
	for {
		select {
		case <-ctx.Done():
			return
		case <-end:
			return
		case <-wake:
		}
	}
}
