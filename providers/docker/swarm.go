package docker

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"

	"github.com/certwright/certwright/reconcile"
)

// An update is followed this long; one that takes longer is waited for by the next pass.
const updateTimeout = 10 * time.Minute

// Swarm lists what the Swarm has in five requests, however much that is.
func (e *Engine) Swarm(ctx context.Context) reconcile.Swarm {
	if e.err != nil {
		return reconcile.Swarm{Err: e.err.Error()}
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	services, err := e.cli.ServiceList(ctx, swarm.ServiceListOptions{})
	if err != nil {
		return reconcile.Swarm{Err: e.noManager(err)}
	}
	tasks, err := e.cli.TaskList(ctx, swarm.TaskListOptions{})
	if err != nil {
		return reconcile.Swarm{Err: e.noManager(err)}
	}
	secrets, err := e.cli.SecretList(ctx, swarm.SecretListOptions{})
	if err != nil {
		return reconcile.Swarm{Err: e.noManager(err)}
	}
	s := reconcile.Swarm{CA: e.SwarmCA(ctx)}
	for _, x := range services {
		s.Services = append(s.Services, service(x))
	}
	for _, x := range tasks {
		if t, lives := task(x); lives {
			s.Tasks = append(s.Tasks, t)
		}
	}
	for _, x := range secrets {
		s.Secrets = append(s.Secrets, reconcile.Secret{ID: x.ID, Name: x.Spec.Name, Labels: x.Spec.Labels, Version: x.Version.Index})
	}
	slices.SortFunc(s.Services, func(a, b reconcile.Service) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(s.Secrets, func(a, b reconcile.Secret) int { return strings.Compare(a.Name, b.Name) })
	return s
}

// noManager says why an engine does not list its Swarm. A node that is no manager answers 503 (Engine API, /services).
func (e *Engine) noManager(err error) string {
	if errdefs.IsUnavailable(err) && strings.Contains(err.Error(), "not a swarm manager") {
		return fmt.Sprintf("engine %s is no manager of a Swarm; run `docker swarm init` there, or name one that is with --host or --context", e.host)
	}
	if errdefs.IsUnavailable(err) { // locked, or its certificates have expired
		return fmt.Sprintf("engine %s: %v", e.host, err)
	}
	return e.silence(err)
}

// The label that `docker stack deploy` puts on what it makes (docker CLI, compose/convert).
const stackLabel = "com.docker.stack.namespace"

func service(s swarm.Service) reconcile.Service {
	out := reconcile.Service{ID: s.ID, Name: s.Spec.Name, Stack: s.Spec.Labels[stackLabel], Secrets: references(s.Spec.TaskTemplate), Replicas: -1}
	if s.PreviousSpec != nil {
		out.Previous = references(s.PreviousSpec.TaskTemplate)
	}
	if r := s.Spec.Mode.Replicated; r != nil && r.Replicas != nil {
		out.Replicas = int(*r.Replicas)
	}
	if c := s.Spec.TaskTemplate.ContainerSpec; c != nil {
		out.User = c.User
	}
	if c := s.Spec.UpdateConfig; c != nil {
		out.StartsFirst = c.Order == swarm.UpdateOrderStartFirst
	}
	if u := s.UpdateStatus; u != nil {
		out.Update, out.Message = string(u.State), u.Message
	}
	return out
}

// task is a task, and whether it has not ended for good.
func task(t swarm.Task) (found reconcile.Task, lives bool) {
	switch t.Status.State {
	case swarm.TaskStateComplete, swarm.TaskStateShutdown, swarm.TaskStateFailed, swarm.TaskStateRejected,
		swarm.TaskStateRemove, swarm.TaskStateOrphaned:
		return reconcile.Task{}, false
	}
	return reconcile.Task{
		ID: t.ID, Service: t.ServiceID, Running: t.Status.State == swarm.TaskStateRunning && t.DesiredState == swarm.TaskStateRunning,
		Secrets: references(t.Spec),
	}, true
}

// references are the secrets that a task mounts as files.
func references(t swarm.TaskSpec) []reconcile.SecretRef {
	if t.ContainerSpec == nil {
		return nil
	}
	var refs []reconcile.SecretRef
	for _, r := range t.ContainerSpec.Secrets {
		if r == nil {
			continue
		}
		ref := reconcile.SecretRef{ID: r.SecretID, Name: r.SecretName}
		if f := r.File; f != nil {
			ref.Target, ref.Mode = f.Name, f.Mode
			ref.UID, _ = strconv.Atoi(f.UID) // "" is 0
			ref.GID, _ = strconv.Atoi(f.GID)
		}
		refs = append(refs, ref)
	}
	return refs
}

// CreateSecret makes a secret. The engine refuses a name that is taken (409), which is as good.
func (e *Engine) CreateSecret(ctx context.Context, s reconcile.NewSecret) error {
	if e.err != nil {
		return e.err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	err := e.o.Around.Do("POST /secrets/create", func() error {
		_, err := e.cli.SecretCreate(ctx, swarm.SecretSpec{
			Annotations: swarm.Annotations{Name: s.Name, Labels: s.Labels}, Data: s.Data,
		})
		return err
	})
	if err != nil && !errdefs.IsConflict(err) {
		return fmt.Errorf("create secret %s: %w", s.Name, err)
	}
	return nil
}

// LabelSecret labels a secret that holds data. Swarm looks at data first, and then at the version (swarmkit,
// controlapi.UpdateSecret).
func (e *Engine) LabelSecret(ctx context.Context, s reconcile.Secret, data []byte) (holds bool, err error) {
	switch {
	case e.err != nil:
		return false, e.err
	case len(data) == 0: // Swarm would compare nothing, and agree
		return false, fmt.Errorf("nothing to compare secret %s with", s.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	err = e.o.Around.Do("POST /secrets/{id}/update", func() error {
		return e.cli.SecretUpdate(ctx, s.ID, swarm.Version{Index: s.Version}, swarm.SecretSpec{
			Annotations: swarm.Annotations{Name: s.Name, Labels: s.Labels}, Data: data,
		})
	})
	switch {
	case err == nil:
		return true, nil
	case errdefs.IsInvalidArgument(err) && strings.Contains(err.Error(), "only updates to Labels are allowed"):
		return false, nil
	case outOfSequence(err):
		return false, fmt.Errorf("somebody else changed secret %s at the same time; try again", s.Name)
	}
	return false, fmt.Errorf("compare secret %s: %w", s.Name, err)
}

// outOfSequence reports whether somebody else was faster: HTTP 500, for want of a conflict.
func outOfSequence(err error) bool {
	return err != nil && strings.Contains(err.Error(), "update out of sequence")
}

// RemoveSecret removes a secret. Swarm refuses while the spec of a service names it.
func (e *Engine) RemoveSecret(ctx context.Context, id string) error {
	if e.err != nil {
		return e.err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	err := e.o.Around.Do("DELETE /secrets/{id}", func() error { return e.cli.SecretRemove(ctx, id) })
	if err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	return nil
}

// Update swaps secrets of a service and follows the update. The service is read first and updated under the version
// that was read, so that nobody's change is lost; nothing else of its spec is touched.
func (e *Engine) Update(ctx context.Context, u reconcile.ServiceUpdate) error {
	if e.err != nil {
		return e.err
	}
	ctx, cancel := context.WithTimeout(ctx, updateTimeout)
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
	if c.Secrets, err = swapped(c.Secrets, u); err != nil {
		return err
	}
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

// swapped gives the secrets of a service after an update. What somebody mounted meanwhile where something is to come is
// not taken away. They are in the order of `docker stack deploy`, by name: Swarm replaces the tasks of a service whose
// secrets change places.
func swapped(is []*swarm.SecretReference, u reconcile.ServiceUpdate) ([]*swarm.SecretReference, error) {
	var kept []*swarm.SecretReference
	for _, r := range is {
		at := func(x reconcile.SecretRef) bool { return r.File != nil && x.Target == r.File.Name }
		switch {
		case slices.ContainsFunc(u.Take, func(t reconcile.SecretRef) bool { return at(t) && t.ID == r.SecretID }):
		case slices.ContainsFunc(u.Give, at):
			return nil, fmt.Errorf("%w: it mounts %s as %s by now", reconcile.ErrNotUpdated, r.SecretName, r.File.Name)
		default:
			kept = append(kept, r)
		}
	}
	for _, g := range u.Give {
		kept = append(kept, &swarm.SecretReference{
			SecretID: g.ID, SecretName: g.Name,
			File: &swarm.SecretReferenceFileTarget{
				Name: g.Target, UID: strconv.Itoa(g.UID), GID: strconv.Itoa(g.GID), Mode: g.Mode.Perm(),
			},
		})
	}
	slices.SortStableFunc(kept, func(a, b *swarm.SecretReference) int { return strings.Compare(a.SecretName, b.SecretName) })
	return kept, nil
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
	ctx, cancel := context.WithTimeout(ctx, grace+answerTimeout)
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

// outdated reports whether a task that is to run has other secrets than its service.
func outdated(s swarm.Service) func(swarm.Task) bool {
	return func(t swarm.Task) bool { return !slices.Equal(references(t.Spec), references(s.Spec.TaskTemplate)) }
}
