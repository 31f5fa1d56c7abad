package web

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/certwright/certwright/reconcile"
)

// Bounds on what is fetched: in bytes, and in redirects on the way to it.
const (
	MaxBundle = 1 << 20
	maxHops   = 5
)

// ErrFingerprint says that something else was fetched than what is pinned.
var ErrFingerprint = errors.New("has another fingerprint than the one that is pinned")

// Fetch returns the at most MaxBundle bytes at a URL (http or https) if their SHA-256 is the pinned one, else
// ErrFingerprint with both. It takes ten seconds at most, and follows redirects that keep the scheme.
//
// The fingerprint is the proof, and the only one: who comes for a bundle has no root yet that the server could prove itself by,
// so its certificate is not looked at. What a liar answers is thrown away, and nothing is sent that he must not know.
func Fetch(ctx context.Context, from string, pinned [sha256.Size]byte, around reconcile.Around) ([]byte, error) {
	at, err := url.Parse(from)
	switch {
	case err != nil || at.Host == "" || at.Scheme != "http" && at.Scheme != "https":
		return nil, errors.New("the URL of a bundle is http://HOST/trust/CA.pem, or https")
	case at.User != nil:
		return nil, errors.New("the URL has a user: the server would be told who it is, and proves itself by nothing")
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	shown := at.Scheme + "://" + at.Host + at.Path // what follows a ? may be a password
	var data []byte
	err = around.Do("GET "+shown, func() (err error) {
		data, err = get(q)
		return err
	})
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no whole answer within %s", patience)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", shown, err)
	}
	is := sha256.Sum256(data)
	if subtle.ConstantTimeCompare(is[:], pinned[:]) != 1 {
		return nil, fmt.Errorf("%s %w: it is %x, not %x", shown, ErrFingerprint, is, pinned)
	}
	return data, nil
}

// get returns the body of an answer that is a success.
func get(q *http.Request) ([]byte, error) {
	transport := &http.Transport{
		Proxy:           http.ProxyFromEnvironment,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}, // what is fetched is recognized by its hash

		MaxResponseHeaderBytes: maxHeader, DisableKeepAlives: true,
	}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport, CheckRedirect: follow}).Do(q)
	if err != nil {
		return nil, cause(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, MaxBundle+1))
	switch {
	case err != nil:
		return nil, err
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("the answer is %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	case len(data) > MaxBundle:
		return nil, fmt.Errorf("it is larger than %d bytes", MaxBundle)
	}
	return data, nil
}

// follow lets a redirect lead to another address, and not to another kind of one.
func follow(next *http.Request, before []*http.Request) error {
	switch {
	case next.URL.Scheme != before[0].URL.Scheme:
		return fmt.Errorf("it leads from %s to %s: give the URL it leads to", before[0].URL.Scheme, next.URL.Scheme)
	case len(before) > maxHops:
		return fmt.Errorf("it leads on and on: %d redirects", len(before))
	}
	return nil
}
