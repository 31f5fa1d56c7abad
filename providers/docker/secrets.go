package docker

import (
	"context"
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/swarm"

	"github.com/certwright/certwright/reconcile"
)

// CreateSecret makes a secret or a config. The engine refuses a name that is taken (409), which is as good.
func (e *Engine) CreateSecret(ctx context.Context, s reconcile.NewSecret) error {
	if e.err != nil {
		return e.err
	}
	ctx, cancel := limited(ctx, answerTimeout)
	defer cancel()
	named := swarm.Annotations{Name: s.Name, Labels: s.Labels}
	err := e.o.Around.Do("POST /"+s.Word()+"s/create", func() (err error) {
		if s.Config {
			_, err = e.cli.ConfigCreate(ctx, swarm.ConfigSpec{Annotations: named, Data: s.Data})
		} else {
			_, err = e.cli.SecretCreate(ctx, swarm.SecretSpec{Annotations: named, Data: s.Data})
		}
		return err
	})
	if err != nil && !errdefs.IsConflict(err) {
		return fmt.Errorf("create %s %s: %w", s.Word(), s.Name, err)
	}
	return nil
}

// LabelSecret labels a secret or config that holds data. Swarm looks at data first, and then at the version (swarmkit,
// controlapi.UpdateSecret and UpdateConfig).
func (e *Engine) LabelSecret(ctx context.Context, s reconcile.Secret, data []byte) (holds bool, err error) {
	switch {
	case e.err != nil:
		return false, e.err
	case len(data) == 0: // Swarm would compare nothing, and agree
		return false, fmt.Errorf("nothing to compare %s %s with", s.Word(), s.Name)
	}
	ctx, cancel := limited(ctx, answerTimeout)
	defer cancel()
	named, version := swarm.Annotations{Name: s.Name, Labels: s.Labels}, swarm.Version{Index: s.Version}
	err = e.o.Around.Do("POST /"+s.Word()+"s/{id}/update", func() error {
		if s.Config {
			return e.cli.ConfigUpdate(ctx, s.ID, version, swarm.ConfigSpec{Annotations: named, Data: data})
		}
		return e.cli.SecretUpdate(ctx, s.ID, version, swarm.SecretSpec{Annotations: named, Data: data})
	})
	switch {
	case err == nil:
		return true, nil
	case errdefs.IsInvalidArgument(err) && strings.Contains(err.Error(), "only updates to Labels are allowed"):
		return false, nil
	case outOfSequence(err):
		return false, fmt.Errorf("somebody else changed %s %s at the same time; try again", s.Word(), s.Name)
	}
	return false, fmt.Errorf("compare %s %s: %w", s.Word(), s.Name, err)
}

// outOfSequence reports whether somebody else was faster: HTTP 500, for want of a conflict.
func outOfSequence(err error) bool {
	return err != nil && strings.Contains(err.Error(), "update out of sequence")
}

// RemoveSecret removes a secret or config. Swarm refuses while the spec of a service names it.
func (e *Engine) RemoveSecret(ctx context.Context, s reconcile.Secret) error {
	if e.err != nil {
		return e.err
	}
	ctx, cancel := limited(ctx, answerTimeout)
	defer cancel()
	remove := e.cli.SecretRemove
	if s.Config {
		remove = e.cli.ConfigRemove
	}
	err := e.o.Around.Do("DELETE /"+s.Word()+"s/{id}", func() error { return remove(ctx, s.ID) })
	if err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	return nil
}
