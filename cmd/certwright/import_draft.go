package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/certwright/certwright/providers/localca"
	"github.com/certwright/certwright/spec"
)

// inherited is a spec made of what other tools left behind.
type inherited struct {
	project string
	from    []string // directories
	localca.Found
}

// leaveUnspeakable leaves out what a spec cannot say, as a subject that is too long.
func (d *inherited) leaveUnspeakable(getenv func(string) string) {
	d.Identities = slices.DeleteFunc(d.Identities, func(id localca.FoundIdentity) bool {
		alone := inherited{project: d.project, Found: localca.Found{CAs: d.CAs, Identities: []localca.FoundIdentity{id}}}
		_, err := spec.Parse([]spec.Input{{Name: "tls.yaml", Data: alone.render()}}, lookup(getenv))
		if err == nil {
			return false
		}
		file := ""
		if id.Brought != nil {
			file = id.Brought.Certificate
		} else {
			file = id.From.Certificate
		}
		d.Left = append(d.Left, localca.Left{File: file, Why: "tls.yaml cannot say it: " + strings.ReplaceAll(err.Error(), "\n", "; ")})
		return true
	})
}

func (d inherited) render() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Made by `certwright import` from %s. Comments say what could not be taken over, and why.\n", printable(strings.Join(d.from, ", ")))
	fmt.Fprintf(&b, "version: 1\nproject: %s\n", quoted(d.project))
	if len(d.CAs) > 0 {
		b.WriteString("\ncas:\n")
	}
	for _, ca := range d.CAs {
		fmt.Fprintf(&b, "  %s:\n", quoted(ca.Name))
		for _, n := range ca.Notes {
			fmt.Fprintf(&b, "    # %s\n", printable(n))
		}
		fmt.Fprintf(&b, "    local: {certificate: %s", quoted(ca.Local.Certificate))
		if ca.Local.Chain != "" {
			fmt.Fprintf(&b, ", chain: %s", quoted(ca.Local.Chain))
		}
		fmt.Fprintf(&b, ", key: %s%s}\n", quoted(ca.Local.KeyFile), opener(ca.Local.Passphrase))
	}
	if len(d.Identities) > 0 {
		b.WriteString("\nidentities:\n")
	}
	for _, id := range d.Identities {
		d.identity(&b, id)
	}
	b.WriteString("\n# Who is given what is not known here: write a binding for each consumer (docs/places.md), as\n" +
		"# bindings:\n#   NAME: {identity: NAME, container: CONTAINER, directory: ./certs}\n")
	if len(d.Left) > 0 {
		b.WriteString("\n# Not taken over:\n")
	}
	for _, l := range d.Left {
		fmt.Fprintf(&b, "#   %s: %s\n", printable(l.File), printable(l.Why))
	}
	return b.Bytes()
}

func (d inherited) identity(b *bytes.Buffer, id localca.FoundIdentity) {
	fmt.Fprintf(b, "  %s:\n", quoted(id.Name))
	for _, n := range id.Notes {
		fmt.Fprintf(b, "    # %s\n", printable(n))
	}
	if id.From != nil {
		fmt.Fprintf(b, "    from: {certificate: %s, key: %s, ca: %s}\n", quoted(id.From.Certificate), quoted(id.From.Key), quoted(id.From.CA))
		return
	}
	fmt.Fprintf(b, "    ca: %s\n", quoted(id.CA.Name))
	if len(id.Names) > 0 {
		names := make([]string, len(id.Names))
		for i, n := range id.Names {
			names[i] = quoted(n.Value)
		}
		fmt.Fprintf(b, "    names: [%s]\n", strings.Join(names, ", "))
	}
	if !slices.Equal(id.Usages, []spec.Usage{spec.Server}) {
		usages := make([]string, len(id.Usages))
		for i, u := range id.Usages {
			usages[i] = string(u)
		}
		fmt.Fprintf(b, "    usages: [%s]\n", strings.Join(usages, ", "))
	}
	if s := subjectFlow(id.Subject, id.Name); s != "" {
		fmt.Fprintf(b, "    subject: {%s}\n", s)
	}
	if id.Key != spec.ECDSAP256 {
		fmt.Fprintf(b, "    key: %s\n", id.Key)
	}
	fmt.Fprintf(b, "    lifetime: %s\n", spec.FormatDuration(id.Lifetime))
	fmt.Fprintf(b, "    brought: {certificate: %s, key: %s%s}\n", quoted(id.Brought.Certificate), quoted(id.Brought.Key), opener(id.Brought.Passphrase))
}

// opener is the passphrase of a key as it stands behind the key.
func opener(src *spec.Source) string {
	if src == nil {
		return ""
	}
	return ", passphrase: {file: " + quoted(src.File) + "}"
}

// subjectFlow is a subject as it stands between braces; a common name that is the default is left out.
func subjectFlow(s spec.Subject, name string) string {
	var parts []string
	for _, part := range []struct{ key, value string }{
		{"commonName", s.CommonName},
		{"organization", s.Organization},
		{"organizationalUnit", s.OrganizationalUnit},
		{"locality", s.Locality},
		{"province", s.Province},
		{"country", s.Country},
	} {
		if part.value != "" && (part.key != "commonName" || part.value != name) {
			parts = append(parts, part.key+": "+quoted(part.value))
		}
	}
	return strings.Join(parts, ", ")
}
