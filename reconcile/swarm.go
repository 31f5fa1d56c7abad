package reconcile

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/certwright/certwright/spec"
)

// Swarms are the Swarms that engines manage, by host name.
type Swarms interface {
	// Swarm lists services, tasks, secrets, and the configs of ConfigNames in a number of calls that does not depend on how
	// many there are. An engine that is no manager, or does not answer, is a Swarm with Err.
	Swarm(ctx context.Context, host string) Swarm
	// CreateSecret makes a secret or a config. One of that name that is there already is success: names say what is in them.
	CreateSecret(ctx context.Context, host string, s NewSecret) error
	// LabelSecret gives a secret or a config s.Labels instead of those it had at s.Version, if it holds data, and reports
	// whether it does: Swarm shows no secret, but refuses to label one together with other data. It is not known after an
	// error, as when somebody was faster.
	LabelSecret(ctx context.Context, host string, s Secret, data []byte) (holds bool, err error)
	// Update gives a service other secrets and configs in one update, and follows it until Swarm has finished it. An error
	// has Swarm's own message where it paused the update or rolled it back; one that wraps ErrNotUpdated says that the
	// service was left as it was.
	Update(ctx context.Context, host string, u ServiceUpdate) error
	// RemoveSecret removes a secret or a config by its id. One that is not there is success.
	RemoveSecret(ctx context.Context, host string, s Secret) error
	// SwarmCA asks a Swarm about its CA and its nodes alone.
	SwarmCA(ctx context.Context, host string) SwarmCA
	// Outposts puts a container of certwright's own into each of some overlay networks, for a while, from which the tasks
	// there can be reached, and gives the containers' ids by network, with a function that takes them back. What it could
	// not do is the error.
	Outposts(ctx context.Context, host string, networks []string) (at map[string]string, recall func(), err error)
	// UpdateSwarm changes what a Swarm's spec says of its CA, all in one update, and returns when Swarm has taken it.
	// With an error it is unknown whether it has, but for ErrChanged: somebody else was faster, and nothing was changed.
	UpdateSwarm(ctx context.Context, host string, u SwarmUpdate) error
}

// ErrNotUpdated: the service is as it was, because somebody else was faster or it cannot be updated.
var ErrNotUpdated = errors.New("the service was not updated")

// Swarm is what a manager listed.
type Swarm struct {
	Err      string // why nothing could be listed; the rest is then empty
	Services []Service
	Tasks    []Task
	Secrets  []Secret
	CA       SwarmCA
}

// named is the secret or the config of a name, or nil.
func (s Swarm) named(k SecretKind, name string) *Secret {
	i := slices.IndexFunc(s.Secrets, func(x Secret) bool { return x.SecretKind == k && x.Name == name })
	if i < 0 {
		return nil
	}
	return &s.Secrets[i]
}

// Service is a Swarm service.
type Service struct {
	ID, Name string
	Stack    string      // that it was deployed with; "" for none
	Secrets  []SecretRef // of its spec
	Previous []SecretRef // of the spec before, to which it can be rolled back
	Replicas int         // tasks that should run; -1 for one on every node
	User     string      // whom its tasks run as, as the service has it; "" for the image's
	// StartsFirst is true when an update starts a new task before it ends the old one.
	StartsFirst bool
	Update      string // updating, paused, completed, rollback_started, rollback_paused, rollback_completed; "" before the first
	Message     string // Swarm's own about it
}

// Updating reports whether an update or a rollback is under way.
func (s Service) Updating() bool { return s.Update == "updating" || s.Update == "rollback_started" }

// SecretKind tells secrets from configs: what is said of secrets here holds for both.
type SecretKind struct {
	// Config says that it is a config, which everyone who may use the Swarm can read. Both have names of their own.
	Config bool
}

// Word is secret or config.
func (k SecretKind) Word() string {
	if k.Config {
		return "config"
	}
	return "secret"
}

// SecretsDir is where a service finds its files, be they secrets or configs: its own configuration is the same for both.
const SecretsDir = "/run/secrets/"

// ConfigNames is what the names of a project's configs begin with. Others are not listed, like those of the store: a list
// has all that is in them.
func ConfigNames(project string) string {
	name := project + "-"
	return name[:min(len(name), longestKey)]
}

// SecretRef is a secret as a service or task mounts it, under SecretsDir.
type SecretRef struct {
	SecretKind
	ID, Name string // of the secret
	Target   string // the file's name; a whole path where that is elsewhere
	Mode     fs.FileMode
	UID, GID int
}

// Secret is a Swarm secret, without what is in it, or a config.
type Secret struct {
	SecretKind
	ID, Name string
	Labels   map[string]string
	Version  uint64 // at which it was listed
	Data     []byte // of a config
	Forged   bool   // a config that holds something else than its name says; Observe finds that out
}

// Task is one task of a service that may still run, or run again.
type Task struct {
	ID, Service string
	Slot        string // tells the tasks of a service apart: a number, or the node's id
	Wanted      bool   // it is to run, or to go on
	Running     bool   // it does, and is to go on
	Secrets     []SecretRef
	Addresses   map[string]string // by the id of the overlay network; without the one that ports are published on
}

// NewSecret is a secret to be made.
type NewSecret struct {
	SecretKind
	Name   string
	Labels map[string]string
	Data   []byte
}

// ServiceUpdate says which secrets a service is to have: Take goes, and Give comes.
type ServiceUpdate struct {
	ID   string
	Take []SecretRef // by id and target
	Give []SecretRef
}

// The labels of a secret. Installation, project and binding are the owner's mark.
const (
	SecretInstallation = "certwright.installation"
	SecretBinding      = "certwright.binding"
	SecretFile         = "certwright.file"
)

// The label Swarm puts on the containers of tasks.
const swarmTask = "com.docker.swarm.task.id"

// services are the service that a binding names, while there is one. Where it names none, they are those that mount one of
// its secrets already, whatever version of it.
func (v *view) services(b *spec.Binding) []Service {
	var out []Service
	for _, s := range v.w.Swarms[b.Host.Name].Services {
		switch {
		case b.Consumer != nil && s.Name == b.Consumer.Service,
			b.Consumer == nil && slices.ContainsFunc(s.Secrets, func(r SecretRef) bool { return v.madeFor(b, r) }):
			out = append(out, s)
		}
	}
	return out
}

// tasks are the containers of the tasks of a binding's services: those that are being ended serve nobody.
func (v *view) tasks(b *spec.Binding) []Container {
	services := map[string]Service{}
	for _, s := range v.services(b) {
		services[s.ID] = s
	}
	var out []Container
	for _, t := range v.w.Swarms[b.Host.Name].Tasks {
		svc, ours := services[t.Service]
		if !ours || !t.Running {
			continue
		}
		c, seen := v.tasked[t.ID]
		if !seen {
			c = away(b.Host.Name, svc, t)
		}
		if c.Running() {
			out = append(out, c)
		}
	}
	return out
}

// running is how many tasks of a service run.
func (v *view) running(host string, svc Service) int {
	n := 0
	for _, t := range v.w.Swarms[host].Tasks {
		if t.Service == svc.ID && t.Running {
			n++
		}
	}
	return n
}

// replicas is how many tasks of a service are to run: one on every node where a global one has a task that is to.
func (v *view) replicas(host string, svc Service) int {
	if svc.Replicas >= 0 {
		return svc.Replicas
	}
	nodes := map[string]bool{}
	for _, t := range v.w.Swarms[host].Tasks {
		if t.Service == svc.ID && t.Wanted {
			nodes[t.Slot] = true
		}
	}
	return len(nodes)
}

// ours reports whether a secret has the mark of this project and installation.
func (v *view) ours(s Secret) bool {
	return s.Labels[ProjectLabel] == v.s.Project && s.Labels[SecretInstallation] == v.w.State.Installation
}

// marked reports whether a secret has the mark of a binding of this project and installation.
func (v *view) marked(b *spec.Binding, s Secret) bool {
	return v.ours(s) && s.Labels[SecretBinding] == b.Name
}

// Swarm allows a secret's name this many letters, of which the last ones tell versions apart.
const longestName, shortHash = 64, 12

// longestKey is how much is left of a name that is too long, before a hash of all of it.
const longestKey = longestName - 2 - 2*shortHash

// secretName names one version of a file: PROJECT-BINDING-FILE-HASH12. Equal names hold the same.
func secretName(project, binding, file string, version Fingerprint) string {
	return secretKey(project, binding, file) + "-" + string(version[:shortHash])
}

// secretKey is what the names of all versions of a file begin with, in the letters and the length Swarm allows.
func secretKey(project, binding, file string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', strings.ContainsRune("-_.", r):
			return r
		}
		return '-'
	}, project+"-"+binding+"-"+file)
	if len(name) > longestName-1-shortHash {
		all := digest(project, binding, file)
		name = name[:longestKey] + "-" + string(all[:shortHash])
	}
	return name
}
