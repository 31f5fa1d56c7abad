package docker

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"path"
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

// Swarm lists what the Swarm has in six requests, however much that is.
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
	e.sweepOutposts(ctx, services)
	tasks, err := e.cli.TaskList(ctx, swarm.TaskListOptions{})
	if err != nil {
		return reconcile.Swarm{Err: e.noManager(err)}
	}
	secrets, err := e.cli.SecretList(ctx, swarm.SecretListOptions{})
	if err != nil {
		return reconcile.Swarm{Err: e.noManager(err)}
	}
	names := filters.NewArgs(filters.Arg("name", reconcile.ConfigNames(e.o.Project)))
	configs, err := e.cli.ConfigList(ctx, swarm.ConfigListOptions{Filters: names})
	if err != nil {
		return reconcile.Swarm{Err: e.noManager(err)}
	}
	s := reconcile.Swarm{CA: e.SwarmCA(ctx)}
	for _, x := range services {
		if x.Spec.Labels[labelCourier] != "" {
			continue
		}
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
	for _, x := range configs {
		s.Secrets = append(s.Secrets, reconcile.Secret{
			SecretKind: config, ID: x.ID, Name: x.Spec.Name, Labels: x.Spec.Labels, Version: x.Version.Index, Data: x.Spec.Data,
		})
	}
	slices.SortFunc(s.Services, func(a, b reconcile.Service) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(s.Secrets, func(a, b reconcile.Secret) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Word(), b.Word()))
	})
	return s
}

var config = reconcile.SecretKind{Config: true}

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
	slot := t.NodeID // of a global service
	if t.Slot > 0 {
		slot = strconv.Itoa(t.Slot)
	}
	return reconcile.Task{
		ID: t.ID, Service: t.ServiceID, Slot: slot, Running: t.Status.State == swarm.TaskStateRunning && t.DesiredState == swarm.TaskStateRunning,
		Secrets: references(t.Spec), Addresses: overlays(t),
	}, true
}

// overlays are the addresses of a task by the id of the network. The routing mesh's network is left out: no service can
// be in it by itself.
func overlays(t swarm.Task) map[string]string {
	found := map[string]string{}
	for _, n := range t.NetworksAttachments {
		for _, a := range n.Addresses { // with the length of the network's prefix
			if ip, _, err := net.ParseCIDR(a); err == nil && !n.Network.Spec.Ingress && n.Network.DriverState.Name == "overlay" {
				found[n.Network.ID] = ip.String()
				break
			}
		}
	}
	return found
}

// references are the secrets and configs that a task mounts as files.
func references(t swarm.TaskSpec) []reconcile.SecretRef {
	if t.ContainerSpec == nil {
		return nil
	}
	var refs []reconcile.SecretRef
	for _, r := range t.ContainerSpec.Secrets {
		if r != nil {
			refs = append(refs, secretRef(r))
		}
	}
	for _, r := range t.ContainerSpec.Configs {
		if r != nil {
			refs = append(refs, configRef(r))
		}
	}
	return refs
}

func secretRef(r *swarm.SecretReference) reconcile.SecretRef {
	ref := reconcile.SecretRef{ID: r.SecretID, Name: r.SecretName}
	if f := r.File; f != nil {
		ref.Target, ref.Mode = f.Name, f.Mode
		ref.UID, _ = strconv.Atoi(f.UID) // "" is 0
		ref.GID, _ = strconv.Atoi(f.GID)
	}
	return ref
}

// configRef has the target of a config in the words of a secret's: Swarm mounts those below the root.
func configRef(r *swarm.ConfigReference) reconcile.SecretRef {
	ref := reconcile.SecretRef{SecretKind: config, ID: r.ConfigID, Name: r.ConfigName}
	if f := r.File; f != nil {
		ref.Target, ref.Mode = strings.TrimPrefix(path.Join("/", f.Name), reconcile.SecretsDir), f.Mode
		ref.UID, _ = strconv.Atoi(f.UID)
		ref.GID, _ = strconv.Atoi(f.GID)
	}
	return ref
}

// CreateSecret makes a secret or a config. The engine refuses a name that is taken (409), which is as good.
func (e *Engine) CreateSecret(ctx context.Context, s reconcile.NewSecret) error {
	if e.err != nil {
		return e.err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
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
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
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
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
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

// Update swaps secrets and configs of a service and follows the update. The service is read first and updated under the
// version that was read, so that nobody's change is lost; nothing else of its spec is touched.
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

// outdated reports whether a task that is to run has other secrets or configs than its service.
func outdated(s swarm.Service) func(swarm.Task) bool {
	return func(t swarm.Task) bool { return !slices.Equal(references(t.Spec), references(s.Spec.TaskTemplate)) }
}
