package reload

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/certwright/certwright/providers/command"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// HTTP makes an HTTP request to the container itself: the URL says port, path and Host header; its host name is
// never resolved. A status of 400 and above is an error.
func (s Server) HTTP(ctx context.Context, how spec.Reload, env reconcile.ReloadEnv) error {
	ctx, cancel := context.WithTimeout(ctx, Timeout(how))
	defer cancel()
	method := how.HTTP.Method
	if method == "" {
		method = http.MethodPost
	}
	r, err := http.NewRequestWithContext(ctx, method, how.HTTP.URL, strings.NewReader(how.HTTP.Body))
	if err != nil {
		return quiet(err)
	}
	port, err := portOf(r.URL)
	if err != nil {
		return err
	}
	config, err := TLS(env, s.Now)
	if err != nil {
		return err
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return s.Dial(ctx, port)
		},
		TLSClientConfig:   config,
		DisableKeepAlives: true,
	}
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client := http.Client{Transport: transport, CheckRedirect: stay}
	return s.Around.Do("HTTP "+method, func() error {
		answer, err := client.Do(r)
		if err != nil {
			return fmt.Errorf("%s on port %d: %w", method, port, quiet(err))
		}
		defer answer.Body.Close()
		if answer.StatusCode < 400 {
			return nil
		}
		said := command.First(maxSaid)
		said.ReadAll(answer.Body)
		return fmt.Errorf("the server answered %d %s: %s", answer.StatusCode, http.StatusText(answer.StatusCode), said)
	})
}

// quiet is an error without the URL, which may hold a token.
func quiet(err error) error {
	if of := (*url.Error)(nil); errors.As(err, &of) {
		return of.Err
	}
	return err
}

func portOf(u *url.URL) (int, error) {
	switch {
	case u.Port() != "":
		return strconv.Atoi(u.Port())
	case u.Scheme == "https":
		return 443, nil
	case u.Scheme == "http":
		return 80, nil
	}
	return 0, fmt.Errorf("the URL has scheme %q, not http or https", u.Scheme)
}
