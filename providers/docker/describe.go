package docker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"

	"github.com/certwright/certwright/reconcile"
)

// The labels Compose gives its containers (docs.docker.com/compose, "Labels").
const (
	composeProject = "com.docker.compose.project"
	composeService = "com.docker.compose.service"
)

// Description is what a first spec can say of a running container.
type Description struct {
	ID                             string
	Name                           string
	Image                          string
	ComposeProject, ComposeService string // "" where Compose did not make it
	Hostname                       string // "" where the engine made it up
	Networks                       []DescribedNetwork
	Mounts                         []reconcile.Mount
	Ports                          []int // TCP ports of the container: published ones first, then exposed ones
	Published                      bool
}

// DescribedNetwork is a network on which names are resolved: not the default bridge, nor the host's.
type DescribedNetwork struct {
	Name    string
	Aliases []string
}

// Describe tells what the running containers are, by name; couriers are left out. The list, and then each container, has
// answerTimeout.
func (e *Engine) Describe(ctx context.Context) ([]Description, error) {
	if e.err != nil {
		return nil, e.err
	}
	listing, cancel := limited(ctx, answerTimeout)
	defer cancel()
	running, err := e.cli.ContainerList(listing, container.ListOptions{})
	if err != nil {
		return nil, errors.New(e.silence(err))
	}
	var out []Description
	for _, s := range running {
		if s.Labels[labelCourier] != "" {
			continue
		}
		c, err := e.inspect(ctx, s.ID)
		if errdefs.IsNotFound(err) {
			continue // it has ended since
		}
		if err != nil {
			return nil, fmt.Errorf("describe container %s: %w", name(s), err)
		}
		out = append(out, e.describe(s, c))
	}
	slices.SortFunc(out, func(a, b Description) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// inspect asks for one container, with a time of its own.
func (e *Engine) inspect(ctx context.Context, id string) (container.InspectResponse, error) {
	ctx, cancel := limited(ctx, answerTimeout)
	defer cancel()
	return e.cli.ContainerInspect(ctx, id)
}

func (e *Engine) describe(s container.Summary, c container.InspectResponse) Description {
	d := Description{
		ID: s.ID, Name: name(s), Image: s.Image, ComposeProject: s.Labels[composeProject], ComposeService: s.Labels[composeService],
		Mounts: e.container(s).Mounts,
	}
	// The engine calls a container by the first digits of its id, and makes that an alias too.
	madeUp := func(n string) bool { return len(n) >= 12 && strings.HasPrefix(s.ID, n) }
	if c.Config != nil && !madeUp(c.Config.Hostname) {
		d.Hostname = c.Config.Hostname
	}
	if c.NetworkSettings == nil {
		return d
	}
	for n, network := range c.NetworkSettings.Networks {
		if n == "bridge" || n == "host" || n == "none" || network == nil {
			continue
		}
		d.Networks = append(d.Networks, DescribedNetwork{n, slices.DeleteFunc(slices.Clone(network.Aliases), madeUp)})
	}
	slices.SortFunc(d.Networks, func(a, b DescribedNetwork) int { return strings.Compare(a.Name, b.Name) })
	var exposed []int
	for p, bindings := range c.NetworkSettings.Ports {
		switch {
		case p.Proto() != "tcp":
		case len(bindings) > 0:
			d.Ports = append(d.Ports, p.Int())
		default:
			exposed = append(exposed, p.Int())
		}
	}
	d.Published = len(d.Ports) > 0
	slices.Sort(d.Ports)
	slices.Sort(exposed)
	d.Ports = append(d.Ports, exposed...)
	return d
}
