package docker

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
)

const (
	// outpostTimeout is enough for Swarm to start a task on this node.
	outpostTimeout = 20 * time.Second
	// outpostLife is how long an outpost stays that nobody takes back, since its certwright was killed: longer than a look.
	outpostLife = 15 * time.Minute
	// swarmService is the label that Swarm puts on the containers of a service's tasks.
	swarmService = "com.docker.swarm.service.id"
)

// Outposts puts a container into each of some overlay networks, and gives their ids by network. Only services can be in
// the network of a stack, so each is the one task of a service of certwright's own, on this node, where its image is. It
// waits, and lends its network to couriers. recall removes what was made; it may be called once, also after an error.
func (e *Engine) Outposts(ctx context.Context, networks []string) (at map[string]string, recall func(), err error) {
	if e.err != nil {
		return nil, func() {}, e.err
	}
	image, err := e.courierImage(ctx)
	if err != nil {
		return nil, func() {}, fmt.Errorf("outpost: %w", err)
	}
	info, err := e.cli.Info(ctx) // anew: an engine may join a Swarm at any time
	if err != nil {
		return nil, func() {}, fmt.Errorf("outpost: %w", err)
	}
	names := make([]string, len(networks))
	ids, errs := make([]string, len(networks)), make([]error, len(networks))
	var all sync.WaitGroup
	for i, network := range networks {
		names[i] = courierName + randomName()
		all.Go(func() { ids[i], errs[i] = e.outpost(ctx, names[i], image, network, info.Swarm.NodeID) })
	}
	all.Wait()
	at = map[string]string{}
	for i, network := range networks {
		if errs[i] == nil {
			at[network] = ids[i]
		} else if err == nil {
			err = fmt.Errorf("outpost in network %s: %w", network, errs[i])
		}
	}
	return at, func() {
		ctx := context.WithoutCancel(ctx)
		for _, name := range names {
			e.removeOutpost(ctx, name)
		}
	}, err
}

// outpost makes a service, and waits until its task runs.
func (e *Engine) outpost(ctx context.Context, name, image, network, node string) (id string, err error) {
	ctx, cancel := limited(ctx, outpostTimeout)
	defer cancel()
	spec, err := e.outpostSpec(ctx, name, image, network, node)
	if err != nil {
		return "", err
	}
	var service string
	err = e.o.Around.Do("POST /services/create", func() error {
		made, err := e.cli.ServiceCreate(ctx, spec, swarm.ServiceCreateOptions{})
		service = made.ID
		return err
	})
	if err != nil {
		return "", err
	}
	for begun := time.Now(); ; {
		found, err := e.cli.ContainerList(ctx, container.ListOptions{Filters: filters.NewArgs(filters.Arg("label", swarmService+"="+service))})
		if err == nil && len(found) > 0 && found[0].State == container.StateRunning {
			return found[0].ID, nil
		}
		if time.Since(begun) > time.Second { // one that Swarm cannot place, as on a drained node, is not waited for
			if err := e.unplaced(ctx, service); err != nil {
				return "", err
			}
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("its task does not run after %s", outpostTimeout)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// unplaced says why Swarm gives the task of an outpost no node, or why it does not run there.
func (e *Engine) unplaced(ctx context.Context, service string) error {
	tasks, err := e.cli.TaskList(ctx, swarm.TaskListOptions{Filters: filters.NewArgs(filters.Arg("service", service))})
	if err == nil && len(tasks) > 0 && tasks[0].Status.Err != "" {
		return fmt.Errorf("its task is %s: %s", tasks[0].Status.State, tasks[0].Status.Err)
	}
	return nil
}

// outpostSpec is a service of one task on this node that sees nothing but its network. Its image is named by its id: by a
// name a node would ask a registry first.
func (e *Engine) outpostSpec(ctx context.Context, name, image, network, node string) (swarm.ServiceSpec, error) {
	found, err := e.cli.ImageInspect(ctx, image)
	if err != nil {
		return swarm.ServiceSpec{}, err
	}
	labels, one := map[string]string{labelCourier: "1", labelProject: e.o.Project}, uint64(1)
	return swarm.ServiceSpec{
		Annotations: swarm.Annotations{Name: name, Labels: labels},
		TaskTemplate: swarm.TaskSpec{
			ContainerSpec: &swarm.ContainerSpec{
				Image: found.ID, Args: []string{"courier", "wait"}, User: "65534:65534", Labels: labels,
				ReadOnly: true, CapabilityDrop: []string{"ALL"}, Privileges: &swarm.Privileges{NoNewPrivileges: true},
			},
			Networks:      []swarm.NetworkAttachmentConfig{{Target: network}},
			Placement:     &swarm.Placement{Constraints: []string{"node.id == " + node}},
			RestartPolicy: &swarm.RestartPolicy{Condition: swarm.RestartPolicyConditionNone},
			LogDriver:     &swarm.Driver{Name: "none"},
		},
		Mode:         swarm.ServiceMode{Replicated: &swarm.ReplicatedService{Replicas: &one}},
		EndpointSpec: &swarm.EndpointSpec{Mode: swarm.ResolutionModeDNSRR}, // nobody needs a virtual address of it
	}, nil
}

// removeOutpost removes the service of an outpost, and its task with it. It runs also when the context has ended.
func (e *Engine) removeOutpost(ctx context.Context, name string) {
	ctx, cancel := limited(ctx, answerTimeout)
	defer cancel()
	// One that stays all the same ends by itself, and is swept later.
	_ = e.o.Around.Do("DELETE /services/{id}", func() error { return e.cli.ServiceRemove(ctx, name) })
}

// sweepOutposts removes what is left of outposts whose certwright was killed. As long as one is there its network cannot be
// removed.
func (e *Engine) sweepOutposts(ctx context.Context, services []swarm.Service) {
	if e.o.LookOnly {
		return
	}
	for _, s := range services {
		l := s.Spec.Labels
		if l[labelCourier] == "1" && l[labelProject] == e.o.Project && e.o.Now().Sub(s.CreatedAt) > outpostLife {
			e.removeOutpost(ctx, s.ID)
		}
	}
}
