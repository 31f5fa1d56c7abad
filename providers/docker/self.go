package docker

import (
	"context"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/system"

	"github.com/certwright/certwright/reconcile"
)

// self tells an engine from all others. Its ID alone does not: before Docker 23 it is that of /etc/docker/key.json, which all
// engines of a machine have in common, and machines that were made from one image share either.
func self(info system.Info) string {
	if info.ID == "" {
		return ""
	}
	return strings.Join([]string{info.ID, info.Name, info.DockerRootDir}, "\x00")
}

// tell adds which engine it is, and whether its machine is this one. Where a proxy does not let it be asked, neither is known. One
// that did not get to say it has not answered: taken for an engine of its own, it would have the files of another removed as left over.
func (e *Engine) tell(ctx context.Context, state *reconcile.EngineState) {
	here, err := e.OnThisMachine(ctx)
	var f facts
	if err == nil {
		f, err = e.about(ctx)
	}
	switch {
	case err == nil:
		state.Self, state.Elsewhere = f.self, !here
	case !errdefs.IsPermissionDenied(err):
		state.Err, state.Containers, state.Volumes = e.silence(err), nil, nil
	}
}
