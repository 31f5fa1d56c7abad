package docker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"

	"github.com/certwright/certwright/reconcile"
)

// Configs are the configs of the Swarm that an engine manages.
type Configs struct{ Engine *Engine }

// List gives what the configs hold whose names begin with prefix, by name. It is one request, which Swarm answers from
// one moment (swarmkit, controlapi.ListConfigs).
func (c Configs) List(ctx context.Context, prefix string) (map[string][]byte, error) {
	if c.Engine.err != nil {
		return nil, c.Engine.err
	}
	ctx, cancel := limited(ctx, answerTimeout)
	defer cancel()
	all, err := c.Engine.cli.ConfigList(ctx, swarm.ConfigListOptions{Filters: filters.NewArgs(filters.Arg("name", prefix))})
	if err != nil {
		return nil, errors.New(c.Engine.noManager(err))
	}
	found := map[string][]byte{}
	for _, x := range all {
		if strings.HasPrefix(x.Spec.Name, prefix) {
			found[x.Spec.Name] = x.Spec.Data
		}
	}
	return found, nil
}

// Read gives what a config holds. One that is not there is fs.ErrNotExist.
func (c Configs) Read(ctx context.Context, name string) ([]byte, error) {
	if c.Engine.err != nil {
		return nil, c.Engine.err
	}
	ctx, cancel := limited(ctx, answerTimeout)
	defer cancel()
	found, _, err := c.Engine.cli.ConfigInspectWithRaw(ctx, name)
	switch {
	case errdefs.IsNotFound(err):
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	case err != nil:
		return nil, errors.New(c.Engine.noManager(err))
	}
	return found.Spec.Data, nil
}

// Create makes a config. A name that is taken (409) is fs.ErrExist.
func (c Configs) Create(ctx context.Context, name string, data []byte) error {
	if c.Engine.err != nil {
		return c.Engine.err
	}
	ctx, cancel := limited(ctx, answerTimeout)
	defer cancel()
	err := c.Engine.o.Around.Do("POST /configs/create", func() error {
		_, err := c.Engine.cli.ConfigCreate(ctx, swarm.ConfigSpec{
			Annotations: swarm.Annotations{Name: name, Labels: map[string]string{reconcile.ProjectLabel: c.Engine.o.Project}}, Data: data,
		})
		return err
	})
	if errdefs.IsConflict(err) {
		return fmt.Errorf("%s: %w", name, fs.ErrExist)
	}
	return err
}

// Remove removes a config. One that is not there is success.
func (c Configs) Remove(ctx context.Context, name string) error {
	if c.Engine.err != nil {
		return c.Engine.err
	}
	ctx, cancel := limited(ctx, answerTimeout)
	defer cancel()
	err := c.Engine.o.Around.Do("DELETE /configs/{id}", func() error { return c.Engine.cli.ConfigRemove(ctx, name) })
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}
