package reconcile

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/certwright/certwright/spec"
)

// So many hosts are asked at once: most of the time is spent waiting for them.
const hostWorkers = 64

// quick is how long a host is waited for while there is something to do on others. One that is well answers sooner, unless
// the way to it is slow.
const quick = time.Second

// asking is what is asked of a host.
type asking struct{ engine, swarm, daemon bool }

// answer is what a host said.
type answer struct {
	engine EngineState
	swarm  Swarm
	daemon DaemonState
	late   bool
}

// ask asks hosts side by side, each for its engine and its Swarm. One that does not answer delays the others as long as the
// look has patience, and is an error only where the user named it.
func (w *World) ask(ctx context.Context, p Providers, look Look, asked map[string]asking) error {
	hosts := slices.Sorted(maps.Keys(asked))
	answers := make([]answer, len(hosts))
	_ = inWorkers(hostWorkers, len(hosts), func(i int) error {
		answers[i] = look.ask(ctx, p, hosts[i], asked[hosts[i]])
		return nil
	})
	for i, host := range hosts {
		a := answers[i]
		if asked[host].engine {
			w.Engines[host] = a.engine
		}
		if asked[host].swarm {
			w.Swarms[host] = a.swarm
		}
		if asked[host].daemon {
			w.Daemons[host] = a.daemon
		}
		switch {
		case a.late:
			w.Late, w.Unread = append(w.Late, host), append(w.Unread, host)
		case w.Engines[host].Named && a.engine.Err+a.swarm.Err != "" && !w.Daemons[host].cutOff(): // else nobody would bring it back
			return errors.New(max(a.engine.Err, a.swarm.Err))
		}
	}
	return nil
}

func (l Look) ask(ctx context.Context, p Providers, host string, what asking) (a answer) {
	if why, silent := l.Silent[host]; silent {
		return answer{engine: EngineState{Err: why}, swarm: Swarm{Err: why}, daemon: DaemonState{Err: why, Away: true}}
	}
	if l.Patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, l.Patience)
		defer cancel()
	}
	broke := p.guard(func() error {
		if what.engine {
			a.engine = p.Engines.List(ctx, host)
		}
		if what.swarm {
			a.swarm = p.Swarms.Swarm(ctx, host)
		}
		if what.daemon {
			a.daemon = p.daemon(ctx, host)
		}
		return nil
	})
	if broke != nil {
		a.engine.Err, a.swarm.Err, a.daemon.Err = broke.Error(), broke.Error(), broke.Error()
	}
	a.late = a.engine.Err+a.swarm.Err+a.daemon.Err != "" && errors.Is(ctx.Err(), context.DeadlineExceeded) && l.Patience > 0
	return a
}

// patience is how a convergence waits for hosts: as long as there is something to do on some, not long for others, and then
// as long as their engines may take. None is waited for so long twice.
type patience struct {
	each   time.Duration
	spared map[string]string // by host that was not asked at all: why
	silent map[string]string // by host that is not asked now: why
	late   []string          // of them, those that did not answer quickly
}

// patience begins a convergence. A watch does not ask again yet who has kept it waiting before.
func (a Applier) patience(scope Scope) *patience {
	p := &patience{silent: map[string]string{}}
	if len(a.Spec.Hosts) > 0 {
		p.each = quick
	}
	if scope.Patient {
		p.spared = a.Memory.silent(a.Clock())
		maps.Copy(p.silent, p.spared)
	}
	return p
}

// met notes who did not answer.
func (p *patience) met(w World) {
	for _, host := range w.Late {
		p.silent[host] = max(w.Engines[host].Err, w.Swarms[host].Err, w.Daemons[host].Err)
		p.late = append(p.late, host)
	}
	for host, e := range w.Engines {
		if e.Err != "" && p.each == 0 && host != spec.LocalHost {
			p.silent[host] = e.Err
		}
	}
}

// extend gives those that did not answer quickly all their time, and reports whether there are any.
func (p *patience) extend() bool {
	if len(p.late) == 0 {
		return false
	}
	for _, host := range p.late {
		delete(p.silent, host)
	}
	p.each, p.late = 0, nil
	return true
}
