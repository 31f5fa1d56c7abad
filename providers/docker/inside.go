package docker

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/containerd/errdefs"
)

// Inside starts a courier in the network of the running container of that name, where it may listen at any port. args are
// those of `certwright courier`. What is returned is its standard input and output; closing it ends the courier.
func (e *Engine) Inside(ctx context.Context, name string, args ...string) (net.Conn, error) {
	if e.err != nil {
		return nil, e.err
	}
	asking, cancel := limited(ctx, answerTimeout)
	defer cancel()
	c, err := e.cli.ContainerInspect(asking, name)
	switch {
	case errdefs.IsNotFound(err):
		return nil, fmt.Errorf("there is no container %s on engine %s", name, e.host)
	case err != nil:
		return nil, errors.New(e.silence(err))
	case !c.State.Running:
		return nil, fmt.Errorf("container %s is %s: start it", name, c.State.Status)
	}
	s, err := e.hire(ctx, job{args: args, network: "container:" + c.ID, listens: true})
	if err != nil {
		return nil, err
	}
	return s, nil
}
