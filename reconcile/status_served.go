package reconcile

import (
	"crypto/x509"
	"slices"
	"time"

	"github.com/certwright/certwright/spec"
)

func (a assessor) targets(b *spec.Binding, wanted string) []TargetStatus {
	var out []TargetStatus
	for _, c := range a.consumers(b) {
		s := a.w.Served[TargetKey(b.Name, c)]
		kind := kindContainer
		if b.Place.Engine != nil {
			kind = kindEngine
		}
		out = append(out, TargetStatus{
			Host: c.Host, Kind: kind, Name: c.Name, ServedSerial: s.Serial, WantedSerial: wanted, Problem: s.Err,
			NotAfter: s.NotAfter, ChainNotAfter: a.firstEnd(s),
		})
	}
	return out
}

// firstEnd is when the first of the certificates that a server presents ends.
func (a assessor) firstEnd(s Served) time.Time {
	first := s.NotAfter
	for _, der := range s.Chain[min(1, len(s.Chain)):] { // what is above the leaf is the same for many
		end, known := a.ends[string(der)]
		if !known {
			if c, err := x509.ParseCertificate(der); err == nil {
				end = c.NotAfter
			}
			a.ends[string(der)] = end
		}
		if !end.IsZero() && end.Before(first) {
			first = end
		}
	}
	return first
}

// served is true when every replica showed the wanted certificate, nil where nothing could be asked.
func (a assessor) served(b *spec.Binding, targets []TargetStatus) *bool {
	if b.Probe == nil || b.Identity == nil || len(targets) == 0 || a.incomplete(b) {
		return nil
	}
	for _, c := range a.consumers(b) {
		s, probed := a.w.Served[TargetKey(b.Name, c)]
		if !probed || s.Unreachable {
			return nil
		}
		if s.Err != "" || a.fault(b, c, s) != nil {
			return truth(false)
		}
	}
	return truth(!slices.ContainsFunc(targets, func(t TargetStatus) bool { return t.ServedSerial != t.WantedSerial }))
}

// incomplete reports whether a service has running tasks of which the engine had no container yet.
func (a assessor) incomplete(b *spec.Binding) bool {
	n := 0
	if b.Place.Swarm() {
		for _, svc := range a.services(b) {
			n += a.running(b.Host.Name, svc)
		}
	}
	return n > len(a.consumers(b))
}
