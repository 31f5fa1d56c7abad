package docker

import (
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/swarm"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/certwright/certwright/providers/docker/dockertest"
	"github.com/certwright/certwright/providers/memory/contract"
	"github.com/certwright/certwright/reconcile"
)

// TestSwarm asks a real manager for everything that can be asked of one.
func TestSwarm(t *testing.T) {
	m := dockertest.Swarm(t)
	var err error
	if manager, err = dockertest.NewRecorder(t.TempDir(), m.Socket); err != nil {
		t.Fatal(err)
	}
	var meddle func() // before a service is updated
	e := New("local", Options{
		Endpoint: "unix://" + manager.Socket, Project: t.Name(), CourierBinary: courierBinary(t), Getenv: func(string) string { return "" },
		Around: func(what string, do func() error) error {
			if meddle != nil && (strings.HasPrefix(what, "POST /services") || strings.HasPrefix(what, "POST /swarm")) {
				meddle()
			}
			return do()
		},
	})
	engines := Engines{"local": e}

	spec := m.TLSServer(t, "api", 1, "-crash-on-new", "/seen/first")
	spec.TaskTemplate.ContainerSpec.Env = []string{"KEPT=1"}
	spec.TaskTemplate.ContainerSpec.Mounts = []mount.Mount{{Type: mount.TypeVolume, Source: "seen", Target: "/seen"}}
	slow := 2 * time.Second
	spec.TaskTemplate.ContainerSpec.StopSignal, spec.TaskTemplate.ContainerSpec.StopGracePeriod = "SIGCONT", &slow
	spec.UpdateConfig = &swarm.UpdateConfig{Order: swarm.UpdateOrderStartFirst, Monitor: time.Second, FailureAction: swarm.UpdateFailureActionPause}
	id := m.Serve(t, spec)

	// Two pairs of which the server takes the first alone, and one that it does not take at all.
	give := func(version, what string) []reconcile.SecretRef {
		t.Helper()
		labels := map[string]string{"certwright.project": "shop", "version": version}
		for range 2 { // a lost reply is asked for again
			expect(t, engines.CreateSecret(soon(t), "local", reconcile.NewSecret{Name: "pem-" + version, Labels: labels, Data: []byte(what)}), "")
		}
		for _, s := range engines.Swarm(soon(t), "local").Secrets {
			if s.Name != "pem-"+version {
				continue
			}
			if diff := cmp.Diff(labels, s.Labels); diff != "" {
				t.Errorf("labels (-want +got)\n%s", diff)
			}
			return []reconcile.SecretRef{
				{ID: s.ID, Name: s.Name, Target: "cert.pem", Mode: 0o440, UID: 7, GID: 8},
				{ID: s.ID, Name: s.Name, Target: "key.pem", Mode: 0o400},
			}
		}
		t.Fatalf("secret %s is not listed", version)
		return nil
	}
	first, second := give("1", pairPEM(t)), give("2", pairPEM(t))

	before := m.Service(t, id)
	expect(t, engines.Update(soon(t), "local", reconcile.ServiceUpdate{ID: id, Give: first}), "")
	now := find1(t, engines)
	if diff := cmp.Diff(first, now.Secrets); diff != "" {
		t.Errorf("secrets (-want +got)\n%s", diff)
	}
	if now.Name != spec.Name || now.Replicas != 1 || !now.StartsFirst || now.Update != "completed" || len(now.Previous) != 0 {
		t.Errorf("the service is %+v", now)
	}
	tasks := engines.Swarm(soon(t), "local").Tasks
	if i := slices.IndexFunc(tasks, func(x reconcile.Task) bool { return x.Service == id && x.Running }); i < 0 || !cmp.Equal(first, tasks[i].Secrets) {
		t.Errorf("the tasks are %+v", tasks)
	}
	was := first
	first = slices.Clone(first)
	first[0].UID = 9
	expect(t, engines.Update(soon(t), "local", reconcile.ServiceUpdate{ID: id, Take: was, Give: first}), "")
	tasks = engines.Swarm(soon(t), "local").Tasks
	if len(tasks) != 1 || tasks[0].Service != id || !tasks[0].Running || !cmp.Equal(first, tasks[0].Secrets) {
		t.Errorf("the tasks are %+v, want the one with the new secrets, and that the one before has ended", tasks)
	}
	after := m.Service(t, id).Spec
	if diff := cmp.Diff(before.Spec, after, cmpopts.IgnoreFields(swarm.ContainerSpec{}, "Secrets")); diff != "" {
		t.Errorf("something else of the service was changed\n%s", diff)
	}

	// A task that dies of the second pair: Swarm pauses.
	err = engines.Update(soon(t), "local", reconcile.ServiceUpdate{ID: id, Take: first, Give: second})
	if err == nil || !strings.HasPrefix(err.Error(), "Swarm says paused: update paused due to failure") {
		t.Errorf("an update that fails: %v", err)
	}
	now = find1(t, engines)
	if diff := cmp.Diff([][]reconcile.SecretRef{second, first}, [][]reconcile.SecretRef{now.Secrets, now.Previous}); diff != "" || now.Update != "paused" || now.Message == "" {
		t.Errorf("after an update that failed: %q %q (-want +got)\n%s", now.Update, now.Message, diff)
	}

	// What somebody mounted meanwhile stays.
	err = engines.Update(soon(t), "local", reconcile.ServiceUpdate{ID: id, Give: first})
	if !errors.Is(err, reconcile.ErrNotUpdated) || !strings.Contains(err.Error(), "it mounts pem-2 as cert.pem by now") {
		t.Errorf("an update over what somebody mounted: %v", err)
	}

	// Somebody else is faster.
	meddle = func() {
		s := m.Service(t, id)
		s.Spec.Labels["meddled"] = "1"
		if _, err := m.Client.ServiceUpdate(t.Context(), id, s.Version, s.Spec, swarm.ServiceUpdateOptions{}); err != nil {
			t.Error(err)
		}
	}
	err = engines.Update(soon(t), "local", reconcile.ServiceUpdate{ID: id, Take: second, Give: first})
	if !errors.Is(err, reconcile.ErrNotUpdated) || !strings.Contains(err.Error(), "update out of sequence") {
		t.Errorf("an update of what has changed: %v", err)
	}
	if m.Service(t, id).Spec.Labels["meddled"] != "1" {
		t.Error("what somebody else changed was lost")
	}
	meddle = nil

	// Nothing that the service needs goes; what it does not need goes, also twice.
	if err := engines.RemoveSecret(soon(t), "local", reconcile.Secret{ID: second[0].ID}); err == nil || !strings.Contains(err.Error(), "in use by the following service") {
		t.Errorf("the removal of a secret in use: %v", err)
	}
	spare := give("3", "spare")
	expect(t, engines.RemoveSecret(soon(t), "local", reconcile.Secret{ID: spare[0].ID}), "")
	expect(t, engines.RemoveSecret(soon(t), "local", reconcile.Secret{ID: spare[0].ID}), "")

	t.Run("configs", func(t *testing.T) { contract.Configs(t, Configs{e}, "configs") })
	label(t, m, engines)

	// A service of no task has nothing to follow, and one that is not there says so.
	none := uint64(0)
	spec.Name, spec.Mode.Replicated.Replicas = spec.Name+"-0", &none
	idle := m.Serve(t, spec)
	expect(t, engines.Update(soon(t), "local", reconcile.ServiceUpdate{ID: idle, Give: first}), "")
	if err := engines.Update(soon(t), "local", reconcile.ServiceUpdate{ID: "nothing"}); !errors.Is(err, reconcile.ErrNotUpdated) {
		t.Error("a service that is not there was updated")
	}
	checkConfigs(t, m, engines, idle, first[0].ID)
	checkSwarmCA(t, m, engines, func(do func()) { meddle = do })

	outposts(t, m, e)
}

// label asks what secrets hold, and gives them labels. Swarm's own answers to that are all there is to know it by.
func label(t *testing.T, m dockertest.Manager, engines Engines) {
	t.Helper()
	const data = "what only the secret knows"
	expect(t, engines.CreateSecret(soon(t), "local", reconcile.NewSecret{Name: "deep", Labels: map[string]string{"a": "1"}, Data: []byte(data)}), "")
	listed := func() reconcile.Secret {
		t.Helper()
		all := engines.Swarm(soon(t), "local").Secrets
		return all[slices.IndexFunc(all, func(s reconcile.Secret) bool { return s.Name == "deep" })]
	}
	is, before := listed(), m.Secret(t, "deep")
	for _, other := range []string{data + "\n", data[1:], strings.ToUpper(data)} {
		if holds, err := engines.LabelSecret(soon(t), "local", is, []byte(other)); holds || err != nil {
			t.Errorf("holds %q: %v, %v", other, holds, err)
		}
	}
	if diff := cmp.Diff(before, m.Secret(t, "deep")); diff != "" {
		t.Errorf("other data changed the secret\n%s", diff)
	}
	start := time.Now()
	if holds, err := engines.LabelSecret(soon(t), "local", is, []byte(data)); !holds || err != nil {
		t.Errorf("holds what it does: %v, %v", holds, err)
	}
	t.Logf("one comparison took %s", time.Since(start).Round(time.Millisecond))
	after := m.Secret(t, "deep")
	if diff := cmp.Diff(before, after, cmpopts.IgnoreFields(swarm.Meta{}, "Version", "UpdatedAt")); diff != "" || after.Version.Index <= before.Version.Index {
		t.Errorf("version %d, then %d (-before +after)\n%s", before.Version.Index, after.Version.Index, diff)
	}

	// What was listed before that is out of date, and says nothing.
	is.Labels = map[string]string{"a": "2"}
	gone := is
	gone.ID = "nothing"
	for _, row := range []struct {
		of         reconcile.Secret
		data, want string
	}{
		{is, data, "somebody else changed secret deep at the same time; try again"},
		{is, "", "nothing to compare secret deep with"},
		{gone, data, "compare secret deep: Error response from daemon: secret nothing not found"},
	} {
		holds, err := engines.LabelSecret(soon(t), "local", row.of, []byte(row.data))
		if holds {
			t.Errorf("%+v is said to hold it", row.of)
		}
		expect(t, err, row.want)
	}
	if got := listed().Labels["a"]; got != "1" {
		t.Errorf("the label is %s", got)
	}
	is.Version = listed().Version
	if holds, err := engines.LabelSecret(soon(t), "local", is, []byte(data)); !holds || err != nil || listed().Labels["a"] != "2" {
		t.Errorf("another label: %v, %v, %+v", holds, err, listed())
	}
}

// checkConfigs makes, labels, mounts and removes configs. service has no tasks, and mounts secret as cert.pem and key.pem.
func checkConfigs(t *testing.T, m dockertest.Manager, engines Engines, service, secret string) {
	t.Helper()
	const ours = "TestSwarm-ca"
	kind := reconcile.SecretKind{Config: true}
	for _, name := range []string{ours, ours, "by-hand", "certwright-state-TestSwarm-1"} { // a lost reply is asked for again
		made := reconcile.NewSecret{SecretKind: kind, Name: name, Labels: map[string]string{"a": "1"}, Data: []byte("data of " + name)}
		expect(t, engines.CreateSecret(soon(t), "local", made), "")
	}
	listed := func() (all []reconcile.Secret) {
		t.Helper()
		for _, s := range engines.Swarm(soon(t), "local").Secrets {
			if s.Config {
				all = append(all, s)
			}
		}
		return all
	}
	all := listed()
	want := []reconcile.Secret{{SecretKind: kind, Name: ours, Labels: map[string]string{"a": "1"}, Data: []byte("data of " + ours)}}
	if diff := cmp.Diff(want, all, cmpopts.IgnoreFields(reconcile.Secret{}, "ID", "Version")); diff != "" || len(all) != 1 {
		t.Fatalf("the configs (-want +got)\n%s", diff)
	}

	is := all[0]
	is.Labels = map[string]string{"a": "2"}
	if holds, err := engines.LabelSecret(soon(t), "local", is, []byte("other")); holds || err != nil || listed()[0].Labels["a"] != "1" {
		t.Errorf("holds something else: %v, %v, %+v", holds, err, listed())
	}
	if holds, err := engines.LabelSecret(soon(t), "local", is, is.Data); !holds || err != nil || listed()[0].Labels["a"] != "2" {
		t.Errorf("holds what it does: %v, %v, %+v", holds, err, listed())
	}
	_, err := engines.LabelSecret(soon(t), "local", is, is.Data)
	expect(t, err, "somebody else changed config "+ours+" at the same time; try again")

	// A config takes the place of a secret in one update, and what somebody mounts elsewhere stays.
	byHand, _, err := m.Client.ConfigInspectWithRaw(t.Context(), "by-hand")
	if err != nil {
		t.Fatal(err)
	}
	s := m.Service(t, service)
	theirs := &swarm.ConfigReference{ConfigID: byHand.ID, ConfigName: "by-hand", File: &swarm.ConfigReferenceFileTarget{Name: "cert.pem", UID: "0", GID: "0", Mode: 0o444}}
	s.Spec.TaskTemplate.ContainerSpec.Configs = []*swarm.ConfigReference{theirs}
	if _, err := m.Client.ServiceUpdate(t.Context(), service, s.Version, s.Spec, swarm.ServiceUpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	give := reconcile.SecretRef{SecretKind: kind, ID: is.ID, Name: ours, Target: "cert.pem", Mode: 0o440, UID: 7, GID: 8}
	err = engines.Update(soon(t), "local", reconcile.ServiceUpdate{ID: service, Give: []reconcile.SecretRef{give}})
	if !errors.Is(err, reconcile.ErrNotUpdated) || !strings.Contains(err.Error(), "as cert.pem by now") {
		t.Errorf("a config over a secret that was not to go: %v", err)
	}
	take := reconcile.SecretRef{ID: secret, Target: "cert.pem"}
	expect(t, engines.Update(soon(t), "local", reconcile.ServiceUpdate{ID: service, Take: []reconcile.SecretRef{take}, Give: []reconcile.SecretRef{give}}), "")
	c := m.Service(t, service).Spec.TaskTemplate.ContainerSpec
	if diff := cmp.Diff([]*swarm.ConfigReference{
		{ConfigID: is.ID, ConfigName: ours, File: &swarm.ConfigReferenceFileTarget{Name: "/run/secrets/cert.pem", UID: "7", GID: "8", Mode: 0o440}},
		theirs,
	}, c.Configs); diff != "" || len(c.Secrets) != 1 || c.Secrets[0].File.Name != "key.pem" {
		t.Errorf("the configs (-want +got)\n%s\nand the secrets %+v", diff, c.Secrets)
	}
	services := engines.Swarm(soon(t), "local").Services
	now := services[slices.IndexFunc(services, func(x reconcile.Service) bool { return x.ID == service })]
	there := give
	there.Name, there.ID, there.Target, there.Mode, there.UID, there.GID = "by-hand", byHand.ID, "/cert.pem", 0o444, 0, 0
	if diff := cmp.Diff([]reconcile.SecretRef{give, there}, now.Secrets[1:]); diff != "" {
		t.Errorf("the service is seen with (-want +got)\n%s", diff)
	}

	if err := engines.RemoveSecret(soon(t), "local", is); err == nil || !strings.Contains(err.Error(), "in use by the following service") {
		t.Errorf("the removal of a config in use: %v", err)
	}
	expect(t, engines.Update(soon(t), "local", reconcile.ServiceUpdate{ID: service, Take: []reconcile.SecretRef{give}}), "")
	for range 2 {
		expect(t, engines.RemoveSecret(soon(t), "local", is), "")
	}
	if got := listed(); len(got) != 0 {
		t.Errorf("left are %+v", got)
	}

	w := listen(t, engines["local"])
	n := 0
	dockertest.Poll(t, 30*time.Second, "a config to be heard of", func() error {
		n++ // only what comes after it has connected is heard
		expect(t, engines.CreateSecret(soon(t), "local", reconcile.NewSecret{SecretKind: kind, Name: fmt.Sprint(ours, n), Data: []byte("x")}), "")
		if !slices.Contains(w.all(), "config create") {
			return errorf("heard %q", w.all())
		}
		return nil
	})
}

// TestNoManager has an engine that is in no Swarm, and hosts that are not there.
func TestNoManager(t *testing.T) {
	e, cli := engine(t)
	info, err := cli.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := e.Swarm(soon(t)); !info.Swarm.ControlAvailable && !strings.HasPrefix(got.Err, "engine local is no manager of a Swarm") {
		t.Errorf("an engine in no Swarm: %+v", got)
	}
	engines := Engines{"broken": New("broken", Options{Endpoint: "nonsense"})}
	for _, host := range []string{"broken", "nowhere"} {
		if engines.Swarm(soon(t), host).Err == "" {
			t.Errorf("%s lists a Swarm", host)
		}
		_, compared := engines.LabelSecret(soon(t), host, reconcile.Secret{}, []byte("x"))
		for _, err := range []error{
			compared, engines.CreateSecret(soon(t), host, reconcile.NewSecret{}), engines.RemoveSecret(soon(t), host, reconcile.Secret{ID: "x"}),
			engines.Update(soon(t), host, reconcile.ServiceUpdate{}), engines.UpdateSwarm(soon(t), host, reconcile.SwarmUpdate{}),
			reportedBy(engines.SwarmCA(soon(t), host)),
		} {
			if err == nil {
				t.Errorf("%s did something", host)
			}
		}
	}
	down := New("local", Options{Endpoint: "unix:///nowhere/docker.sock"})
	if got := down.Swarm(soon(t)).Err; !strings.Contains(got, "does not answer") {
		t.Errorf("an engine that is down: %q", got)
	}
}

// find1 is the one service there is.
func find1(t *testing.T, engines Engines) reconcile.Service {
	t.Helper()
	s := engines.Swarm(soon(t), "local")
	if s.Err != "" || len(s.Services) != 1 {
		t.Fatal(errors.New(s.Err), len(s.Services))
	}
	return s.Services[0]
}

// pairPEM is a new certificate and its key in one file.
func pairPEM(t *testing.T) string {
	t.Helper()
	i := newAuthority(t).issue(t, 7, time.Now().Add(time.Hour))
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.Certificate})) +
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: i.Key.PKCS8()}))
}

// outposts has containers of certwright's own in networks that only services can be in, and looks for what is left of them.
func outposts(t *testing.T, m dockertest.Manager, e *Engine) {
	t.Helper()
	there := func() (names []string) {
		t.Helper()
		all, err := m.Client.ServiceList(soon(t), swarm.ServiceListOptions{Filters: filters.NewArgs(filters.Arg("label", labelCourier+"=1"))})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range all {
			names = append(names, s.Spec.Name)
		}
		return names
	}
	first, second := m.Network(t), m.Network(t)
	at, recall, err := e.Outposts(soon(t), []string{first, second, "no-such-network"})
	expect(t, err, "outpost in network no-such-network: ")
	if len(at) != 2 || at[first] == at[second] {
		t.Fatalf("outposts are at %v", at)
	}
	for network, id := range at {
		c, err := m.Client.ContainerInspect(soon(t), id)
		if err != nil || !c.State.Running || c.Config.User != "65534:65534" || !c.HostConfig.ReadonlyRootfs || len(c.Mounts) != 0 {
			t.Fatalf("state %+v, user %s, mounts %v, read only %v, %v", c.State, c.Config.User, c.Mounts, c.HostConfig.ReadonlyRootfs, err)
		}
		if len(c.NetworkSettings.Networks) != 1 {
			t.Errorf("it is in networks %v", c.NetworkSettings.Networks)
		}
		for _, n := range c.NetworkSettings.Networks {
			if n.NetworkID != network {
				t.Errorf("it is in network %s, want %s", n.NetworkID, network)
			}
		}
	}
	for _, c := range e.List(soon(t)).Containers {
		if c.ID == at[first] {
			t.Error("it is listed")
		}
	}
	recall()
	if left := there(); len(left) > 0 {
		t.Errorf("after recall there are %v", left)
	}

	// On a node that takes no tasks there is none to wait for.
	for _, availability := range []swarm.NodeAvailability{swarm.NodeAvailabilityDrain, swarm.NodeAvailabilityActive} {
		nodes, err := m.Client.NodeList(soon(t), swarm.NodeListOptions{})
		if err != nil || len(nodes) != 1 {
			t.Fatal(nodes, err)
		}
		nodes[0].Spec.Availability = availability
		if err := m.Client.NodeUpdate(soon(t), nodes[0].ID, nodes[0].Version, nodes[0].Spec); err != nil {
			t.Fatal(err)
		}
		at, recall, err := e.Outposts(soon(t), []string{first})
		recall()
		if availability == swarm.NodeAvailabilityDrain {
			expect(t, err, "no suitable node")
		} else if err != nil || len(at) != 1 {
			t.Errorf("on a node that takes tasks again: %v, %v", at, err)
		}
	}

	// One that nobody takes back goes once it is old.
	if _, _, err := e.Outposts(soon(t), []string{first}); err != nil {
		t.Fatal(err)
	}
	left := there()
	for _, row := range []struct {
		after time.Duration
		gone  bool
		look  bool
	}{{outpostLife / 2, false, false}, {2 * outpostLife, false, true}, {2 * outpostLife, true, false}} {
		o := e.o
		o.LookOnly = row.look
		o.Now = func() time.Time { return time.Now().Add(row.after) }
		if s := New("local", o).Swarm(soon(t)); s.Err != "" {
			t.Fatal(s.Err)
		}
		if gone := len(there()) == 0; gone != row.gone || len(left) != 1 {
			t.Errorf("after %s there are %v of %v", row.after, there(), left)
		}
	}
}

// TestGive mounts things where they are to be, and reads that back: under /run/secrets, or at a path of their own.
func TestGive(t *testing.T) {
	for _, row := range []struct {
		ref  reconcile.SecretRef
		file string // as Swarm has it
	}{
		{reconcile.SecretRef{ID: "1", Name: "a", Target: "ca.pem", Mode: 0o444}, "ca.pem"},
		{reconcile.SecretRef{ID: "1", Name: "a", Target: "/etc/ssl/ca.pem", UID: 7, GID: 8, Mode: 0o400}, "/etc/ssl/ca.pem"},
		{reconcile.SecretRef{SecretKind: config, ID: "1", Name: "a", Target: "ca.pem", Mode: 0o444}, "/run/secrets/ca.pem"},
		{reconcile.SecretRef{SecretKind: config, ID: "1", Name: "a", Target: "/etc/ssl/ca.pem", Mode: 0o444}, "/etc/ssl/ca.pem"},
		{reconcile.SecretRef{SecretKind: config, ID: "1", Name: "a", Target: "/shop-a-ca.pem", Mode: 0o444}, "/shop-a-ca.pem"},
	} {
		var c swarm.ContainerSpec
		give(&c, []reconcile.SecretRef{row.ref})
		file, back := "", references(swarm.TaskSpec{ContainerSpec: &c})
		for _, s := range c.Secrets {
			file += s.File.Name
		}
		for _, s := range c.Configs {
			file += s.File.Name
		}
		if diff := cmp.Diff([]reconcile.SecretRef{row.ref}, back); diff != "" || file != row.file {
			t.Errorf("%+v is mounted at %s, want %s; read back (-want +got)\n%s", row.ref, file, row.file, diff)
		}
	}
}

// TestTasks has a row for each way in which a task is wanted, or runs.
func TestTasks(t *testing.T) {
	for _, row := range []struct {
		state, desired          swarm.TaskState
		wanted, running, living bool
	}{
		{swarm.TaskStateRunning, swarm.TaskStateRunning, true, true, true},
		{swarm.TaskStateStarting, swarm.TaskStateRunning, true, false, true},
		{swarm.TaskStateReady, swarm.TaskStateReady, true, false, true},
		{swarm.TaskStateRunning, swarm.TaskStateShutdown, false, false, true},
		{swarm.TaskStateRunning, swarm.TaskStateRemove, false, false, true},
		{swarm.TaskStateFailed, swarm.TaskStateRunning, false, false, false},
	} {
		got, lives := task(swarm.Task{Status: swarm.TaskStatus{State: row.state}, DesiredState: row.desired})
		if got.Wanted != row.wanted || got.Running != row.running || lives != row.living {
			t.Errorf("%s, to be %s: %+v, %v", row.state, row.desired, got, lives)
		}
	}
}
