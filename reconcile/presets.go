package reconcile

import (
	"path"
	"strings"

	"github.com/certwright/certwright/spec"
)

// preset is what certwright knows about a server; data, not behaviour. How a preset's reload is carried out is
// the engine provider's business.
type preset struct {
	user     string   // who must be able to read the files, by name in the container; "" for root
	images   []string // the last path elements of images that are surely this server
	protocol string   // of its probe, when the spec says none
}

// The servers of the first version. Reloading: nginx re-reads on HUP (nginx.org, "Controlling nginx"), PostgreSQL
// on HUP (manual, 19.9), HAProxy's master on HUP (management guide, 3), Redis on CONFIG SET of the same paths.
var presets = map[string]preset{
	"nginx":    {images: []string{"nginx"}},
	"haproxy":  {user: "haproxy", images: []string{"haproxy"}},
	"postgres": {user: "postgres", images: []string{"postgres", "timescaledb"}, protocol: "postgres"},
	"redis":    {user: "redis", images: []string{"redis", "valkey"}, protocol: "redis"},
}

// presetOf names the preset of a container by its image, such as docker.io/library/nginx:1.27-alpine, or is "". An image
// of a server can run something else, a shell for one, which a signal ends.
func presetOf(c Container) string {
	image, _, _ := strings.Cut(c.Image, "@")
	base := path.Base(image)
	base, _, _ = strings.Cut(base, ":")
	for name, p := range presets {
		for _, i := range p.images {
			if base == i && (c.Command == "" || strings.Contains(c.Command, i) || strings.Contains(c.Command, name)) {
				return name
			}
		}
	}
	return ""
}

// ladder is the binding's reload, cheapest rung first. Where the spec has none it is the preset of the
// container's image; an image nobody knows is sent nothing.
func ladder(b *spec.Binding, c Container) []spec.Reload {
	if b.ReloadGiven {
		return b.Reload
	}
	if name := presetOf(c); name != "" {
		return []spec.Reload{{Preset: name}}
	}
	return []spec.Reload{{None: true}}
}

// readerOf names the user in the container who must be able to read the binding's files: the preset's, else ""
// for the one the container runs as.
func readerOf(b *spec.Binding, c Container) string {
	for _, r := range ladder(b, c) {
		if p, ok := presets[r.Preset]; ok && p.user != "" {
			return p.user
		}
	}
	return ""
}

// protocolOf is the protocol of the binding's probe: as the spec has it, else that of the container's preset. "" is
// TLS at once.
func protocolOf(b *spec.Binding, c Container) string {
	if b.Probe.Protocol != "" {
		return b.Probe.Protocol
	}
	for _, r := range ladder(b, c) {
		if p := presets[r.Preset].protocol; p != "" {
			return p
		}
	}
	return ""
}
