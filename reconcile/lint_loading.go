package reconcile

import (
	"path"
	"slices"
	"strings"

	"github.com/certwright/certwright/spec"
)

// consumer says what a binding may have meant that names nobody.
func (l *linter) consumer(b *spec.Binding) {
	subject := "binding/" + b.Name
	switch c := b.Consumer; {
	case c == nil || len(l.consumers(b)) > 0:
	case c.Container != "":
		for _, x := range l.w.Engines[b.Host.Name].Containers {
			if x.Labels[composeService] == c.Container {
				l.find(subject, "`container: {compose: "+x.Labels[composeProject]+"/"+c.Container+"}`", "no container is called %s: Compose calls those of that service otherwise, as %s", c.Container, x.Name)
			}
		}
		for _, svc := range l.w.Swarms[b.Host.Name].Services {
			if svc.Name == c.Container {
				l.find(subject, "`service: "+svc.Name+"`", "no container is called %s, but a Swarm service is", c.Container)
			}
		}
	case c.Service != "":
		services := l.w.Swarms[b.Host.Name].Services
		if slices.ContainsFunc(services, func(s Service) bool { return s.Name == c.Service }) {
			return
		}
		for _, svc := range services {
			if svc.Stack != "" && svc.Name == svc.Stack+"_"+c.Service {
				l.find(subject, "`service: "+svc.Name+"`", "there is no service %s: its stack calls it %s", c.Service, svc.Name)
			}
		}
	}
}

// What HUP does to servers for which it is no reload of certificates, by the last path element of their images
// (their manuals: signals, and reloading TLS).
var hangsUp = map[string]string{
	"openldap": "ends", "slapd": "ends", "mongo": "ends", "registry": "ends", "httpd": "cuts its connections",
	"redis": "takes no certificate", "valkey": "takes no certificate", "mysql": "takes no certificate", "mariadb": "takes no certificate",
}

// insteadOfHUP is what makes a server that takes a HUP for something else read its files again.
func insteadOfHUP(image string) string {
	switch p, _, known := spec.PresetOfImage(image); {
	case !known || p.Act.Restart:
		return "restart"
	default:
		return p.Name
	}
}

// loading looks at how the consumers of a binding are made to load its files, and how that is proved.
func (l *linter) loading(b *spec.Binding) {
	subject := "binding/" + b.Name
	if l.serverOf(b) != nil && b.Probe == nil && b.Consumer != nil {
		l.find(subject, "add `probe: {port: PORT}`", "nothing looks whether its consumer has loaded what is placed: it has no probe")
	}
	if why, hint := l.hidden(b); why != "" {
		l.find(subject, hint, "%s", why)
	}
	for _, c := range l.consumers(b) {
		preset, is := presetOf(c)
		if is && l.serverOf(b) != nil && !slices.ContainsFunc(b.Files, func(f spec.File) bool { return f.Content.HoldsKey() }) {
			l.find(subject, "add `NAME: key` to its `files`", "%s is given a certificate and no key, and its %s wants both", c.Name, preset.Name)
		}
		known, image := preset.Name, spec.ImageName(c.Image)
		live := is && !preset.Act.None && !preset.Act.Restart // it takes new files up when it is told
		for _, r := range b.Reload {
			switch {
			case r.None && live:
				l.find(subject, "`reload: "+known+"`", "%s does not notice new files by itself, and `reload` is none", c.Name)
			case r.Restart && live && len(b.Reload) == 1:
				l.find(subject, "`reload: ["+known+", restart]`", "%s is restarted for each certificate, and could take it up without", c.Name)
			case r.Signal == "HUP" && hangsUp[image] != "":
				l.find(subject, "`reload: "+insteadOfHUP(image)+"`", "%s %s at a HUP", c.Name, hangsUp[image])
			}
		}
		if signal, rung := l.fatal(b, c); signal != "" && hangsUp[image] == "" {
			l.find(subject, insteadOf(rung, c), "%s ended when it was sent %s the last time: who was connected was cut off", c.Name, signal)
		}
		if known == "postgres" && b.Identity != nil {
			l.postgres(b, c)
		}
	}
}

// postgres looks for what keeps PostgreSQL from TLS, or from asking for certificates.
func (l *linter) postgres(b *spec.Binding, c Container) {
	subject := "binding/" + b.Name
	own := strings.Contains(c.Command, "config_file") // settings of its own, which are not seen here
	if !own && !strings.Contains(c.Command, "ssl=on") && c.Command != "" && l.w.Served[TargetKey(b.Name, c)].Serial == "" {
		l.find(subject, "start it with `-c ssl=on -c ssl_cert_file=… -c ssl_key_file=…`", "%s was started without ssl=on, and serves no TLS", c.Name)
	}
	for _, m := range c.Mounts {
		if path.Base(m.Destination) == "pg_hba.conf" && !within(m.Destination, "/var/lib/postgresql") && !own && !strings.Contains(c.Command, "hba_file") {
			l.find(subject, "add `-c hba_file="+m.Destination+"`", "%s mounts %s, where PostgreSQL does not look: clients are let in by the rules it made itself", c.Name, m.Destination)
		}
	}
}

// clients looks at whom a binding's consumer lets in.
func (l *linter) clients(b *spec.Binding) {
	if b.Probe == nil {
		return
	}
	subject := "binding/" + b.Name
	id := l.ids[nameOf(b.Identity)]
	switch b.Probe.ClientAuth {
	case spec.ClientAuthOptional:
		l.find(subject, "`clientAuth: required` in the probe, when the server does", "clients without a certificate are let in: what its server then refuses by path, no handshake shows")
	case spec.ClientAuthRequired:
		for _, t := range b.Trust {
			if t.Name == spec.PublicRoots || t.Name == spec.SystemRoots {
				l.find(subject, "trust the CA of its clients alone", "it lets in whoever has a client certificate of any CA of `%s`", t.Name)
			}
		}
		if id != nil && id.From == nil && !l.hasClients(b, id) {
			l.find(subject, "add the identity of a client: `{ca: "+id.CA.Name+", usages: [client]}`", "it lets in nobody without a client certificate, and the spec has none that it trusts")
		}
	}
}

func nameOf(ref *spec.Ref) string {
	if ref == nil {
		return ""
	}
	return ref.Name
}

// hasClients reports whether an identity of the spec is a client that a binding's trust lets in.
func (l *linter) hasClients(b *spec.Binding, server *spec.Identity) bool {
	trusted := map[string]bool{}
	for _, t := range b.Trust {
		trusted[t.Name] = true
	}
	if len(trusted) == 0 {
		trusted[l.rootName(server.CA.Name)] = true
	}
	return slices.ContainsFunc(l.s.Identities, func(id spec.Identity) bool {
		return id.Usage(spec.Client) && (id.From != nil || trusted[id.CA.Name] || trusted[l.rootName(id.CA.Name)])
	})
}

// rootName is the CA at the top of a CA of the spec.
func (l *linter) rootName(name string) string {
	for range l.s.CAs {
		c := l.cas[name]
		if c == nil || c.Local == nil || c.Local.Parent == nil {
			break
		}
		name = c.Local.Parent.Name
	}
	return name
}
