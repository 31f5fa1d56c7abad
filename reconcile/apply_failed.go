package reconcile

import (
	"errors"
	"maps"
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
			r.st.Failures[key] = r.st.Failures[key].again(now, r.about(s.Action), r.st.Installation, errors.Unwrap(err))
		}
	}
	if r.broken == nil && !maps.Equal(before, r.st.Failures) {
		_ = r.commit()
	}
}
