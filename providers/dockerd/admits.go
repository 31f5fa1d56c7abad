package dockerd

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/certwright/certwright/reconcile"
)

// knockLimit bounds one request to a socket.
const knockLimit = 3 * time.Second

// Admits implements reconcile.Daemons. It asks for what every engine says to whom it lets in (GET /_ping), in plain and by TLS.
func (m Machine) Admits(ctx context.Context, host, address string) reconcile.Admission {
	return admits(ctx, m, host, address)
}

// Admits implements reconcile.Daemons.
func (h Hosts) Admits(ctx context.Context, host, address string) reconcile.Admission {
	return admits(ctx, h, host, address)
}

// reacher connects to an address as a host reaches it.
type reacher interface {
	Reach(ctx context.Context, host, address string) (net.Conn, error)
}

func admits(ctx context.Context, m reacher, host, address string) reconcile.Admission {
	if answers(ctx, m, host, "http://"+address) == nil {
		return reconcile.Anybody
	}
	err := answers(ctx, m, host, "https://"+address)
	var refused *net.OpError
	switch {
	case err == nil:
		return reconcile.AnyClient
	case errors.As(err, &refused) && refused.Op == "remote error": // an alert (RFC 8446 section 6.2)
		return reconcile.Guarded
	}
	return reconcile.Closed
}

var errNoEngine = errors.New("what answers is no engine")

func answers(ctx context.Context, m reacher, host, url string) error {
	ctx, cancel := context.WithTimeout(ctx, knockLimit)
	defer cancel()
	client := http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, address string) (net.Conn, error) { return m.Reach(ctx, host, address) },
			// Whoever it is: nothing is told it, and what is asked is whether it wants to know who asks.
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
			DisableKeepAlives: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/_ping", nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK || !strings.HasPrefix(response.Header.Get("Server"), "Docker/") {
		return errNoEngine
	}
	return nil
}
