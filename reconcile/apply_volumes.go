package reconcile

import (
	"slices"
	"time"
)

// volumes makes volumes, on hosts side by side and of each side by side. It gives the hosts that have not made theirs a while
// after the others, whose work would wait for them, and what waits for those.
func (r *run) volumes(wave waves) (late map[string]bool, wait func()) {
	byHost := map[string][]Step{}
	for _, s := range wave.volumes {
		host := s.Action.(CreateVolume).Host
		byHost[host] = append(byHost[host], s)
	}
	late = map[string]bool{}
	ended := make(chan string, len(byHost))
	limit := make(chan struct{}, hostWorkers)
	for host, steps := range byHost {
		late[host] = true
		go func() {
			limit <- struct{}{}
			_ = inWorkers(hostWorkers, len(steps), func(i int) error {
				r.each(steps[i:i+1], func(s Step) error {
					v := s.Action.(CreateVolume)
					return r.Engines.CreateVolume(r.ctx, v.Host, v.Name, v.Labels)
				})
				return nil
			})
			<-limit
			ended <- host
		}()
	}
	var over <-chan time.Time
	if slices.ContainsFunc(wave.places, func(s Step) bool { return !late[hostOf(s.Action)] }) {
		over = time.After(more)
	}
	for len(late) > 0 {
		select {
		case host := <-ended:
			delete(late, host)
			over = time.After(more)
		case <-over:
			return late, func() {
				for range late {
					<-ended
				}
			}
		}
	}
	return late, func() {}
}

// apart are the places and reloads of a wave without those of some hosts, and those.
func (w waves) apart(hosts map[string]bool) (now, then waves) {
	for _, part := range []struct{ of, now, then *[]Step }{
		{&w.places, &now.places, &then.places},
		{&w.reloads, &now.reloads, &then.reloads},
		{&w.follow, &now.follow, &then.follow},
		{&w.engines, &now.engines, &then.engines},
	} {
		for _, s := range *part.of {
			to := part.now
			if hosts[hostOf(s.Action)] {
				to = part.then
			}
			*to = append(*to, s)
		}
	}
	return now, then
}

// hostOf is the host whose engine an action needs; "" where it needs none.
func hostOf(a Action) string {
	switch a := a.(type) {
	case CreateVolume:
		return a.Host
	case Place:
		return a.At.engine()
	case Reload:
		return a.Target.Host
	case Remove:
		return a.At.engine()
	case RemoveSecret:
		return a.Host
	}
	return ""
}

// engine is the host whose engine leads to a location; "" for a directory of this machine.
func (l Location) engine() string {
	if l.Volume == "" && l.Container == "" && !l.Machine && !l.secrets() {
		return ""
	}
	return l.Host
}
