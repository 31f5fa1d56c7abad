package reconcile

import (
	"cmp"
	"path"

	"github.com/certwright/certwright/spec"
)

// Mounted is one mount that a consumer needs to see its binding's files.
type Mounted struct {
	Service string // of Compose; the container's name where it is named by that
	At      Location
	Target  string // in the container
	// Variables of the environment point at the roots of a binding of trust alone, for who reads none of the container's own.
	Variables map[string]string
}

// bundleVariables have programs read their roots from a file of PEM: OpenSSL and what is built on it and Go (SSL_CERT_FILE),
// Python's requests, and Node.js, which adds them to its own.
var bundleVariables = []string{"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"}

// variables are those that point at the roots of a binding, which are mounted at target. A JVM takes a JKS without its
// password, which has no place in an environment; PKCS#12 it does not.
func variables(b *spec.Binding, target string) map[string]string {
	if b.Identity != nil {
		return nil
	}
	all := map[string]string{}
	for _, f := range b.Files {
		file := path.Join(target, f.Name)
		switch f.Content {
		case spec.ContentCA:
			for _, name := range bundleVariables {
				all[name] = cmp.Or(all[name], file)
			}
		case spec.ContentTrustJKS:
			all["JAVA_TOOL_OPTIONS"] = cmp.Or(all["JAVA_TOOL_OPTIONS"], "-Djavax.net.ssl.trustStore="+file)
		}
	}
	return all
}

// defaultTarget is where a binding's files are mounted when no container says otherwise.
const defaultTarget = "/certs"

// Mounting lists what has to be mounted where, in the order of the spec. A target is where a container mounts it
// already, else defaultTarget.
func Mounting(s *spec.Spec, w World) []Mounted {
	v := newView(s, &w)
	var out []Mounted
	for i := range s.Bindings {
		b := &s.Bindings[i]
		if b.Consumer == nil || b.Consumer.LabelKey != "" || b.Place.Swarm() || b.Place.Store != nil {
			continue
		}
		service := b.Consumer.Container
		if b.Consumer.ComposeService != "" {
			service = b.Consumer.ComposeService
		}
		at, refused, _ := v.locate(b)
		if refused != nil {
			continue
		}
		for _, l := range at {
			at := target(b, l)
			out = append(out, Mounted{Service: service, At: l.at.physical(), Target: at, Variables: variables(b, at)})
		}
	}
	return out
}

func target(b *spec.Binding, l located) string {
	if b.Place.Path != "" {
		return b.Place.Path
	}
	for _, c := range l.containers {
		for _, m := range c.Mounts {
			if m.Type == "volume" && m.Name == l.at.Volume && l.at.Volume != "" || m.Type == "bind" && m.Source == l.at.Dir {
				return path.Clean(m.Destination)
			}
		}
	}
	return defaultTarget
}
