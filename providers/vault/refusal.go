package vault

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/certwright/certwright/providers/command"
	"github.com/certwright/certwright/reconcile"
)

// maxWords bounds what is told of a server's words, in bytes.
const maxWords = 500

// Answers beside those of net/http by which a server is a standby of one that serves (API documentation, Health).
const (
	recoveryStandby    = 472
	performanceStandby = 473
)

// denied is a 403. A server that forgot a token, or whose token has ended, answers as one whose token may not do this.
type denied struct{ error }

func (d denied) Unwrap() error { return d.error }

// refusal says why an answer is no success.
func (c client) refusal(r *http.Response, path string, body []byte) error {
	err := fmt.Errorf("%s answers %s", c.ca.Address, strings.TrimSpace(fmt.Sprint(r.StatusCode, " ", http.StatusText(r.StatusCode))))
	if said := c.words(body); said != "" {
		err = fmt.Errorf("%w: %q", err, said)
	}
	switch r.StatusCode {
	case http.StatusBadRequest:
		err = fmt.Errorf("%w: %w", reconcile.ErrRefused, err)
	case http.StatusForbidden:
		err = fmt.Errorf("%w: %w", reconcile.ErrRefused, err)
		if c.token != "" {
			err = fmt.Errorf(`%w; the token has ended, or its policies lack path %q { capabilities = ["update"] }`, err, path)
		}
		err = denied{err}
	case http.StatusTooManyRequests, recoveryStandby, performanceStandby, http.StatusServiceUnavailable:
		// It is sealed, a standby or busy, whatever it is asked for.
		err = reconcile.Away{Err: err}
	case http.StatusNotFound:
		err = fmt.Errorf("%w; there is no /v1/%s: look at mount and namespace", err, path)
	case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		err = fmt.Errorf("%w; it leads to another server, which is not followed: name the active one, or what is before all, in address", err)
	}
	if wait := reconcile.ParseRetryAfter(r.Header.Get("Retry-After"), c.now()); wait > 0 {
		return reconcile.RetryAfter{Err: err, Wait: wait}
	}
	return err
}

// words are what a server says is wrong, without what it was told in secret.
func (c client) words(body []byte) string {
	var said struct {
		Errors []string `json:"errors"`
	}
	if json.Unmarshal(body, &said) != nil {
		return ""
	}
	text := strings.Join(said.Errors, "; ")
	for _, secret := range []string{c.token, c.hidden} {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "…")
		}
	}
	words := command.First(maxWords)
	_, _ = io.WriteString(words, text)
	return words.String()
}
