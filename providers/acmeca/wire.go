package acmeca

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

const (
	// No answer of an ACME server is larger, a chain of ten RSA certificates included.
	maxAnswer = 256 << 10
	// All answers to one Sign together. Those that poll are a kilobyte each.
	maxAnswers = 16 << 20
	// One request; the whole has the core's limit.
	requestTimeout = 30 * time.Second
)

// wire carries the requests of one Sign: each is an effect, each answer is bounded, and the server is known by the roots.
type wire struct {
	transport *http.Transport
	around    reconcile.Around
	now       time.Time
	left      atomic.Int64

	mu     sync.Mutex
	said   time.Duration // what the last answer said to wait, zero if it did not
	failed bool          // and whether it was an error
}

func newWire(ca spec.CA, q reconcile.SigningRequest, around reconcile.Around) (*wire, error) {
	roots := x509.NewCertPool()
	for _, der := range q.Roots {
		root, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("a root of CA %s: %w", ca.Name, err)
		}
		roots.AddCert(root)
	}
	w := &wire{
		around: around, now: q.Now,
		transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: requestTimeout,
			MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true,
			TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12, Time: func() time.Time { return q.Now }},
		},
	}
	w.left.Store(maxAnswers)
	return w, nil
}

func (w *wire) client() *http.Client {
	return &http.Client{Transport: w, Timeout: requestTimeout, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
}

func (w *wire) close() { w.transport.CloseIdleConnections() }

// RoundTrip implements http.RoundTripper.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	var answer *http.Response
	err := w.around.Do(r.Method+" ACME "+r.URL.Path, func() (err error) {
		answer, err = w.transport.RoundTrip(r)
		return err
	})
	if err != nil {
		if answer != nil {
			_ = answer.Body.Close()
		}
		return nil, reconcile.Away{Err: err}
	}
	w.mu.Lock()
	w.said, w.failed = reconcile.ParseRetryAfter(answer.Header.Get("Retry-After"), w.now), answer.StatusCode >= 400
	w.mu.Unlock()
	answer.Body = &bounded{answer.Body, maxAnswer, &w.left}
	return answer, nil
}

// waitSaid is what the last answer said to wait.
func (w *wire) waitSaid() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.said
}

// refused reports whether the last answer was an error.
func (w *wire) refused() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed
}

// errorSaid is waitSaid where the last answer was an error.
func (w *wire) errorSaid() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.failed {
		return 0
	}
	return w.said
}

// bounded is an answer that ends with an error where it is too long.
type bounded struct {
	io.ReadCloser
	here int64
	left *atomic.Int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = reconcile.Away{Err: err}
	}
	b.here -= int64(n)
	if b.here < 0 || b.left.Add(-int64(n)) < 0 {
		return 0, fmt.Errorf("the server answered with more than %d bytes", maxAnswer)
	}
	return n, err
}
