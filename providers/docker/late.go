package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/certwright/certwright/reconcile"
)

// leastWait is how long a question has to be open for its engine to be to blame when the time is over: the rest may have gone
// to others before it.
const leastWait = time.Second

// timely is a transport that tells an engine that does not answer in time from whatever else fails: it is reconcile.Away then,
// by the name of the call.
type timely struct {
	http.RoundTripper
	engine string // as people know it: core-02 at tcp://core-02:2376
}

// RoundTrip implements http.RoundTripper.
func (t timely) RoundTrip(r *http.Request) (*http.Response, error) {
	began := time.Now()
	answer, err := t.RoundTripper.RoundTrip(r)
	if !isQuestion(r) {
		return answer, err
	}
	late := func(err error) error {
		if !toBlame(r.Context(), began) {
			return err
		}
		return away(t.engine, callOf(r.Method, r.URL.Path))
	}
	if err != nil {
		return answer, late(err)
	}
	answer.Body = timelyBody{answer.Body, late}
	return answer, nil
}

// away is the error of an engine that did not answer a call in time.
func away(engine, call string) error {
	return reconcile.Away{Err: unanswered(fmt.Sprintf("engine %s does not answer: no answer in time to %s; look whether it hangs, or is overloaded", engine, call))}
}

// isQuestion reports whether a call is answered at once by an engine that is well, however much there is to do for it: what
// takes long there is no question.
func isQuestion(r *http.Request) bool {
	return r.Method == http.MethodGet || r.Method == http.MethodHead || strings.HasSuffix(r.URL.Path, "/create") && !strings.HasSuffix(r.URL.Path, "/images/create")
}

// errSpent is why a context of limited has ended.
var errSpent = fmt.Errorf("%w", context.DeadlineExceeded)

// limited gives a context the time that an engine that is well does not need.
func limited(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, limit, errSpent)
}

// outOfTime reports whether a context has ended because of the engine: all the time was over that a call may take, or somebody
// does not wait any longer, which is context.DeadlineExceeded as the cause. The deadline of who asked, as of a handshake, says
// nothing of the engine.
func outOfTime(ctx context.Context) bool {
	cause := context.Cause(ctx)
	return errors.Is(cause, errSpent) || errors.Is(ctx.Err(), context.Canceled) && errors.Is(cause, context.DeadlineExceeded)
}

// toBlame reports whether the engine is for the end of a context, in which a call began at a time.
func toBlame(ctx context.Context, began time.Time) bool {
	return outOfTime(ctx) && time.Since(began) >= leastWait
}

// unanswered is a DeadlineExceeded that says of what.
type unanswered string

func (u unanswered) Error() string        { return string(u) }
func (u unanswered) Is(target error) bool { return target == context.DeadlineExceeded }

// timelyBody is an answer that may stop in the middle.
type timelyBody struct {
	io.ReadCloser
	late func(error) error
}

func (b timelyBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = b.late(err)
	}
	return n, err
}

// isAway reports whether an engine did not answer in time.
func isAway(err error) bool {
	away := reconcile.Away{}
	return errors.As(err, &away)
}

// farewell bounds what is done in the end with an engine: not long with one that let the time run out before, or failed so.
func farewell(ctx context.Context, why error) (context.Context, context.CancelFunc) {
	limit := answerTimeout
	if outOfTime(ctx) || isAway(why) {
		limit = leastWait
	}
	return context.WithTimeout(context.WithoutCancel(ctx), limit)
}
