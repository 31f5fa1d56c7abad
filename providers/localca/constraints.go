package localca

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/certwright/certwright/spec"
)

// mayIssue refuses a leaf that clients would refuse because of what a CA of the chain may sign: its usages, and
// its names. All names that are wrong are said at once.
func (by *issuer) mayIssue(id spec.Identity, t *x509.Certificate) error {
	for _, ca := range by.chain {
		for _, usage := range t.ExtKeyUsage {
			if !mayUse(ca, usage) {
				return fmt.Errorf("%s signs for other usages only: take another CA, or other usages", caName(ca))
			}
		}
	}
	if !by.constrained() {
		return nil
	}
	var errs []error
	for _, ca := range by.chain {
		for _, name := range hostNames(id) {
			errs = append(errs, checkDNS(ca, strings.ToLower(name)))
		}
		for _, ip := range t.IPAddresses {
			errs = append(errs, checkIP(ca, ip))
		}
	}
	return errors.Join(errs...)
}

// mayUse says whether the extended key usage of a CA lets it sign for a usage. RFC 5280 leaves open what it
// means in a CA; Go, OpenSSL and browsers take it as a limit.
func mayUse(ca *x509.Certificate, usage x509.ExtKeyUsage) bool {
	if len(ca.ExtKeyUsage)+len(ca.UnknownExtKeyUsage) == 0 {
		return true
	}
	return slices.Contains(ca.ExtKeyUsage, usage) || slices.Contains(ca.ExtKeyUsage, x509.ExtKeyUsageAny)
}

var oidNameConstraints = asn1.ObjectIdentifier{2, 5, 29, 30}

func (by *issuer) constrained() bool {
	for _, ca := range by.chain {
		for _, e := range ca.Extensions {
			if e.Id.Equal(oidNameConstraints) {
				return true
			}
		}
	}
	return false
}

// hostNames gives the DNS names of an identity. Without any, OpenSSL holds a common name that looks like a host
// name against the constraints, so it counts.
func hostNames(id spec.Identity) []string {
	var names []string
	for _, n := range id.Names {
		if n.Kind == spec.DNSName {
			names = append(names, n.Value)
		}
	}
	if cn := id.Subject.CommonName; len(names) == 0 && strings.Contains(cn, ".") && !strings.ContainsAny(cn, " @/:") {
		names = append(names, cn)
	}
	return names
}

// checkDNS holds a DNS name against the constraints of one CA (RFC 5280 section 4.2.1.10): a name is within
// example.com when it is that or ends in .example.com. As everywhere in practice, a constraint with a leading dot
// means the names below alone. Each kind of name is constrained by itself: who permits networks permits all DNS names.
func checkDNS(ca *x509.Certificate, name string) error {
	for _, suffix := range ca.ExcludedDNSDomains {
		if within(name, suffix) || covers(name, suffix) {
			return excluded(name, ca, suffix)
		}
	}
	for _, suffix := range ca.PermittedDNSDomains {
		if within(name, suffix) {
			return nil
		}
	}
	if len(ca.PermittedDNSDomains) > 0 {
		return notPermitted(name, ca, strings.Join(ca.PermittedDNSDomains, ", "))
	}
	return nil
}

func within(name, suffix string) bool {
	suffix = strings.ToLower(suffix)
	if suffix == "" || name == suffix {
		return true
	}
	return strings.HasSuffix(name, "."+strings.TrimPrefix(suffix, "."))
}

// covers says whether a wildcard would serve for an excluded name: *.example.com for db.example.com.
func covers(name, excluded string) bool {
	parent, wild := strings.CutPrefix(name, "*.")
	_, rest, _ := strings.Cut(strings.ToLower(excluded), ".")
	return wild && rest == parent
}

// checkIP holds an address against the constraints of one CA.
func checkIP(ca *x509.Certificate, ip net.IP) error {
	for _, network := range ca.ExcludedIPRanges {
		if network.Contains(ip) {
			return excluded(ip.String(), ca, network.String())
		}
	}
	var permitted []string
	for _, network := range ca.PermittedIPRanges {
		if network.Contains(ip) {
			return nil
		}
		permitted = append(permitted, network.String())
	}
	if len(permitted) > 0 {
		return notPermitted(ip.String(), ca, strings.Join(permitted, ", "))
	}
	return nil
}

func excluded(name string, ca *x509.Certificate, by string) error {
	return fmt.Errorf("the name %s is excluded by %s (%s)", name, caName(ca), by)
}

func notPermitted(name string, ca *x509.Certificate, only string) error {
	return fmt.Errorf("the name %s is not permitted by %s (only %s)", name, caName(ca), only)
}
