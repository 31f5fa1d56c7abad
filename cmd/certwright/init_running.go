package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/certwright/certwright/providers/docker"
)

// fromRunning drafts a spec from the running containers of an engine. folder gives the project its name where no
// Compose project does.
func fromRunning(ctx context.Context, e *docker.Engine, folder string) (draft, error) {
	containers, err := e.Describe(ctx)
	if err != nil {
		return draft{}, err
	}
	if len(containers) == 0 {
		return draft{}, hinted{errors.New("no container is running on this engine"), "start them, or run `certwright init --compose FILE`"}
	}
	d := draft{from: "the running containers", project: projectName(folder)}
	projects := map[string]bool{}
	for _, c := range containers {
		projects[c.ComposeProject] = true
	}
	if len(projects) == 1 && containers[0].ComposeProject != "" {
		d.project = projectName(containers[0].ComposeProject)
	}
	seen := map[string]bool{} // replicas of one service are one workload
	for _, c := range containers {
		w := describedWorkload(c)
		if seen[w.consumer] {
			continue
		}
		seen[w.consumer] = true
		if slices.ContainsFunc(d.all, func(o workload) bool { return o.name == w.name }) {
			w.name = c.Name // two projects have a service of that name
		}
		d.all = append(d.all, w)
	}
	return d, nil
}

func describedWorkload(c docker.Description) workload {
	w := workload{name: cmp.Or(c.ComposeService, c.Name), image: c.Image, ports: c.Ports, published: c.Published}
	w.consumer = quoted(c.Name)
	all := []string{w.name, c.Name}
	if c.ComposeService != "" {
		w.consumer = fmt.Sprintf("{compose: %s}", quoted(c.ComposeProject+"/"+c.ComposeService))
	}
	all = append(all, c.Hostname)
	for _, n := range c.Networks {
		all = append(all, n.Aliases...)
		all = append(all, w.name+"."+n.Name)
	}
	if w.published {
		all = append(all, "localhost")
	}
	w.names = dnsNames(all...)
	if w.published {
		w.names = append(w.names, "127.0.0.1")
	}
	for _, m := range c.Mounts {
		mount := workloadMount{target: m.Destination}
		switch {
		case m.Type == "volume":
			mount.volume = m.Name
		case m.Type != "bind":
			continue
		case certificateFile.MatchString(m.Destination):
			mount.file = m.Source
		default:
			mount.dir = m.Source
		}
		w.mounts = append(w.mounts, mount)
	}
	return w
}
