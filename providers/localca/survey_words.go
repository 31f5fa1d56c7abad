package localca

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/spec"
)

// identityOf says in the words of a spec what a leaf is: another one like it is what its CA signs next.
func identityOf(leaf *x509.Certificate) (spec.Identity, error) {
	p := profileOf(leaf)
	id := spec.Identity{Usages: p.Usages, Subject: subjectOf(leaf.Subject), Key: p.Key, Lifetime: rounded(p.Lifetime), Renew: spec.Renew{Num: 2, Den: 3}}
	switch {
	case !slices.Contains(spec.KeyKinds(), id.Key):
		return id, fmt.Errorf("its key is of the kind %s, and none such is issued here", id.Key)
	case len(id.Usages) == 0:
		return id, errors.New("it is neither for a server nor for a client")
	}
	for _, name := range p.Names {
		kind, value, _ := strings.Cut(name, ":")
		n, err := spec.ParseName(value)
		if err != nil || string(n.Kind) != kind || n.Value != value {
			return id, fmt.Errorf("its name %q is none that is issued here as %s", value, kind)
		}
		id.Names = append(id.Names, n)
	}
	return id, nil
}

// subjectOf is what a spec can say of a distinguished name.
func subjectOf(s pkix.Name) spec.Subject {
	only := func(values []string) string {
		if len(values) == 0 {
			return ""
		}
		return values[0]
	}
	return spec.Subject{
		CommonName: s.CommonName, Organization: only(s.Organization), OrganizationalUnit: only(s.OrganizationalUnit),
		Locality: only(s.Locality), Province: only(s.Province), Country: only(s.Country),
	}
}

// attributes is how many a subject has.
func attributes(s spec.Subject) (n int) {
	for _, value := range []string{s.CommonName, s.Organization, s.OrganizationalUnit, s.Locality, s.Province, s.Country} {
		if value != "" {
			n++
		}
	}
	return n
}

// rounded is a life without what tools add for clocks that go wrong.
func rounded(life time.Duration) time.Duration {
	const day = 24 * time.Hour
	if life < 2*day {
		return max(life.Round(time.Minute), time.Minute)
	}
	return life.Round(day)
}

var (
	// A name of a file that says what it holds, and not of whom.
	saysNothing = regexp.MustCompile(`^(cert|certificate|fullchain|tls|public|cert-?[0-9]*)$`)
	nameRune    = regexp.MustCompile(`[^A-Za-z0-9_.-]+`)
)

// stem is the name of a file without its directory and ending.
func stem(file string) string { return strings.TrimSuffix(filepath.Base(file), filepath.Ext(file)) }

// whose is the stem of a certificate's file, or of a key's, without what says that it is a key.
func whose(file string) string { return strings.TrimSuffix(stem(file), "-key") }

// name is what a certificate is called in the spec: as its file, without what says that it is one. Each is given once.
func (s *survey) name(cert foundCert, kind string) string {
	name := stem(cert.file)
	if saysNothing.MatchString(name) && cert.Subject.CommonName != "" {
		name = cert.Subject.CommonName
	}
	name = strings.Trim(nameRune.ReplaceAllString(name, "-"), "-_.")
	if name = name[:min(len(name), 50)]; name == "" || name == spec.PublicRoots || name == spec.SystemRoots {
		name = kind
	}
	given := func(n string) bool {
		return kind == "ca" && slices.ContainsFunc(s.found.CAs, func(c FoundCA) bool { return c.Name == n }) ||
			kind != "ca" && slices.ContainsFunc(s.found.Identities, func(i FoundIdentity) bool { return i.Name == n })
	}
	for n, first := 2, name; given(name); n++ {
		name = fmt.Sprintf("%s-%d", first, n)
	}
	return name
}
