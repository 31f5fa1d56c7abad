package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/swarm"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// swarmScene is a folder with a tls.yaml of one binding, api, and a service of a Swarm of its own that uses its secrets.
type swarmScene struct {
	t       *testing.T
	m       dockertest.Manager
	dir     string
	at      time.Time
	service string // its id
	name    string
	beside  string   // the secrets of api, in its binding
	args    []string // before those of a call
	env     []string // of calls, beside the usual
}

// newSwarmScene makes a service of two tasks that have no files to start with. change changes what is made.
func newSwarmScene(t *testing.T, change func(*swarm.ServiceSpec), flags ...string) *swarmScene {
	t.Helper()
	s := &swarmScene{t: t, m: dockertest.Swarm(t), dir: t.TempDir(), at: time.Now()}
	spec := s.m.TLSServer(t, "api", 2, flags...)
	spec.UpdateConfig = startFirst()
	if change != nil {
		change(&spec)
	}
	s.name, s.service = spec.Name, s.m.Serve(t, spec)
	s.write("")
	return s
}

// startFirst replaces one task after the other, each when the next one runs.
func startFirst() *swarm.UpdateConfig {
	return &swarm.UpdateConfig{
		Parallelism: 1, Monitor: time.Second, Order: swarm.UpdateOrderStartFirst, FailureAction: swarm.UpdateFailureActionPause,
	}
}

func (s *swarmScene) write(more string) {
	s.t.Helper()
	text := fmt.Sprintf(`version: 1
project: shop
cas:
  internal: {local: {lifetime: 10y}}
identities:
  api: {ca: internal, names: [api.test]}
bindings:
  api: {identity: api, service: %s, secret: {mode: "0400"}%s, probe: {port: 8443}}
%s`, s.name, s.beside, more)
	if err := os.WriteFile(filepath.Join(s.dir, "tls.yaml"), []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// run calls certwright in the network of the Swarm's node, as one who logged in there would. at is the fault of
// crashing; "" for none.
func (s *swarmScene) run(at string, args ...string) (result, string) {
	s.t.Helper()
	if at == "" {
		at = "0.after."
	}
	said := filepath.Join(s.t.TempDir(), "crashed")
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	argv := append([]string{"--net=/run/netns/" + s.m.Namespace, self, "-f", filepath.Join(s.dir, "tls.yaml"), "--host", "unix://" + s.m.Socket}, slices.Concat(s.args, args)...)
	cmd := exec.CommandContext(s.t.Context(), "nsenter", argv...)
	cmd.Env = append(os.Environ(), crashEnv+"="+at, crashedEnv+"="+said, crashNowEnv+"="+s.at.Format(time.RFC3339Nano))
	cmd.Env = append(cmd.Env, s.env...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	note(out.String() + errs.String())
	harvest(s.dir)
	what, _ := os.ReadFile(said)
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}, string(what)
}

func (s *swarmScene) want(code int, args ...string) result {
	s.t.Helper()
	r, _ := s.run("", args...)
	if r.code != code {
		s.t.Fatalf("certwright %s: exit %d, want %d\n%s%s", strings.Join(args, " "), r.code, code, r.out, r.err)
	}
	return r
}

// binding is what status says of api.
func (s *swarmScene) binding() bindingDocument {
	s.t.Helper()
	var d statusDocument
	r := s.want(exitDone, "status", "-o", "json")
	if err := json.Unmarshal([]byte(r.out), &d); err != nil {
		s.t.Fatalf("status: %v\n%s", err, r.out)
	}
	return d.binding(s.t, "api")
}

func (s *swarmScene) state(state, text string) {
	s.t.Helper()
	if b := s.binding(); b.State != state || !strings.Contains(b.Reason, text) {
		s.t.Fatalf("api is %s (%s), want %s (%s)", b.State, b.Reason, state, text)
	}
}

// ready waits until every task serves what is wanted and those before them are gone, checks that nothing is left to do,
// and returns the serial. Swarm may run a task too many: it restarts one that has just ended while an update replaces it.
func (s *swarmScene) ready(tasks int) (serial string) {
	s.t.Helper()
	dockertest.Poll(s.t, time.Minute, fmt.Sprintf("%d tasks to serve what is wanted", tasks), func() error {
		b := s.binding()
		if b.State != "Ready" || len(b.Targets) < tasks {
			return fmt.Errorf("%s (%s), %d targets", b.State, b.Reason, len(b.Targets))
		}
		serial = *b.Targets[0].WantedSerial
		for _, x := range b.Targets {
			if x.ServedSerial == nil || *x.ServedSerial != serial {
				return fmt.Errorf("%s does not serve it", x.Name)
			}
		}
		return nil
	})
	s.want(exitDone, "plan", "--exit-code")
	return serial
}

// settled waits until Swarm is done with an update.
func (s *swarmScene) settled() {
	s.t.Helper()
	dockertest.Poll(s.t, time.Minute, "the update to end", func() error {
		if u := s.m.Service(s.t, s.service).UpdateStatus; u == nil || u.State == swarm.UpdateStateUpdating || u.State == swarm.UpdateStateRollbackStarted {
			return fmt.Errorf("it is %+v", u)
		}
		return nil
	})
}

// rollback goes back to what the service was before, as `docker service rollback` does.
func (s *swarmScene) rollback() {
	s.t.Helper()
	is := s.m.Service(s.t, s.service)
	if _, err := s.m.Client.ServiceUpdate(s.t.Context(), is.ID, is.Version, *is.PreviousSpec, swarm.ServiceUpdateOptions{Rollback: "previous"}); err != nil {
		s.t.Fatal(err)
	}
	s.settled()
}

// ending names a task that is to end and has not yet, and so needs its secrets.
func (s *swarmScene) ending() error {
	tasks, err := s.m.Client.TaskList(s.t.Context(), swarm.TaskListOptions{Filters: filters.NewArgs(filters.Arg("service", s.service))})
	if err != nil {
		return err
	}
	for _, t := range tasks {
		switch t.Status.State {
		case swarm.TaskStateShutdown, swarm.TaskStateComplete, swarm.TaskStateFailed, swarm.TaskStateRejected:
			continue
		}
		if t.DesiredState == swarm.TaskStateShutdown {
			return fmt.Errorf("task %s is to end and %s", t.ID, t.Status.State)
		}
	}
	return nil
}

// rotated renews the certificate of two tasks and returns the serial of the new one. At most the version before is kept.
func (s *swarmScene) rotated(before string) string {
	s.t.Helper()
	s.want(exitDone, "rotate", "identity/api")
	now := s.ready(2)
	if now == before {
		s.t.Fatal("the serial is the same")
	}
	s.kept("after a rotation")
	return now
}

// kept checks that there are no older versions than the one before.
func (s *swarmScene) kept(when string) {
	s.t.Helper()
	for file, n := range s.versions() {
		if n > 2 {
			s.t.Errorf("%s: there are %d versions of %s", when, n, file)
		}
	}
}

// versions counts the versions there are of each file, be they secrets or configs.
func (s *swarmScene) versions() map[string]int {
	s.t.Helper()
	n := map[string]int{}
	for _, name := range append(s.m.Secrets(s.t), s.m.Configs(s.t)...) {
		for _, file := range []string{"ca.pem", "cert.pem", "key.pem"} {
			if strings.HasPrefix(name, "shop-api-"+file+"-") {
				n[file]++
			}
		}
	}
	return n
}

// mounted are the names of the secrets and configs in a service's spec.
func (s *swarmScene) mounted() []string {
	var names []string
	c := s.m.Service(s.t, s.service).Spec.TaskTemplate.ContainerSpec
	for _, r := range c.Secrets {
		names = append(names, r.SecretName)
	}
	for _, r := range c.Configs {
		names = append(names, r.ConfigName)
	}
	slices.Sort(names)
	return names
}

// remount takes the secret of a file from the service, as `docker service update --secret-rm` does, and gives it another
// one in its place if there is one. It returns the secret that was taken, or nil.
func (s *swarmScene) remount(file string, other *swarm.SecretReference) (was *swarm.SecretReference) {
	s.t.Helper()
	svc := s.m.Service(s.t, s.service)
	c := svc.Spec.TaskTemplate.ContainerSpec
	at := func(r *swarm.SecretReference) bool { return r.File.Name == file }
	if i := slices.IndexFunc(c.Secrets, at); i >= 0 {
		was = c.Secrets[i]
	}
	c.Secrets = slices.DeleteFunc(c.Secrets, at)
	if other != nil {
		other.File = &swarm.SecretReferenceFileTarget{Name: file, UID: "0", GID: "0", Mode: 0o400}
		c.Secrets = append(c.Secrets, other)
	}
	if _, err := s.m.Client.ServiceUpdate(s.t.Context(), svc.ID, svc.Version, svc.Spec, swarm.ServiceUpdateOptions{}); err != nil {
		s.t.Fatal(err)
	}
	s.settled()
	return was
}

// TestService brings secrets to a service, renews them, and lets Swarm go back to the version before.
func TestService(t *testing.T) {
	t.Parallel()
	s := newSwarmScene(t, nil)
	s.want(exitDone, "apply", "--wait", "1m")
	first := s.ready(2)

	for range 3 {
		s.at = s.at.Add(time.Minute)
		first = s.rotated(first)
	}
	now := s.mounted()

	// The version before must still be there to be gone back to.
	s.rollback()
	r, _ := s.run("", "plan", "--exit-code")
	if r.code != exitPending || !strings.Contains(r.out, "older secret version") {
		t.Fatalf("plan after a rollback: exit %d\n%s%s", r.code, r.out, r.err)
	}
	if r := s.want(exitDone, "why", "api"); !strings.Contains(r.out, s.name+": older secret version: ca.pem; its update is rollback completed: ") {
		t.Errorf("why:\n%s", r.out)
	}
	s.at = s.at.Add(time.Minute)
	s.want(exitDone, "apply", "--wait", "1m")
	if serial := s.ready(2); serial != first || !slices.Equal(now, s.mounted()) {
		t.Errorf("it serves %s with %v, want %s with %v", serial, s.mounted(), first, now)
	}
}

// TestServiceSlowUpdate collects while the tasks of a service are replaced one by one, slowly. Somebody updates it for
// another reason meanwhile: what the oldest task mounts is then in no spec any more, of now or before.
func TestServiceSlowUpdate(t *testing.T) {
	t.Parallel()
	s := newSwarmScene(t, func(spec *swarm.ServiceSpec) {
		three := uint64(3)
		spec.Mode.Replicated.Replicas = &three
		// The first tasks end for want of files: restarted and updated at once, a slot may be left with two tasks.
		spec.TaskTemplate.RestartPolicy.Condition = swarm.RestartPolicyConditionNone
	})
	s.want(exitDone, "apply", "--wait", "1m")
	first, older := s.ready(3), s.mounted()
	change := func(how func(*swarm.ServiceSpec)) {
		t.Helper()
		svc := s.m.Service(t, s.service)
		how(&svc.Spec)
		if _, err := s.m.Client.ServiceUpdate(t.Context(), svc.ID, svc.Version, svc.Spec, swarm.ServiceUpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	change(func(spec *swarm.ServiceSpec) { spec.UpdateConfig.Delay = time.Hour })

	s.at = s.at.Add(time.Minute)
	if _, what := s.run("1.after.POST /services", "rotate", "identity/api"); what == "" {
		t.Fatal("the service was not updated")
	}
	// halfway waits until that many tasks have older secrets and the others run, and collects.
	halfway := func(old int) {
		t.Helper()
		dockertest.Poll(t, time.Minute, fmt.Sprintf("%d older tasks", old), func() error {
			mounts := s.mounts()
			if n := mounts[older[0]]; n != old || mounts[s.mounted()[0]] != 3-old {
				return fmt.Errorf("the tasks mount %v", mounts)
			}
			return s.ending()
		})
		version := s.m.Service(t, s.service).Version
		s.want(exitDone, "apply")
		s.state("Waiting", "waits for the update of service "+s.name+" that is under way")
		if now := s.m.Service(t, s.service).Version; now != version {
			t.Errorf("apply changed the service from version %v to %v", version, now)
		}
		there := s.m.Secrets(t)
		for name, n := range s.mounts() {
			if !slices.Contains(there, name) {
				t.Errorf("%s is gone, and %d tasks mount it", name, n)
			}
		}
	}
	halfway(2)
	change(func(spec *swarm.ServiceSpec) { spec.Labels["for"] = "another reason" })
	if before := s.m.Service(t, s.service).PreviousSpec; before.TaskTemplate.ContainerSpec.Secrets[0].SecretName == older[0] {
		t.Fatal("the older secrets are in the spec of before: there is nothing to be seen here")
	}
	halfway(1)

	change(func(spec *swarm.ServiceSpec) { spec.UpdateConfig.Delay = 0 })
	s.settled()
	dockertest.Poll(t, time.Minute, "the older tasks to end", s.ending)
	s.want(exitDone, "apply", "--wait", "1m")
	if serial := s.ready(3); serial == first {
		t.Error("the serial is the same")
	}
	s.kept("in the end")
	if there := s.m.Secrets(t); slices.Contains(there, older[0]) {
		t.Errorf("nothing needs %s, and it is there", older[0])
	}
}

// mounts counts the tasks that run, by the names of the secrets that they mount.
func (s *swarmScene) mounts() map[string]int {
	s.t.Helper()
	tasks, err := s.m.Client.TaskList(s.t.Context(), swarm.TaskListOptions{Filters: filters.NewArgs(filters.Arg("service", s.service))})
	if err != nil {
		s.t.Fatal(err)
	}
	n := map[string]int{}
	for _, t := range tasks {
		if t.Status.State != swarm.TaskStateRunning {
			continue
		}
		for _, r := range t.Spec.ContainerSpec.Secrets {
			n[r.SecretName]++
		}
	}
	return n
}

// TestServiceOfOthers leaves a secret that somebody else gave the service until it is adopted.
func TestServiceOfOthers(t *testing.T) {
	t.Parallel()
	s := newSwarmScene(t, nil)
	made, err := s.m.Client.SecretCreate(t.Context(), swarm.SecretSpec{Annotations: swarm.Annotations{Name: "by-hand"}, Data: []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	byHand := &swarm.SecretReference{SecretID: made.ID, SecretName: "by-hand"}
	s.remount("cert.pem", byHand)
	s.want(exitPart, "apply")
	s.state("Blocked", "by-hand as cert.pem that was not made by certwright")
	if got := s.mounted(); !slices.Equal(got, []string{"by-hand"}) {
		t.Fatalf("the service mounts %v", got)
	}
	s.want(exitDone, "adopt", "api")
	s.want(exitDone, "apply", "--wait", "1m")
	s.ready(2)
	if got := s.mounted(); len(got) != 3 || slices.Contains(got, "by-hand") || !slices.Contains(s.m.Secrets(t), "by-hand") {
		t.Errorf("after adopt the service mounts %v, and there are %v", got, s.m.Secrets(t))
	}

	// The same again, when all was well.
	s.remount("cert.pem", byHand)
	s.state("Blocked", "by-hand as cert.pem that was not made by certwright")
	r := s.want(exitDone, "why", "api")
	for _, want := range []string{"placed   as wanted in secrets\n", s.name + ": somebody else's secret: cert.pem", "or run `certwright adopt api`\n"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("why does not say %q:\n%s", want, r.out)
		}
	}
	s.want(exitDone, "adopt", "api")
	s.want(exitDone, "apply", "--wait", "1m")
	s.ready(2)
}

// TestServiceCrashes has tasks that refuse the new certificate: Swarm rolls back, and certwright does not try for ever.
func TestServiceCrashes(t *testing.T) {
	t.Parallel()
	s := newSwarmScene(t, func(spec *swarm.ServiceSpec) {
		one := uint64(1)
		spec.Mode.Replicated.Replicas = &one
		spec.UpdateConfig.FailureAction = swarm.UpdateFailureActionRollback
		spec.UpdateConfig.Monitor = 3 * time.Second
		spec.TaskTemplate.ContainerSpec.Mounts = []mount.Mount{{Type: mount.TypeVolume, Source: "seen", Target: "/seen"}}
	}, "-crash-on-new", "/seen/first")
	s.want(exitDone, "apply", "--wait", "1m")
	first := s.ready(1)
	good := s.mounted()

	pushes := 0
	count := func() int {
		v := s.m.Service(t, s.service)
		return int(v.Version.Index)
	}
	for i := range 4 {
		s.at = s.at.Add(time.Minute)
		before := count()
		if i == 0 {
			s.want(exitPart, "rotate", "identity/api")
		} else {
			s.want(exitPart, "apply")
		}
		if count() != before {
			pushes++
		}
		dockertest.Poll(t, time.Minute, "the task of before", func() error {
			s.state("Failed", "rollback completed")
			if got := s.binding().Targets; len(got) != 1 || got[0].ServedSerial == nil || *got[0].ServedSerial != first {
				return fmt.Errorf("the targets are %+v", got)
			}
			return nil
		})
		if !slices.Equal(good, s.mounted()) {
			t.Fatalf("the service mounts %v, want %v", s.mounted(), good)
		}
	}
	if pushes != 2 {
		t.Errorf("it was updated %d times within the hour, want 2", pushes)
	}
}

// TestServiceLeavesSpec removes the secrets of a binding that left the spec when its service is gone, and not before.
func TestServiceLeavesSpec(t *testing.T) {
	t.Parallel()
	s := newSwarmScene(t, nil)
	s.write("  more: {identity: api, service: not-there, secret: {}}\n")
	s.want(exitDone, "apply")
	if n := len(s.m.Secrets(t)); n != 6 {
		t.Fatalf("%d secrets, want 6", n)
	}
	s.write("")
	s.at = s.at.Add(time.Minute)
	s.want(exitDone, "apply")
	if got := s.versions(); len(s.m.Secrets(t)) != 3 || got["key.pem"] != 1 {
		t.Fatalf("left are %v", s.m.Secrets(t))
	}
	s.ready(2)
}

// TestServiceKilled ends certwright at every effect of a renewal of a service that has secrets and configs. The next apply
// finishes it.
func TestServiceKilled(t *testing.T) {
	t.Parallel()
	s := newSwarmScene(t, func(spec *swarm.ServiceSpec) {
		spec.UpdateConfig.Parallelism = 0
		spec.UpdateConfig.Monitor = 100 * time.Millisecond
	})
	s.beside = ", config: {}"
	s.write("")
	s.want(exitDone, "apply", "--wait", "1m")
	serial := s.ready(2)
	points := s.kills([]string{"rotate", "identity/api"}, func(when, what string) {
		s.at = s.at.Add(6 * time.Second) // for so long another process might be at it
		dockertest.Poll(t, time.Minute, "the update that was cut short to end", func() error {
			if u := s.m.Service(t, s.service).UpdateStatus; u != nil && u.State == swarm.UpdateStateUpdating {
				return errors.New(u.Message)
			}
			return s.ending()
		})
		s.want(exitDone, "apply", "--wait", "1m")
		now := s.ready(2)
		if now == serial && strings.HasPrefix(what, "POST") { // the wish was durable long before
			t.Fatalf("%s %s: it still serves %s", when, what, serial)
		}
		serial = now
		s.kept(when + " " + what)
	})
	t.Logf("%d crash points", len(points))
	for _, call := range []string{"POST /secrets/create", "POST /configs/create", "POST /services/{id}/update", "DELETE /secrets/{id}", "DELETE /configs/{id}"} {
		if !slices.Contains(points, call) {
			t.Errorf("%s was not among %q", call, points)
		}
	}
}

// kills calls certwright again and again, each time an hour later, and ends it at one effect after the other: before the
// first, after each, and with the reply lost of each that is a request. It returns what they were; after each, then is
// called.
func (s *swarmScene) kills(args []string, then func(when, what string)) (points []string) {
	s.t.Helper()
	for n := 1; ; n++ {
		last := ""
		for _, when := range []string{"before", "after", "lost"} {
			request := strings.HasPrefix(last, "POST") || strings.HasPrefix(last, "DELETE")
			if when == "before" && n > 1 || when == "lost" && !request {
				continue
			}
			s.at = s.at.Add(61 * time.Minute) // an update that was cut short counts for an hour
			_, what := s.run(fmt.Sprintf("%d.%s.", n, when), args...)
			if what == "" {
				return points
			}
			last, points = what, append(points, what)
			then(fmt.Sprintf("%s effect %d,", when, n), what)
		}
	}
}
