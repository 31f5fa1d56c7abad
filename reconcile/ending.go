package reconcile

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/certwright/certwright/spec"
)

// Ending is how a container ended.
type Ending struct {
	Code  int
	At    time.Time // zero if it never ran
	OOM   bool      // the kernel ended it, for it had no memory left
	Error string    // why the engine could not start it, "" if it could
	// Stopped says that a person had the engine stop it, or that its restart policy would have had the engine start it again else.
	// Without a policy the engine forgets it, after some hundred events or when it is started anew: then it is false.
	Stopped bool
	// Again says that the engine started it anew by itself since, or is about to; the code of one that runs by now is not known.
	Again bool
	Began time.Time // of one that it is about to: when it started the last time
	// StopSignal is what the engine sends it to stop it: SIGQUIT, QUIT or 3; "" for TERM.
	StopSignal string
}

// byEngine is the code of a container that an engine found dead when it was started itself, as after a power cut.
const byEngine = 255

// A process that a signal ends has 128 and its number as exit code, as a shell has it (bash(1), EXIT STATUS).
var endedBy = map[int]string{129: "HUP", 130: "INT", 131: "QUIT", 132: "ILL", 134: "ABRT", 135: "BUS", 136: "FPE", 137: "KILL", 138: "USR1", 139: "SEGV", 140: "USR2", 143: "TERM"}

// fault reports whether nobody can have wanted the end. A signal that stops containers may have come from anybody, and is held
// for a person's.
func (e Ending) fault() bool {
	if e.OOM || e.Error != "" {
		return true
	}
	stop := strings.TrimPrefix(strings.ToUpper(e.StopSignal), "SIG")
	switch signal := endedBy[e.Code]; {
	case e.Code == 0, e.Code == byEngine, e.Stopped:
		return false
	case signal == "TERM", signal == "KILL", signal == "INT", signal != "" && signal == stop, fmt.Sprint(e.Code-128) == stop:
		return false
	}
	return true
}

// words say what happened.
func (e Ending) words() string {
	if e.At.IsZero() {
		return "the engine could not start it: " + e.Error
	}
	s := fmt.Sprintf("it ended with code %d", e.Code)
	switch signal := endedBy[e.Code]; {
	case e.OOM:
		s = fmt.Sprintf("it ran out of memory and was ended (code %d)", e.Code)
	case e.Code == byEngine:
		s = "it ended with its engine, or with code 255"
	case signal != "":
		s = fmt.Sprintf("it was ended by %s (code %d)", signal, e.Code)
	}
	s += " at " + stamp(e.At)
	if e.Error != "" {
		s += ", and the engine could not start it: " + e.Error
	}
	return s
}

// remedy is what to do about a container that ended by a fault.
func (e Ending) remedy(c Container) string {
	switch {
	case e.Error != "":
		return "mend what the engine says, and start it"
	case e.OOM:
		return "give it more memory, or its machine, and start it; `docker logs " + c.Name + "` has what it said last"
	}
	return "`docker logs " + c.Name + "` says why: mend that, and start it"
}

// endings asks how the servers ended that exited with another code than zero, or that their engine may start anew again and again,
// and why those never ran that were to be started. It comes after the probes: who answers is not asked about.
func (o *observer) endings(ctx context.Context) {
	var questions []question
	var mu sync.Mutex
	asked := map[string]bool{}
	for i := range o.s.Bindings {
		b := &o.s.Bindings[i]
		if b.Place.Swarm() || b.Place.Engine != nil || !o.meantToRun(b) {
			continue
		}
		for _, c := range o.consumers(b) {
			again := c.State == "restarting" || c.Anew && o.mute(b, c)
			if c.Code == 0 && !(c.State == "created" && c.Tried) && !again || asked[c.ID] {
				continue
			}
			asked[c.ID] = true
			questions = append(questions, only(c.Host, "the end of a container", func(ctx context.Context) error {
				how, err := o.p.Engines.Ending(ctx, c.Host, c.ID)
				mu.Lock()
				defer mu.Unlock()
				if err == nil && (c.Code != 0 || how.Error != "" && !c.Running() || how.Again) { // the code is known from the list all the same
					o.w.Endings[c.ID] = how
				}
				return err
			}))
		}
	}
	o.ask(ctx, hostWorkers, questions)
}

// The engine starts a container that ends again within a minute at the latest; one that found its files does not end.
const startUp = 2 * time.Minute

// crashing reports whether the engine starts a container anew again and again, although it has had its files: it is so between two
// starts, and while it runs for a moment and nothing shows on the wire.
func (v *view) crashing(b *spec.Binding, at Location, c Container) bool {
	row, how := v.w.State.Places[at], v.w.Endings[c.ID]
	if row.At.IsZero() {
		return false
	}
	again := how.Again && !row.waited(how)
	if c.State == "restarting" {
		return again || v.w.Now.Sub(row.At) > startUp
	}
	return c.Running() && again && v.mute(b, c)
}

// mute reports whether a container showed nothing on the wire, although there is a way to it that takes no longer than it may.
func (v *view) mute(b *spec.Binding, c Container) bool {
	served, probed := v.w.Served[TargetKey(b.Name, c)]
	return probed && served.Err != "" && !served.Unreachable && !served.Late
}

// meantToRun reports whether the consumer of a binding is a server: what only reads its files may have done its work.
func (v *view) meantToRun(b *spec.Binding) bool {
	if b.Probe != nil {
		return true
	}
	if b.Identity == nil {
		return false
	}
	id := v.ids[b.Identity.Name]
	return id != nil && id.From == nil && id.Usage(spec.Server) && !id.Usage(spec.Client)
}

// waited reports whether a container ended before it ever had its files, or began to: then it may have ended for that, and wants to be
// started.
func (row PlaceRow) waited(e Ending) bool {
	return !e.At.IsZero() && row.First.After(e.At) || !e.Began.IsZero() && row.First.After(e.Began)
}
