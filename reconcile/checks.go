package reconcile

import (
	"slices"
	"time"

	"github.com/certwright/certwright/spec"
)

// check is one rule by which an issued identity is stale. It returns the reason, or "".
type check func(in checked) string

type checked struct {
	id     *spec.Identity
	stored *Issued
	signer *Generation // nil when the CA is yet to be made; of a CA outside its root
	wish   Wish
	now    time.Time
	// outside: intermediates and lives are the CA's affair, and what it changes of them is no reason to ask again.
	outside bool
	advice  Window // of the CA, zero if it has none
}

func (in checked) renewAt() time.Time { return renewAt(in.id, in.stored, in.advice) }

// checks are asked in this order; the first reason wins.
var checks = []check{
	notIssued,
	askedFor,
	issuerChanged,
	issuerRenewed,
	namesChanged,
	usagesChanged,
	subjectChanged,
	keyChanged,
	lifetimeChanged,
	expired,
	expiresSoon,
}

// stale says why the identity has to be issued, or "".
func stale(in checked) string {
	for _, c := range checks {
		if reason := c(in); reason != "" {
			return reason
		}
		if in.stored == nil {
			break
		}
	}
	return ""
}

func notIssued(in checked) string {
	if in.stored == nil {
		return "not issued"
	}
	return ""
}

func askedFor(in checked) string {
	if in.wish.Serial != "" && in.wish.Serial == in.stored.Serial {
		return "rotation asked for"
	}
	return ""
}

// An issuer is its key, never its name (DESIGN.md 2.5).
func issuerChanged(in checked) string {
	if in.stored.CA != in.id.CA.Name || in.signer == nil || in.stored.IssuerKeyID != in.signer.KeyID {
		return "issuer changed"
	}
	return ""
}

// One key can get another certificate, where the CA was brought along. Leaves carry their issuers with them.
func issuerRenewed(in checked) string {
	if !in.outside && !samePath(append(slices.Clip(in.stored.Chain), in.stored.Root), in.signer.path()) {
		return "issuer renewed"
	}
	return ""
}

func samePath(a, b [][]byte) bool { return slices.EqualFunc(a, b, slices.Equal[[]byte]) }

// issuesPerHour is how often an identity without a binding is issued unbidden in an hour.
const issuesPerHour = 5

// unbidden reports whether a stale identity is issued although nobody wanted it and its time has not come: its issuer is
// another one than it was, or gave it less than an hour, and than a third of the life that was wanted, by its end or by the CA's advice.
func unbidden(in checked) bool {
	switch {
	case in.stored == nil, askedFor(in) != "":
		return false
	case issuerChanged(in) != "":
		return in.stored.CA == in.id.CA.Name
	case issuerRenewed(in) != "":
		return true
	}
	life := in.stored.NotAfter.Sub(in.stored.IssuedAt)
	if in.advice != (Window{}) { // a CA may want one certificate renewed at once, but not each
		life = min(life, in.renewAt().Sub(in.stored.IssuedAt))
	}
	return expired(in)+expiresSoon(in) != "" && life < min(in.id.Lifetime/3, time.Hour)
}

func namesChanged(in checked) string {
	if !slices.Equal(in.stored.Wanted.Names, profileNames(in.id)) {
		return "names changed"
	}
	return ""
}

func usagesChanged(in checked) string {
	if !slices.Equal(in.stored.Wanted.Usages, in.id.Usages) {
		return "usages changed"
	}
	return ""
}

func subjectChanged(in checked) string {
	if in.stored.Wanted.Subject != in.id.Subject {
		return "subject changed"
	}
	return ""
}

func keyChanged(in checked) string {
	if in.stored.Wanted.Key != in.id.Key {
		return "key kind changed"
	}
	return ""
}

func lifetimeChanged(in checked) string {
	if in.stored.Wanted.Lifetime != in.id.Lifetime {
		return "lifetime changed"
	}
	return ""
}

func expired(in checked) string {
	if in.now.Before(in.stored.NotAfter) || !outlives(in) {
		return ""
	}
	return "expired"
}

func expiresSoon(in checked) string {
	if in.now.Before(in.renewAt()) || !outlives(in) {
		return ""
	}
	return "expires soon"
}

// outlives reports whether a certificate issued now would end noticeably later than the stored one. Near the end
// of the issuer it would not, and issuing again and again would gain nothing. A CA outside gives what it likes.
func outlives(in checked) bool {
	if in.outside {
		return true
	}
	end := in.now.Add(in.id.Lifetime)
	if in.signer != nil && in.signer.NotAfter.Before(end) {
		end = in.signer.NotAfter
	}
	return end.Sub(in.stored.NotAfter) > in.id.Lifetime/20
}

// RenewAt is when the certificate is due: at the identity's fraction of the life it really got, or its time
// before the end, less a jitter of up to 5 % of that life. The jitter is a hash of identity and serial, so that
// it differs between certificates and never between two looks at one.
func RenewAt(id *spec.Identity, i *Issued) time.Time {
	life := i.NotAfter.Sub(i.IssuedAt)
	due := i.IssuedAt
	switch {
	case id.Renew.Before > 0:
		// A life cut short by the issuer must not be due at once.
		due = due.Add(max(life-id.Renew.Before, life/3))
	case id.Renew.Den > 0:
		due = due.Add(life / time.Duration(id.Renew.Den) * time.Duration(id.Renew.Num))
	default:
		due = due.Add(life / 3 * 2)
	}
	return due.Add(-time.Duration(share(id.Name, i.Serial) * float64(life) / 20)).Truncate(time.Second)
}

// profileOf is what the spec asks of an identity.
func profileOf(id *spec.Identity) Profile {
	return Profile{
		Names: profileNames(id), Usages: slices.Clone(id.Usages), Subject: id.Subject, Key: id.Key, Lifetime: id.Lifetime,
	}
}

func profileNames(id *spec.Identity) []string {
	out := make([]string, len(id.Names))
	for i, n := range id.Names {
		out[i] = string(n.Kind) + ":" + n.Value
	}
	return out
}
