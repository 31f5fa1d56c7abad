package acmeca

import (
	"context"
	"crypto/x509"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// remembered is what a server said of a certificate, until it is asked again.
type remembered struct {
	window reconcile.Window
	until  time.Time
}

// Servers say to ask again after some hours (RFC 9773 section 4.3.2); what they say is held to these. One that does not answer
// is asked again after the least, too.
const (
	leastRemembered = time.Hour
	mostRemembered  = 24 * time.Hour
)

// Advice implements reconcile.Adviser by ACME renewal information (RFC 9773 section 4).
func (c *CA) Advice(ctx context.Context, ca spec.CA, certificates, roots [][]byte, now time.Time) []reconcile.Window {
	out := make([]reconcile.Window, len(certificates))
	w, err := newWire(ca, reconcile.SigningRequest{Roots: roots, Now: now}, c.Around)
	if err != nil {
		return out
	}
	defer w.close()
	client := &acme.Client{Directory: ca.ACME.Directory, HTTPClient: w.client(), UserAgent: userAgent}
	c.hearing.Lock()
	defer c.hearing.Unlock()
	if c.said == nil {
		c.said = map[string]remembered{}
	}
	for key, r := range c.said {
		if !now.Before(r.until) || r.until.Sub(now) > mostRemembered {
			delete(c.said, key)
		}
	}
	for i, der := range certificates {
		key := ca.ACME.Directory + " " + certificateID(der)
		r, ok := c.said[key]
		if !ok && ctx.Err() == nil {
			r = ask(ctx, client, der, now)
			c.said[key] = r
		}
		out[i] = r.window
	}
	return out
}

func ask(ctx context.Context, client *acme.Client, der []byte, now time.Time) remembered {
	r := remembered{until: now.Add(leastRemembered)}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return r
	}
	info, err := client.GetRenewalInfo(ctx, leaf)
	if err != nil {
		return r
	}
	r.window = reconcile.Window{Start: info.SuggestedWindow.Start, End: info.SuggestedWindow.End}
	if info.RetryAfter != nil {
		r.until = now.Add(min(max(time.Until(*info.RetryAfter), leastRemembered), mostRemembered))
	}
	return r
}
