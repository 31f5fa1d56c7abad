package main

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/certwright/certwright/reconcile"
)

// As many steps are listed one by one in a pass; of more only every hundredth, and those that fail.
const listedSteps = 50

// progress prints steps as they end, and those under way for more than a second.
type progress struct {
	a       *app
	mu      sync.Mutex
	running map[int]*time.Timer
	done    int
	yielded bool
}

func newProgress(a *app) *progress { return &progress{a: a, running: map[int]*time.Timer{}} }

func (p *progress) event(e reconcile.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.Said != "" {
		p.stop(e)
		p.print("…", e, e.Said)
		return
	}
	if !e.Done {
		if p.done < listedSteps {
			p.running[e.Step.ID] = time.AfterFunc(time.Second, func() { p.line("…", e, "under way") })
		}
		return
	}
	p.stop(e)
	if errors.Is(e.Err, reconcile.ErrChanged) {
		if !p.yielded {
			p.yielded = true
			fmt.Fprintln(p.a.out, "  … somebody else was faster: looking again")
		}
		return
	}
	p.done++
	switch {
	case e.Err != nil:
		p.print(p.a.paint(red, "x"), e, e.Err.Error())
	case p.done <= listedSteps:
		p.print(p.a.paint(green, sign(e.Step.Action)), e, "")
	case p.done%100 == 0:
		fmt.Fprintf(p.a.out, "  … %d steps\n", p.done)
	}
}

// stop says nothing more of a step by itself.
func (p *progress) stop(e reconcile.Event) {
	if t := p.running[e.Step.ID]; t != nil {
		t.Stop()
		delete(p.running, e.Step.ID)
	}
}

func (p *progress) line(mark string, e reconcile.Event, more string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running[e.Step.ID] != nil {
		p.print(mark, e, more)
	}
}

func (p *progress) print(mark string, e reconcile.Event, more string) {
	text := fmt.Sprintf("  %s %s (%s)", mark, e.Step.Action, e.Step.Reason)
	if more != "" {
		text += ": " + more
	}
	fmt.Fprintln(p.a.out, text)
}

// close ends every timer.
func (p *progress) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, t := range p.running {
		t.Stop()
		delete(p.running, id)
	}
}
