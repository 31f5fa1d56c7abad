package reconcile_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/reconcile"
)

// TestWatch has a row for each thing that makes a pass; the passes are written down with their times.
func TestWatch(t *testing.T) {
	const interval = 5 * time.Minute
	for _, row := range []struct {
		name   string
		passes int
		next   func(n int) (in time.Duration, ok bool) // of pass n, from 1; 0 for never
		wakes  []time.Duration
		places []time.Duration
		jump   time.Duration // by which the clock is set on, or back, after a quarter of a minute
		want   string
	}{
		{name: "interval", passes: 3, want: "0s started, 5m0s interval, 10m0s interval"},
		{
			name: "due", passes: 3, next: func(n int) (time.Duration, bool) { return time.Duration(n) * 70 * time.Second, true },
			want: "0s started, 1m10s due, 3m30s due",
		},
		{
			name: "due later than the interval", passes: 2, next: func(int) (time.Duration, bool) { return time.Hour, true },
			want: "0s started, 5m0s interval",
		},
		{
			name: "failures", passes: 12, next: func(n int) (time.Duration, bool) { return 0, n > 10 },
			want: "0s started, 1s again after a failure, 3s again after a failure, 7s again after a failure, 15s again after a failure, " +
				"31s again after a failure, 1m3s again after a failure, 2m7s again after a failure, 4m15s again after a failure, " +
				"8m31s again after a failure, 13m31s interval, 18m31s interval",
		},
		{
			name: "words", passes: 3, wakes: []time.Duration{10 * time.Second, 10500 * time.Millisecond, 10900 * time.Millisecond, 20 * time.Second},
			want: "0s started, 11s word, 21s word",
		},
		{
			name: "places", passes: 4, places: []time.Duration{10 * time.Second, 10040 * time.Millisecond, 20 * time.Second},
			want: "0s started, 10.05s places changed, 20.05s places changed, 5m0s interval",
		},
		{
			name: "places, and then a word", passes: 3, places: []time.Duration{10 * time.Second}, wakes: []time.Duration{10020 * time.Millisecond},
			want: "0s started, 10.05s word, 5m10.05s interval",
		},
		{
			name: "places that fail", passes: 4, places: []time.Duration{10 * time.Second}, next: func(n int) (time.Duration, bool) { return 0, n != 2 },
			want: "0s started, 10.05s places changed, 11.05s again after a failure, 5m11.05s interval",
		},
		{name: "a suspended machine", passes: 2, jump: time.Hour, want: "0s started, 1h1m0s interval"},
		{name: "a clock that was ahead", passes: 3, jump: -time.Hour, want: "0s started, -59m0s interval, -54m0s interval"},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				var ahead atomic.Int64
				clock := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
				wake, places := make(chan string, 1), make(chan string, 1)
				for _, at := range row.places {
					time.AfterFunc(at, func() { places <- "place" })
				}
				for _, at := range row.wakes {
					time.AfterFunc(at, func() { wake <- "word" })
				}
				time.AfterFunc(15*time.Second, func() { ahead.Store(int64(row.jump)) })
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				got, n := "", 0
				heard := start
				hear := func() {
					if d := time.Since(heard); d > time.Minute {
						t.Errorf("nothing is heard of it for %s", d)
					}
					heard = time.Now()
				}
				w := reconcile.Watcher{Clock: clock, Interval: interval, Wake: wake, Places: places, Idle: hear}
				w.Pass = func(_ context.Context, why string) (time.Time, bool) {
					hear()
					if n++; n > 1 {
						got += ", "
					}
					got += fmt.Sprint(clock().Sub(start), " ", why)
					if n == row.passes {
						cancel()
					}
					if row.next == nil {
						return time.Time{}, true
					}
					in, ok := row.next(n)
					if in == 0 {
						return time.Time{}, ok
					}
					return clock().Add(in), ok
				}
				w.Watch(ctx)
				if d := cmp.Diff(row.want, got); d != "" {
					t.Errorf("-want +got\n%s", d)
				}
			})
		})
	}
}
