// Package exchange sends one request to the API of a CA, and reads one answer: bounded, over a connection of its own, and to
// nobody else than it was meant for.
package exchange

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
)

const (
	maxAnswer = 1 << 20 // bytes of a body
	maxHeader = 64 << 10
)

// Unanswered is an error of a server that gave no answer, or not all of it.
type Unanswered struct{ Err error }

func (e Unanswered) Error() string { return e.Err.Error() }

// Unwrap gives the error itself.
func (e Unanswered) Unwrap() error { return e.Err }

// Do sends a request with config, and returns the answer, whose body is closed, with at most a MiB of it. A redirect is the answer:
// what is sent is meant for this server. Without an answer the error is Unanswered; one that is no success is none, whatever became
// of its body.
func Do(q *http.Request, config *tls.Config) (*http.Response, []byte, error) {
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, MaxResponseHeaderBytes: maxHeader, DisableKeepAlives: true, ForceAttemptHTTP2: true,
	}
	defer transport.CloseIdleConnections()
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	answer, err := (&http.Client{Transport: transport, CheckRedirect: stay}).Do(q)
	if err != nil {
		return nil, nil, Unanswered{err}
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	switch {
	case answer.StatusCode/100 != 2:
		return answer, body, nil
	case err != nil:
		return nil, nil, Unanswered{err}
	case len(body) > maxAnswer:
		return nil, nil, fmt.Errorf("the answer of %s://%s is larger than %d bytes", q.URL.Scheme, q.URL.Host, maxAnswer)
	}
	return answer, body, nil
}
