package reconcile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// more is how much longer than the others a host may take in a round, at least: it may have to be sent a courier first.
const more = 3 * time.Second

// question is something that is asked of a host once that has said what it has.
type question struct {
	host, about string
	// ask takes the answer where it got one, by asks of the visit; what it returns is looked through for an Away.
	ask func(*visit) error
}

// only is a question of which all is for the host to answer.
func only(host, about string, do func(ctx context.Context) error) question {
	return question{host, about, func(v *visit) error { return v.asks(do) }}
}

// ask asks hosts side by side, of each so many questions at once, and returns when all have answered or been given up. One that
// is away leaves: it is not asked what is left of the questions, nor any other in this pass.
func (o *observer) ask(ctx context.Context, atOnce int, questions []question) {
	r := &round{observer: o, began: time.Now(), changed: make(chan struct{}, 1), visits: map[string]*visit{}}
	r.last = r.began
	for _, q := range questions {
		if o.left[q.host] {
			continue
		}
		v := r.visits[q.host]
		if v == nil {
			v = &visit{round: r, host: q.host}
			v.ctx, v.giveUp = context.WithCancelCause(ctx)
			defer v.giveUp(nil)
			r.visits[q.host] = v
		}
		v.questions = append(v.questions, q)
	}
	r.idle = o.others(r.visits)
	limit := make(chan struct{}, hostWorkers)
	for _, v := range r.visits {
		go func() {
			limit <- struct{}{}
			defer func() { <-limit }()
			r.pay(v, atOnce)
		}()
	}
	r.wait()
	for host, v := range Sorted(r.visits) {
		if v.why != "" && ctx.Err() == nil {
			o.leave(host, v.why)
		}
	}
}

// round is what hosts are asked in one go, each by a visit.
type round struct {
	*observer
	visits  map[string]*visit
	changed chan struct{} // has what wait has to look at, or nothing new
	began   time.Time
	idle    bool // there are other hosts, which are asked nothing this time

	mu   sync.Mutex // guards what follows, and the visits
	last time.Time  // when a host was done
	done int        // hosts
}

// visit is to one host.
type visit struct {
	*round
	host      string
	questions []question
	ctx       context.Context
	giveUp    context.CancelCauseFunc

	open  int       // questions that the host has not answered yet
	heard time.Time // when it answered last, or was first asked since
	owes  bool      // since then whoever asked had no more time for an answer
	why   string    // it is given up; "" where it has answered everything
	said  bool      // why is what its provider says
}

// asks is a question under way, for as long as it is for the host to answer.
func (v *visit) asks(do func(ctx context.Context) error) error {
	v.mu.Lock()
	if v.open++; v.open == 1 {
		if !v.owes {
			v.heard = time.Now()
		}
		v.wake()
	}
	v.mu.Unlock()
	answered := true // also by a panic
	defer func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.open--
		if v.owes = !answered; answered && v.ctx.Err() == nil {
			v.heard = time.Now()
		}
	}()
	err := do(v.ctx)
	answered = !cutOff(err)
	return err
}

// pay asks one host all that there is to ask of it.
func (r *round) pay(v *visit, atOnce int) {
	_ = inWorkers(atOnce, len(v.questions), func(i int) error {
		err := context.Cause(v.ctx)
		if err == nil {
			err = r.p.guard(func() error { return v.questions[i].ask(v) })
		}
		r.note(v, v.questions[i], err)
		return nil
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = time.Now()
	r.done++
	r.wake()
}

// wake has wait look again.
func (r *round) wake() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// note notes why a host is given up, if the end of a question says so.
func (r *round) note(v *visit, q question, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	away := Away{}
	switch {
	case errors.As(err, &away):
		if !v.said {
			v.why, v.said = away.Error(), true
		}
		v.giveUp(context.DeadlineExceeded)
	case v.ctx.Err() != nil && cutOff(err):
		if v.why == "" {
			v.why = fmt.Sprintf("engine %s does not answer: it was asked for %s, and no answer came in time; look whether it hangs, or is overloaded", v.host, q.about)
		}
	}
}

// cutOff reports whether an error is of a question that was given up, not one that it would have ended with anyway.
func cutOff(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, os.ErrDeadlineExceeded)
}

// wait returns when every visit is done. Where there is patience, one is given up that has said nothing for a while since the
// others were done: their work would wait for it.
func (r *round) wait() {
	for {
		due, over := r.late()
		if over {
			return
		}
		var late <-chan time.Time
		if !due.IsZero() {
			late = time.After(time.Until(due))
		}
		select {
		case <-r.changed:
		case <-late:
		}
	}
}

// late gives those up that are late, and says when the next one would be; over says that there is nobody left to wait for.
func (r *round) late() (due time.Time, over bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done == len(r.visits) {
		return due, true
	}
	if r.look.Patience == 0 || r.done == 0 && !r.idle {
		return due, false
	}
	for _, v := range r.visits {
		if v.open == 0 || v.ctx.Err() != nil {
			continue
		}
		since := r.last
		if v.heard.After(since) {
			since = v.heard
		}
		at := since.Add(max(more, r.last.Sub(r.began)))
		if !at.After(time.Now()) {
			v.giveUp(context.DeadlineExceeded)
			continue
		}
		if due.IsZero() || at.Before(due) {
			due = at
		}
	}
	return due, false
}

// others reports whether there are hosts to be looked at besides some.
func (o *observer) others(than map[string]*visit) bool {
	for i := range o.s.Bindings {
		b := &o.s.Bindings[i]
		if than[b.Host.Name] == nil && o.look.has(b) && !o.left[b.Host.Name] && o.w.Engines[b.Host.Name].Err == "" {
			return true
		}
	}
	return false
}

// leave has a host be one that did not answer, as if it had not been listed.
func (o *observer) leave(host, why string) {
	o.left[host] = true
	if e, asked := o.w.Engines[host]; asked {
		o.w.Engines[host] = EngineState{Err: why, Address: e.Address, Unproved: e.Unproved}
	}
	if _, asked := o.w.Swarms[host]; asked {
		o.w.Swarms[host] = Swarm{Err: why}
	}
	if o.look.Patience > 0 {
		o.w.Late = append(o.w.Late, host)
		if !o.seen {
			o.w.Unread = append(o.w.Unread, host)
		}
	}
	o.view = newView(o.s, o.w)
}
