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

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"

	"github.com/certwright/certwright/reconcile"
)

// Swarm lists what the Swarm has in six requests, however much that is.
func (e *Engine) Swarm(ctx context.Context) reconcile.Swarm {
	if e.err != nil {
		return reconcile.Swarm{Err: e.err.Error()}
	}
	ctx, cancel := limited(ctx, answerTimeout)
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
	wanted := t.DesiredState == swarm.TaskStateRunning || t.DesiredState == swarm.TaskStateReady // which waits to be started again
	return reconcile.Task{
		ID: t.ID, Service: t.ServiceID, Slot: slot,
		Wanted: wanted, Running: t.Status.State == swarm.TaskStateRunning && t.DesiredState == swarm.TaskStateRunning,
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
