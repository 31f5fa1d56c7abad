package reconcile

import (
	"errors"
	"maps"
	"time"
)

// record keeps what failed and forgets what succeeded, in one commit if there is anything new. What was skipped, was cut
// short, or came second to somebody else has not failed. Where the store itself is what does not work, nothing can be kept.
func (r *run) record(plan Plan) {
	now, before := r.Clock(), clone(r.st.Failures)
	maps.DeleteFunc(r.st.Failures, func(_ string, f Failure) bool { return !f.current(now) })
	for _, s := range plan.Steps {
		key, err := failureKey(s.Action), r.failed[s.ID]
		switch {
		case err == nil:
			delete(r.st.Failures, key)
		case key == "", r.ctx.Err() != nil, errors.Is(err, errSkipped), errors.Is(err, ErrChanged):
		default:
			r.st.Failures[key] = r.st.Failures[key].again(now, r.about(s.Action), r.st.Installation, r.longest(s.Action, now), errors.Unwrap(err))
		}
	}
	if r.broken == nil && !maps.Equal(before, r.st.Failures) {
		_ = r.commit()
	}
}

// longest is how long a step may wait at most: an issue not longer than a quarter of what its certificate still has, so that
// one that a CA refused for days, and then no more, is not missed.
func (r *run) longest(a Action, now time.Time) time.Duration {
	most := lastRefused
	if i, is := a.(Issue); is {
		most = min(most, r.ids[i.Identity].Lifetime/4)
		if left := r.st.Identities[i.Identity].NotAfter.Sub(now); left > 0 {
			most = min(most, left/4)
		}
	}
	return max(most, lastRetry)
}
