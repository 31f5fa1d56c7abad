package reconcile

import (
	"crypto/x509"
	"slices"
	"strings"

	"github.com/certwright/certwright/spec"
)

const (
	composeNumber = "com.docker.compose.container-number"
	swarmService  = "com.docker.swarm.service.name"
)

// names holds the names that a binding's consumers answer to against those of their certificate.
func (l *linter) names(b *spec.Binding, id *spec.Identity) {
	subject := "binding/" + b.Name
	has, addresses := l.namesOf(id)
	var missing []string
	for _, c := range l.consumers(b) {
		networks, known := l.w.Networks[c.ID]
		if !known {
			continue
		}
		if len(networks) == 0 {
			l.nameless(subject, c)
			continue
		}
		for _, a := range c.Addresses {
			if slices.Contains(addresses, a) {
				l.find("identity/"+id.Name, "take it out, and call "+called(c)+" by its name", "its name %s is the address that %s has at the moment: another container has it after the next start", a, c.Name)
			}
		}
		wanted := answers(c, networks)
		for _, n := range wanted {
			if !slices.Contains(missing, n) && !covered(has, n) {
				missing = append(missing, n)
			}
		}
		if strings.Contains(called(c), "_") && !slices.ContainsFunc(wanted, func(n string) bool { return !strings.Contains(n, ".") }) {
			l.find(subject, "give it an alias without one in its network", "clients reach it as %s, and many refuse a host name with an underscore (RFC 1123 section 2.1)", called(c))
		}
	}
	if len(missing) > 0 {
		l.find(subject, "add what clients use to `names` of identity "+id.Name, "it answers to %s, which its certificate does not have", strings.Join(missing, ", "))
	}
	l.strangers(b, id, has)
}

// nameless says of a container that nobody can call it by name.
func (l *linter) nameless(subject string, c Container) {
	onBridge := slices.ContainsFunc(c.Addresses, func(a string) bool { return a != "127.0.0.1" })
	if onBridge && len(c.Published) == 0 {
		l.find(subject, "`docker network create NAME`, and attach it and its clients to that", "%s is on the default bridge alone, where no container finds another by name", c.Name)
	}
}

// strangers are names of a certificate that none of its consumers answers to. Where a port is published they may be the machine's.
func (l *linter) strangers(b *spec.Binding, id *spec.Identity, has []string) {
	all, networks := map[string]bool{}, map[string]bool{}
	published := false
	for i := range l.s.Bindings {
		other := &l.s.Bindings[i]
		if other.Identity == nil || other.Identity.Name != id.Name {
			continue
		}
		consumers := l.consumers(other)
		if len(consumers) == 0 {
			return // it may be its name
		}
		for _, c := range consumers {
			on, known := l.w.Networks[c.ID]
			if !known || len(on) == 0 {
				return
			}
			published = published || len(c.Published) > 0
			for _, n := range everyName(c, on) {
				all[n] = true
			}
		}
	}
	for _, on := range l.w.Networks {
		for _, n := range on {
			networks[n.Name] = true
		}
	}
	for _, n := range has {
		host, network, dotted := strings.Cut(n, ".")
		switch {
		case n == "localhost" || host == "*" || all[n]:
		case dotted && networks[network]:
			l.find("binding/"+b.Name, "attach it to that network, or take the name out of identity "+id.Name, "its certificate has the name %s, and it is not on the network %s, or called otherwise there", n, network)
		case !dotted && !published:
			l.find("binding/"+b.Name, "give it that alias in its network, or take the name out of identity "+id.Name, "its certificate has the name %s, to which it does not answer", n)
		}
	}
}

// namesOf are the DNS names and addresses of an identity: as the spec has them, or as something else issued it.
func (l *linter) namesOf(id *spec.Identity) (names, addresses []string) {
	if id.From != nil {
		if leaf, err := x509.ParseCertificate(l.w.From[id.Name].Issued.Certificate); err == nil {
			names = leaf.DNSNames
			for _, a := range leaf.IPAddresses {
				addresses = append(addresses, a.String())
			}
		}
		return names, addresses
	}
	for _, n := range id.Names {
		switch n.Kind {
		case spec.DNSName:
			names = append(names, n.Value)
		case spec.IPName:
			addresses = append(addresses, n.Value)
		}
	}
	return names, addresses
}

// covered reports whether one of the names is that one, or a wildcard for it (RFC 6125 section 6.4.3).
func covered(names []string, name string) bool {
	_, rest, _ := strings.Cut(name, ".")
	return slices.Contains(names, name) || rest != "" && slices.Contains(names, "*."+rest)
}

// called is what a container is called by most: as its service is.
func called(c Container) string {
	for _, label := range []string{composeService, swarmService} {
		if n := c.Labels[label]; n != "" {
			return n
		}
	}
	return c.Name
}

// answers are the names by which clients are likely to call a container (docs.docker.com, "Networking"): its own, its aliases,
// and NAME.NETWORK; a service's tasks also answer together. Those with an underscore no certificate helps.
func answers(c Container, networks []Network) (names []string) {
	add := func(n string) {
		if n = strings.ToLower(n); !strings.Contains(n, "_") && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	add(called(c))
	if !counted(c) {
		add(c.Name)
	}
	for _, n := range networks {
		for _, a := range n.Aliases {
			if a != c.Name {
				add(a)
			}
		}
		add(called(c) + "." + n.Name)
	}
	if c.Labels[swarmService] != "" {
		add("tasks." + called(c))
	}
	return names
}

// everyName are all the names a container answers to.
func everyName(c Container, networks []Network) (names []string) {
	for _, n := range networks {
		for _, a := range append([]string{called(c), c.Name}, n.Aliases...) {
			names = append(names, strings.ToLower(a), strings.ToLower(a+"."+n.Name))
		}
	}
	if c.Labels[swarmService] != "" {
		names = append(names, "tasks."+strings.ToLower(called(c)))
	}
	return names
}

// counted reports whether a container's own name was made of a number, so that nobody calls it so.
func counted(c Container) bool {
	if c.Labels[swarmService] != "" {
		return true
	}
	p, s, n := c.Labels[composeProject], c.Labels[composeService], c.Labels[composeNumber]
	return n != "" && (c.Name == p+"-"+s+"-"+n || c.Name == p+"_"+s+"_"+n)
}
