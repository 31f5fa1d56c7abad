package docker

import (
	"context"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/volume"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// List lists every container but couriers, and every volume, in two requests, however many there are.
func (e *Engine) List(ctx context.Context) reconcile.EngineState {
	state := reconcile.EngineState{Named: e.host == spec.LocalHost && e.end.named}
	state.Address, _ = strings.CutPrefix(e.end.address, "tcp://")
	if state.Address == e.end.address {
		state.Address = ""
	}
	state.Unproved = e.end.skipVerify && state.Address != ""
	if e.err != nil {
		state.Err = e.err.Error()
		return state
	}
	ctx, cancel := limited(ctx, answerTimeout)
	defer cancel()
	containers, err := e.cli.ContainerList(ctx, container.ListOptions{All: true})
	if err != nil {
		state.Err = e.silence(err)
		return state
	}
	volumes, err := e.cli.VolumeList(ctx, volume.ListOptions{})
	if err != nil {
		state.Err = e.silence(err)
		return state
	}
	e.apart.Store(e.end.onMachine() && hasOwnNetwork(e.end.address))
	for _, c := range containers {
		if c.Labels[labelCourier] != "" {
			continue // it is nobody's consumer, and gone in a moment
		}
		state.Containers = append(state.Containers, e.container(c))
	}
	showOurs(state.Containers, func(id string) string {
		if i := slices.IndexFunc(containers, func(c container.Summary) bool { return c.ID == id }); i >= 0 {
			return containers[i].HostConfig.NetworkMode
		}
		return ""
	})
	for _, v := range volumes.Volumes {
		if v != nil {
			state.Volumes = append(state.Volumes, reconcile.Volume{Name: v.Name, Driver: v.Driver, Labels: v.Labels})
		}
	}
	slices.SortFunc(state.Containers, func(a, b reconcile.Container) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(state.Volumes, func(a, b reconcile.Volume) int { return strings.Compare(a.Name, b.Name) })
	return state
}

// container turns an entry of GET /containers/json into a value.
func (e *Engine) container(s container.Summary) reconcile.Container {
	c := reconcile.Container{
		Host: e.host, ID: s.ID, Name: name(s), Image: s.Image, Command: s.Command, Labels: s.Labels,
		Network: s.HostConfig.NetworkMode, State: s.State, Code: exitCode(s.Status), Tried: tried(s), Anew: anew.MatchString(s.Status), Health: health(s.Status), Created: time.Unix(s.Created, 0), Addresses: addresses(s),
		Published: e.published(s.Ports),
	}
	if s.HostConfig.NetworkMode == "host" && e.end.onMachine() && !e.apart.Load() {
		c.Addresses = append(c.Addresses, "127.0.0.1")
	}
	for _, m := range s.Mounts {
		c.Mounts = append(c.Mounts, reconcile.Mount{
			Type: string(m.Type), Name: m.Name, Source: m.Source, Destination: m.Destination, ReadWrite: m.RW,
		})
	}
	slices.SortFunc(c.Mounts, func(a, b reconcile.Mount) int { return strings.Compare(a.Destination, b.Destination) })
	return c
}

// name is the container's own name: the one without the name of a container that links to it.
func name(s container.Summary) string {
	for _, n := range s.Names {
		if n = strings.TrimPrefix(n, "/"); !strings.Contains(n, "/") {
			return n
		}
	}
	return s.ID
}

// tried reports whether a start was tried: the engine has joined it to its networks then, and lists with what even after a start
// that failed. One that failed before that, by a directory that is gone, is not told from none.
func tried(s container.Summary) bool {
	if s.NetworkSettings == nil {
		return false
	}
	for _, n := range s.NetworkSettings.Networks {
		if n != nil && n.EndpointID != "" {
			return true
		}
	}
	return false
}

// health reads the state of the health check out of a status such as "Up 3 minutes (healthy)", the only place
// where the list has it.
func health(status string) string {
	switch {
	case strings.HasSuffix(status, "(health: starting)"):
		return container.Starting
	case strings.HasSuffix(status, "(unhealthy)"):
		return container.Unhealthy
	case strings.HasSuffix(status, "(healthy)"):
		return container.Healthy
	}
	return ""
}

// addresses are those on the engine's networks, in the order of the networks' names.
func addresses(s container.Summary) []string {
	if s.NetworkSettings == nil {
		return nil
	}
	var names []string
	for n := range s.NetworkSettings.Networks {
		names = append(names, n)
	}
	slices.Sort(names)
	var found []string
	for _, n := range names {
		network := s.NetworkSettings.Networks[n]
		if network == nil {
			continue
		}
		for _, a := range []string{network.IPAddress, network.GlobalIPv6Address} {
			if a != "" {
				found = append(found, a)
			}
		}
	}
	return found
}

// published maps the container's TCP ports to addresses that reach them from outside. Ports that are published on
// the loopback of another machine are left out.
func (e *Engine) published(ports []container.Port) map[int]string {
	found := map[int]string{}
	for _, p := range ports {
		if p.PublicPort == 0 || p.Type != "tcp" {
			continue
		}
		host, ip := p.IP, net.ParseIP(p.IP)
		switch {
		case e.apart.Load(): // in a network that nothing is known of
			continue
		case ip == nil || ip.IsUnspecified():
			host = e.end.publishedHost()
		case ip.IsLoopback() && !e.end.onMachine():
			continue
		}
		address := net.JoinHostPort(host, strconv.Itoa(int(p.PublicPort)))
		// A port published for IPv4 and IPv6 is listed twice.
		if old, ok := found[int(p.PrivatePort)]; host != "" && (!ok || address < old) {
			found[int(p.PrivatePort)] = address
		}
	}
	if len(found) == 0 {
		return nil
	}
	return found
}
