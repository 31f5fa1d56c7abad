package reconcile

import (
	"time"

	"github.com/certwright/certwright/spec"
)

// absence is that of a host that did not answer. It is asked again like any step that failed: after a second, then less and
// less often.
type absence struct {
	count int
	next  time.Time
	why   string
}

// silent are the hosts that are not asked yet, and why.
func (m *Memory) silent(now time.Time) map[string]string {
	out := map[string]string{}
	if m == nil {
		return out
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for host, a := range m.absent {
		if a.next.After(now) {
			out[host] = a.why
		}
	}
	return out
}

// met remembers which hosts of those that were asked did not answer, and has the plan tell when they are asked again. spared are
// those that were not asked.
func (m *Memory) met(w World, plan *Plan, spared map[string]string, now time.Time) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for host, e := range w.Engines {
		_, before := spared[host]
		switch a := m.absent[host]; {
		case host == spec.LocalHost || before:
		case e.Err == "":
			delete(m.absent, host)
		default:
			if m.absent == nil {
				m.absent = map[string]absence{}
			}
			m.absent[host] = absence{a.count + 1, now.Add(doubled(firstRetry, lastRetry, a.count+1)), e.Err}
		}
	}
	for host := range w.Engines {
		if a, is := m.absent[host]; is && (plan.Next.IsZero() || a.next.Before(plan.Next)) {
			plan.Next = a.next
		}
	}
}

// Heard says that a host gave a sign of life: it is asked by the next pass.
func (m *Memory) Heard(host string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if a, is := m.absent[host]; is {
		a.next = time.Time{}
		m.absent[host] = a
	}
}
