package docker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/client"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// silence says in a sentence that the engine does not answer, and what to do about it.
func (e *Engine) silence(err error) string {
	hint := "start it, or name another with --host, --context or DOCKER_HOST"
	if e.host != spec.LocalHost {
		hint = "start it, or correct hosts." + e.host + " of the spec"
	}
	if u, bad := url.Parse(e.end.address); bad == nil && u.Scheme == "ssh" {
		u.Path = ""
		hint = "see that `ssh " + u.String() + " docker version` works"
	}
	away := reconcile.Away{}
	switch {
	case errors.As(err, &away):
		return away.Error()
	case slices.Contains(e.Refused(), ping) && errdefs.IsInvalidArgument(err): // they have not agreed on a version
		return fmt.Sprintf("engine %s at %s: %s is refused: %s", e.host, e.end.address, ping, AllowIt)
	case errdefs.IsPermissionDenied(err):
		return fmt.Sprintf("engine %s at %s: %s", e.host, e.end.address, strings.TrimPrefix(err.Error(), "Error response from daemon: "))
	case errors.Is(err, os.ErrPermission):
		err = os.ErrPermission
		hint = "run as a user that may use its socket (root, or the group docker)"
	case errors.Is(err, context.DeadlineExceeded):
		err = errors.New("no answer in time")
		hint = "look whether it hangs, or is overloaded"
	case errors.Is(err, errEndless):
		hint = "look whether that is a Docker engine"
	case client.IsErrConnectionFailed(err) && strings.Contains(err.Error(), "Cannot connect"):
		err = errors.New("nothing can be connected to there")
	default:
		// What a request was for, and what came of its connection, does not matter: none gets through.
		if failed := (commandError{}); errors.As(err, &failed) {
			err = failed
		} else if request := new(url.Error); errors.As(err, &request) {
			err = request.Err
		}
	}
	if e.end.certs != "" && failedTLS(err) {
		return fmt.Sprintf("engine %s at %s: %v; see that ca.pem of %s is the CA of its certificate, and cert.pem and key.pem there are of one that it lets in",
			e.host, e.end.address, err, e.end.certs)
	}
	return fmt.Sprintf("engine %s at %s does not answer: %v; %s", e.host, e.end.address, err, hint)
}

// failedTLS reports whether somebody answered, and one of both sides did not accept the other: by our verification, or by an alert.
func failedTLS(err error) bool {
	var verification *tls.CertificateVerificationError
	var alert *net.OpError
	return errors.As(err, &verification) || errors.As(err, &alert) && alert.Op == "remote error"
}
