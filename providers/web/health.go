package web

import (
	"fmt"
	"net/http"
	"time"
)

const (
	// A pass that has said nothing of how long it may be silent has just begun.
	leastSilence = 30 * time.Minute
	// A full pass is late when two were missed, and this.
	lateness = time.Minute
)

// alive says whether the loop moves: between two passes it rests for the interval at most.
func (s *Server) alive() (bool, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	silent, limit := s.o.Now().Sub(s.heard), s.o.Interval+max(leastSilence, s.silence)
	if silent > limit {
		return false, fmt.Sprintf("stuck: nothing has moved for %s, which is more than %s", round(silent), limit)
	}
	return true, fmt.Sprintf("alive: something moved %s ago", round(silent))
}

// ready says whether what is shown is new enough to be relied on.
func (s *Server) ready() (bool, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	age, limit := s.o.Now().Sub(s.full), 2*s.o.Interval+lateness
	text := "no pass has looked at everything yet"
	fresh := !s.full.IsZero() && age <= limit
	switch {
	case fresh:
		text = fmt.Sprintf("ready: the last full pass ended %s ago", round(age))
	case !s.full.IsZero():
		text = fmt.Sprintf("not ready: the last full pass ended %s ago, which is more than %s", round(age), limit)
	}
	switch s.trouble {
	case PassTrouble:
		text += "; the last one could not look at everything: see the log"
	case SpecTrouble:
		text += "; tls.yaml cannot be used, and the last good one stays in force: see the log"
	case StepsTrouble:
		text += "; steps of it failed: see the log"
	}
	return fresh, text
}

func round(d time.Duration) time.Duration { return max(0, d).Round(time.Second) }

// answer serves the answer to a question with yes or no.
func answer(question func() (bool, string)) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		yes, text := question()
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if !yes {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprintln(w, text)
	}
}
