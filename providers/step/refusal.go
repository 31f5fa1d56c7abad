package step

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/certwright/certwright/reconcile"
)

// These are the answers by which step-ca will not do what it is asked: a bad request, a token or certificate it does not
// take, and what its policy forbids. Others, of a proxy before it as well, pass.
var refusals = []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden}

// refusal says why an answer is no success.
func refusal(r *http.Response, body []byte, now time.Time) error {
	err := fmt.Errorf("%s answers %s", r.Request.URL.Host, r.Status)
	var said struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &said) == nil && said.Message != "" {
		err = fmt.Errorf("%w: %q", err, said.Message)
	}
	if slices.Contains(refusals, r.StatusCode) {
		err = fmt.Errorf("%w: %w", reconcile.ErrRefused, err)
	}
	if wait := reconcile.ParseRetryAfter(r.Header.Get("Retry-After"), now); wait > 0 {
		return reconcile.RetryAfter{Err: err, Wait: wait}
	}
	return err
}

// unanswered says why there is no answer.
func (c client) unanswered(err error) error {
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		return reconcile.Away{Err: fmt.Errorf("%s shows no certificate of the root with the fingerprint %s, and was told nothing: look who answers there, or pin its new root: %w",
			c.ca.Step.URL, c.ca.Step.Fingerprint, err)}
	}
	return reconcile.Away{Err: err}
}
