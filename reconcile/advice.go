package reconcile

import (
	"context"
	"time"

	"github.com/certwright/certwright/spec"
)

// adviceLimit is how long all CAs together may take to say when they want what renewed. Without them there is a rule.
const adviceLimit = 3 * time.Second

// advice asks the CAs outside when they want what they issued renewed.
func (o *observer) advice(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, adviceLimit)
	defer cancel()
	o.w.Advice = map[string]Window{}
	for _, ca := range o.s.CAs {
		adviser, ok := o.p.Outside[ca.Kind()].(Adviser)
		if !ok {
			continue
		}
		var names []string
		var certificates [][]byte
		for _, id := range o.s.Identities {
			if i, ok := o.w.State.Identities[id.Name]; ok && id.CA.Name == ca.Name && i.CA == ca.Name {
				names, certificates = append(names, id.Name), append(certificates, i.Certificate)
			}
		}
		roots := o.w.rootsOf(ca, o.w.State.CAs[ca.Name])
		if len(names) == 0 {
			continue
		}
		windows, err := guarded(o.p, func() ([]Window, error) { return adviser.Advice(ctx, ca, certificates, roots, o.w.Now), nil })
		if err != nil || len(windows) != len(names) {
			continue
		}
		for i, w := range windows {
			if w.Start.Before(w.End) {
				o.w.Advice[names[i]] = w
			}
		}
	}
}

// RenewAt is when the certificate of an identity is due: when its CA wants it renewed, or by RenewAt.
func (w *World) RenewAt(id *spec.Identity, i *Issued) time.Time {
	return renewAt(id, i, w.Advice[id.Name])
}

// renewAt is a moment in the window that the CA advises, always the same of one certificate (RFC 9773 section 4.2 wants it
// chosen evenly). It is no later than what the spec wants where that names a time, nor so late that no try is left.
func renewAt(id *spec.Identity, i *Issued, advice Window) time.Time {
	own := RenewAt(id, i)
	if advice == (Window{}) {
		return own
	}
	latest := i.NotAfter.Add(-i.NotAfter.Sub(i.IssuedAt) / 20)
	if id.Renew.Before > 0 {
		latest = own
	}
	at := advice.Start.Add(time.Duration(share(id.Name, i.Serial) * float64(advice.End.Sub(advice.Start)))).Truncate(time.Second)
	if at.After(latest) {
		return latest
	}
	return at
}
