package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// TestServiceAway works on one manager, and the tasks run on another: they are looked at from a container in their
// network, which is made for that alone where there is none, and which is gone afterwards.
func TestServiceAway(t *testing.T) {
	t.Parallel()
	nodes := dockertest.SwarmOf(t, 2)
	here, there := nodes[0], nodes[1]
	there.Image(t, dockertest.GoServer)
	api := here.TLSServer(t, "api", 2)
	on := func(spec *swarm.ServiceSpec, m dockertest.Manager) {
		spec.TaskTemplate.Placement = &swarm.Placement{Constraints: []string{"node.hostname == " + m.Hostname}}
	}
	network := here.Network(t)
	api.TaskTemplate.Networks, api.UpdateConfig = []swarm.NetworkAttachmentConfig{{Target: network}}, startFirst()
	on(&api, there)
	s := &swarmScene{t: t, m: here, dir: t.TempDir(), at: time.Now(), name: api.Name, service: here.Serve(t, api)}
	s.write("")
	s.want(exitDone, "apply")
	before := s.ready(2)
	for _, x := range s.binding().Targets {
		if !strings.HasPrefix(x.Name, api.Name+".") {
			t.Errorf("a target is called %s", x.Name)
		}
	}
	s.noOutposts("after apply")
	if r := s.want(exitDone, "verify", "--no-couriers"); !strings.Contains(r.out, "2 of its tasks run on other nodes and cannot be probed from here: no courier may be started") {
		t.Errorf("verify without couriers: %s", r.out)
	}

	// Killed while an outpost is there: the next one goes on, and removes it once it is old enough.
	for _, at := range [][2]string{
		{"after", "POST /services/create"}, {"lost", "POST /services/create"}, {"after", "POST /containers/create"}, {"before", "DELETE /services/{id}"},
	} {
		s.killAt(at[0], at[1], "status")
		s.want(exitDone, "status")
		s.noOutposts(at[0] + " " + at[1])
	}

	// A task of this node in the same network is as good. Each node gets one: a new task waits for the end of an old one, and goes
	// where none is.
	spec := here.Service(t, s.service).Spec
	spec.TaskTemplate.Placement, spec.UpdateConfig.Order = &swarm.Placement{MaxReplicas: 1}, swarm.UpdateOrderStopFirst
	spec.TaskTemplate.ForceUpdate++
	if _, err := here.Client.ServiceUpdate(t.Context(), s.service, here.Service(t, s.service).Version, spec, swarm.ServiceUpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	s.settled()
	s.ready(2)
	if s.rotated(before) == before {
		t.Error("the serial is the same")
	}
	r := s.want(exitDone, "status", "--verbose")
	local, err := here.Client.ContainerList(t.Context(), container.ListOptions{Filters: filters.NewArgs(filters.Arg("label", "com.docker.swarm.service.name="+spec.Name))})
	if err != nil {
		t.Fatal(err)
	}
	if len(local) != 1 {
		t.Fatalf("%d tasks are on this node", len(local))
	}
	if strings.Contains(r.err, "POST /services") || !strings.Contains(r.err, "POST /containers/create") {
		t.Errorf("it sent an outpost, or nobody\n%s", r.err)
	}
}

// TestServiceOnHosts has tasks that no network joins, on two nodes. Those of the other node are looked at through its engine when
// the spec has it as a host, and otherwise not at all.
func TestServiceOnHosts(t *testing.T) {
	t.Parallel()
	nodes := dockertest.SwarmOf(t, 2)
	here, there := nodes[0], nodes[1]
	there.Image(t, dockertest.GoServer)
	api := here.TLSServer(t, "api", 2)
	api.TaskTemplate.Placement = &swarm.Placement{MaxReplicas: 1}
	s := &swarmScene{t: t, m: here, dir: t.TempDir(), at: time.Now(), name: api.Name, service: here.Serve(t, api)}
	s.write("")
	s.want(exitDone, "apply")
	s.settled()
	s.state("Unverified", "1 of its tasks run on other nodes and cannot be probed from here: it is in no overlay network")
	s.write("hosts:\n  there: {endpoint: \"unix://" + there.Socket + "\"}\n")
	s.ready(2)
	var hosts []string
	for _, x := range s.binding().Targets {
		hosts = append(hosts, x.Host)
	}
	slices.Sort(hosts)
	if diff := cmp.Diff([]string{"local", "there"}, hosts); diff != "" {
		t.Errorf("targets are of the hosts (-want +got)\n%s", diff)
	}
	s.noOutposts("after that")
}

// killAt ends a call at the first effect of a kind. What was left by those before it may come first. Where Swarm does not start an
// outpost in time there is no such effect: that call ends well, and says so.
func (s *swarmScene) killAt(when, effect string, args ...string) {
	s.t.Helper()
	dockertest.Poll(s.t, 2*time.Minute, fmt.Sprint("the effect ", effect, " of ", args), func() error {
		s.at = s.at.Add(time.Hour)
		if r, what := s.run("1."+when+"."+effect, args...); what != effect {
			return fmt.Errorf("exit %d, killed at %q\n%s%s", r.code, what, r.out, r.err)
		}
		return nil
	})
}

// noOutposts checks that no service of certwright's own is left.
func (s *swarmScene) noOutposts(when string) {
	s.t.Helper()
	dockertest.Poll(s.t, time.Minute, "outposts to be gone "+when, func() error {
		left, err := s.m.Client.ServiceList(s.t.Context(), swarm.ServiceListOptions{Filters: filters.NewArgs(filters.Arg("label", "certwright.courier=1"))})
		if err != nil || len(left) > 0 {
			return errors.Join(err, fmt.Errorf("there are %d", len(left)))
		}
		return nil
	})
}
