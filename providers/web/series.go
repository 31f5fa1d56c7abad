package web

import (
	"crypto/x509"
	"maps"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/certwright/certwright/reconcile"
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(space, "", name), help, labels, nil)
}

// What a pass sees, by names of the spec alone: a container's name would make a series of every container there ever was.
var (
	caEnd     = desc("ca_not_after_timestamp_seconds", "When a generation of a CA ends.", "ca", "generation", "state")
	issuedEnd = desc("certificate_not_after_timestamp_seconds", "When a member of an identity's chain ends: leaf, intermediate-1 (its issuer) and up, root.", "identity", "member")
	renewal   = desc("identity_renewal_timestamp_seconds", "When an identity's certificate is due.", "identity")
	state     = desc("binding_state", "The state a binding is in, with the value 1.", "binding", "state")
	servedEnd = desc("served_not_after_timestamp_seconds", "When what a target serves ends: its leaf, or the first of its whole chain.", "binding", "host", "replica", "member")
	wanted    = desc("served_wanted", "1 when a target serves the wanted certificate, 0 when another; nothing where that cannot be known.", "binding", "host", "replica")
)

// collected gathers series.
type collected []prometheus.Metric

func (c *collected) add(d *prometheus.Desc, value float64, labels ...string) {
	if m, err := prometheus.NewConstMetric(d, prometheus.GaugeValue, value, labels...); err == nil { // else a label is no UTF-8
		*c = append(*c, m)
	}
}

// end adds a time, unless it is not known.
func (c *collected) end(d *prometheus.Desc, t time.Time, labels ...string) {
	if !t.IsZero() {
		c.add(d, seconds(t), labels...)
	}
}

// series are those of a status. They are not changed once they are shown.
type series struct {
	rest     collected
	bindings map[string]collected // by name
}

func seriesOf(s *reconcile.Status) series {
	var c collected
	for _, ca := range s.CAs {
		for _, g := range ca.Generations {
			c.end(caEnd, g.NotAfter, ca.Name, strconv.Itoa(g.ID), g.State)
		}
	}
	ends := map[string]time.Time{}
	for _, id := range s.Identities {
		c.identity(id, ends)
	}
	return series{rest: c}.with(s.Bindings)
}

// with returns the series with those of some bindings as they are now.
func (s series) with(bindings []reconcile.BindingStatus) series {
	out := series{s.rest, make(map[string]collected, max(len(s.bindings), len(bindings)))}
	maps.Copy(out.bindings, s.bindings)
	for _, b := range bindings {
		var c collected
		c.add(state, 1, b.Name, string(b.State))
		for i, t := range b.Targets { // in the order of their names
			replica := strconv.Itoa(i + 1)
			c.end(servedEnd, t.NotAfter, b.Name, t.Host, replica, "leaf")
			c.end(servedEnd, t.ChainNotAfter, b.Name, t.Host, replica, "chain")
			if t.ServedSerial != "" && t.WantedSerial != "" {
				c.add(wanted, number(t.ServedSerial == t.WantedSerial), b.Name, t.Host, replica)
			}
		}
		out.bindings[b.Name] = c
	}
	return out
}

// identity adds the ends of an identity's chain. ends remembers those of what many chains share.
func (c *collected) identity(id reconcile.IdentityStatus, ends map[string]time.Time) {
	c.end(renewal, id.RenewAt, id.Name)
	if id.Issued == nil {
		return
	}
	c.end(issuedEnd, id.Issued.NotAfter, id.Name, "leaf")
	end := func(der []byte) time.Time {
		t, known := ends[string(der)]
		if !known {
			if cert, err := x509.ParseCertificate(der); err == nil {
				t = cert.NotAfter
			}
			ends[string(der)] = t
		}
		return t
	}
	for i, der := range id.Issued.Chain {
		c.end(issuedEnd, end(der), id.Name, "intermediate-"+strconv.Itoa(i+1))
	}
	c.end(issuedEnd, end(id.Issued.Root), id.Name, "root")
}

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
