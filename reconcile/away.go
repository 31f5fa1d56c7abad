package reconcile

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/certwright/certwright/spec"
)

// away is what is known of a task on another node.
func away(host string, svc Service, t Task) Container {
	c := Container{Host: host, ID: t.ID, Name: svc.Name + "." + t.Slot, State: "running", Labels: map[string]string{swarmTask: t.ID}, Away: t.Addresses}
	if c.Away == nil {
		c.Away = map[string]string{}
	}
	return c
}

// ways are how tasks on other nodes are reached.
type ways struct {
	via map[[2]string]string // host, overlay network: a container of that engine in it
	err map[string]error     // by host: why there are not all
}

// reach finds a way to the tasks on other nodes of some bindings. A task of this node in the same network lends its own;
// where there is none, an outpost is sent if couriers may be, and taken back by recall.
func (v *view) reach(ctx context.Context, p Providers, bindings []*spec.Binding, couriers bool) (w ways, recall func()) {
	w = ways{map[[2]string]string{}, map[string]error{}}
	for host, swarm := range v.w.Swarms {
		for _, t := range swarm.Tasks {
			if c := v.tasked[t.ID]; t.Running && c.Running() && c.Host == host {
				for network := range t.Addresses {
					w.via[[2]string{host, network}] = c.ID
				}
			}
		}
	}
	missing := map[string][]string{} // networks by host
	for _, b := range bindings {
		for _, c := range v.consumers(b) {
			if len(c.Away) > 0 && couriers && w.to(c).Via == "" {
				missing[c.Host] = append(missing[c.Host], slices.Min(slices.Collect(maps.Keys(c.Away))))
			}
		}
	}
	var recalls []func()
	for host, networks := range missing {
		slices.Sort(networks)
		var at map[string]string
		w.err[host] = p.guard(func() (err error) {
			var recall func()
			at, recall, err = p.Swarms.Outposts(ctx, host, slices.Compact(networks))
			recalls = append(recalls, recall)
			return err
		})
		for network, id := range at {
			w.via[[2]string{host, network}] = id
		}
	}
	return w, func() {
		var all sync.WaitGroup
		for _, recall := range recalls {
			all.Go(recall)
		}
		all.Wait()
	}
}

// to gives a container that is away the way to it, and the address it has there.
func (w ways) to(c Container) Container {
	for network, address := range Sorted(c.Away) {
		if via := w.via[[2]string{c.Host, network}]; via != "" {
			c.Via, c.Addresses = via, []string{address}
			break
		}
	}
	return c
}

// none says why there is no way to a container, or is "".
func (w ways) none(c Container, couriers bool) string {
	switch {
	case c.Away == nil || c.Via != "":
		return ""
	case len(c.Away) == 0:
		return "it is in no overlay network"
	case !couriers:
		return "no courier may be started"
	case w.err[c.Host] != nil:
		return w.err[c.Host].Error()
	}
	return "nothing reaches its networks"
}
