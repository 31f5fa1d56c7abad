package docker

import (
	"context"
	"fmt"

	"github.com/docker/docker/api/types/volume"
)

// CreateVolume makes a volume of the default driver. The engine takes a name that is there already as success,
// and leaves that volume as it is.
func (e *Engine) CreateVolume(ctx context.Context, name string, labels map[string]string) error {
	if e.err != nil {
		return e.err
	}
	ctx, cancel := limited(ctx, answerTimeout)
	defer cancel()
	err := e.o.Around.Do("POST /volumes/create", func() error {
		_, err := e.cli.VolumeCreate(ctx, volume.CreateOptions{Name: name, Labels: labels})
		return err
	})
	if err != nil {
		return fmt.Errorf("create volume %s on %s: %w", name, e.host, err)
	}
	return nil
}

// volumes lists the engine's volumes by name.
func (e *Engine) volumes(ctx context.Context) (map[string]*volume.Volume, error) {
	ctx, cancel := limited(ctx, answerTimeout)
	defer cancel()
	list, err := e.cli.VolumeList(ctx, volume.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list the volumes of %s: %w", e.host, err)
	}
	found := map[string]*volume.Volume{}
	for _, v := range list.Volumes {
		if v != nil {
			found[v.Name] = v
		}
	}
	return found, nil
}
