package docker

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"

	"github.com/certwright/certwright/reconcile"
)

// An update is followed this long; one that takes longer is waited for by the next pass.
const updateTimeout = 10 * time.Minute

// Update swaps secrets and configs of a service and follows the update. The service is read first and updated under the
// version that was read, so that nobody's change is lost; nothing else of its spec is touched.
func (e *Engine) Update(ctx context.Context, u reconcile.ServiceUpdate) error {
	if e.err != nil {
		return e.err
	}
	ctx, cancel := limited(ctx, updateTimeout)
	defer cancel()
	s, _, err := e.cli.ServiceInspectWithRaw(ctx, u.ID, swarm.ServiceInspectOptions{})
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", reconcile.ErrNotUpdated, err)
	case s.Spec.TaskTemplate.ContainerSpec == nil || s.Spec.Mode.Replicated == nil && s.Spec.Mode.Global == nil:
		return fmt.Errorf("%w: it is a job, or its tasks are no containers", reconcile.ErrNotUpdated)
	case service(s).Updating():
		return fmt.Errorf("%w: an update of it is under way: %w", reconcile.ErrNotUpdated, reconcile.ErrChanged)
	}
	spec := s.Spec
	c := *spec.TaskTemplate.ContainerSpec
	if c.Secrets, err = swapped(c.Secrets, secretRef, u); err != nil {
		return err
	}
	if c.Configs, err = swapped(c.Configs, configRef, u); err != nil {
		return err
	}
	give(&c, u.Give)
	spec.TaskTemplate.ContainerSpec = &c
	err = e.o.Around.Do("POST /services/{id}/update", func() error {
		_, err := e.cli.ServiceUpdate(ctx, s.ID, s.Version, spec, swarm.ServiceUpdateOptions{})
		return err
	})
	if outOfSequence(err) {
		return fmt.Errorf("%w: %w: %w", reconcile.ErrNotUpdated, err, reconcile.ErrChanged)
	}
	if err != nil {
		return err
	}
	if err := e.follow(ctx, s.ID); err != nil {
		return err
	}
	e.outlast(ctx, s)
	return nil
}

// swapped gives what of the secrets or configs of a service stays in an update. What somebody mounted meanwhile where
// something is to come is not taken away.
func swapped[R any](is []R, seen func(R) reconcile.SecretRef, u reconcile.ServiceUpdate) (kept []R, err error) {
	for _, r := range is {
		x := seen(r)
		at := func(y reconcile.SecretRef) bool { return y.Target == x.Target }
		switch {
		case slices.ContainsFunc(u.Take, func(t reconcile.SecretRef) bool { return at(t) && t.ID == x.ID }):
		case slices.ContainsFunc(u.Give, at):
			return nil, fmt.Errorf("%w: it mounts %s as %s by now", reconcile.ErrNotUpdated, x.Name, x.Target)
		default:
			kept = append(kept, r)
		}
	}
	return kept, nil
}

// give adds to the secrets and configs of a service. They are in the order of `docker stack deploy`, by name: Swarm
// replaces the tasks of a service whose secrets change places.
func give(c *swarm.ContainerSpec, refs []reconcile.SecretRef) {
	for _, g := range refs {
		uid, gid := strconv.Itoa(g.UID), strconv.Itoa(g.GID)
		if g.Config {
			target := g.Target
			if !path.IsAbs(target) {
				target = reconcile.SecretsDir + target
			}
			c.Configs = append(c.Configs, &swarm.ConfigReference{
				ConfigID: g.ID, ConfigName: g.Name,
				File: &swarm.ConfigReferenceFileTarget{Name: target, UID: uid, GID: gid, Mode: g.Mode.Perm()},
			})
			continue
		}
		c.Secrets = append(c.Secrets, &swarm.SecretReference{
			SecretID: g.ID, SecretName: g.Name,
			File: &swarm.SecretReferenceFileTarget{Name: g.Target, UID: uid, GID: gid, Mode: g.Mode.Perm()},
		})
	}
	slices.SortStableFunc(c.Secrets, func(a, b *swarm.SecretReference) int { return strings.Compare(a.SecretName, b.SecretName) })
	slices.SortStableFunc(c.Configs, func(a, b *swarm.ConfigReference) int { return strings.Compare(a.ConfigName, b.ConfigName) })
}

// follow waits until Swarm has finished an update. It clears the state of the one before when it takes a new one
// (swarmkit, controlapi.UpdateService), and sets none for a service that has no task to replace.
func (e *Engine) follow(ctx context.Context, id string) error {
	begun := time.Now()
	for {
		s, _, err := e.cli.ServiceInspectWithRaw(ctx, id, swarm.ServiceInspectOptions{})
		if err != nil {
			return fmt.Errorf("whether it was finished is unknown: %w", err)
		}
		switch now := service(s); {
		case now.Update == string(swarm.UpdateStateCompleted):
			return nil
		case now.Update != "" && !now.Updating():
			return fmt.Errorf("Swarm says %s: %s", strings.ReplaceAll(now.Update, "_", " "), now.Message) //nolint:staticcheck // a name
		case now.Update == "" && time.Since(begun) > takenUp:
			tasks, err := e.cli.TaskList(ctx, swarm.TaskListOptions{Filters: filters.NewArgs(filters.Arg("service", id), filters.Arg("desired-state", "running"))})
			if err == nil && !slices.ContainsFunc(tasks, outdated(s)) {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the update is not finished yet: %w", ctx.Err())
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// outlast waits until the tasks that an update replaced have ended, since until then they hold on to their secrets. One
// that takes longer than it was given to stop, or than a minute, perhaps on a node that is gone, is left for another pass.
func (e *Engine) outlast(ctx context.Context, s swarm.Service) {
	grace := 10 * time.Second // the engine's default
	if g := s.Spec.TaskTemplate.ContainerSpec.StopGracePeriod; g != nil {
		grace = min(*g, time.Minute)
	}
	ctx, cancel := limited(ctx, grace+answerTimeout)
	defer cancel()
	for {
		tasks, err := e.cli.TaskList(ctx, swarm.TaskListOptions{Filters: filters.NewArgs(filters.Arg("service", s.ID))})
		if err != nil || !slices.ContainsFunc(tasks, ending) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// ending reports whether a task is to end and has not yet.
func ending(t swarm.Task) bool {
	_, lives := task(t)
	return lives && (t.DesiredState == swarm.TaskStateShutdown || t.DesiredState == swarm.TaskStateRemove)
}

// Swarm needs a moment to begin an update.
const takenUp = 2 * time.Second

// outdated reports whether a task that is to run has other secrets or configs than its service.
func outdated(s swarm.Service) func(swarm.Task) bool {
	return func(t swarm.Task) bool { return !slices.Equal(references(t.Spec), references(s.Spec.TaskTemplate)) }
}
