package spec

import (
	"cmp"
	"path/filepath"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

func isMapping(v value) bool { return v.node != nil && v.node.Kind == yaml.MappingNode }

// place reads where the files live.
func (p *parser) place(m *mapping, b Binding) Place {
	v := p.oneOf(m, optional, "directory", "volume", "secret", "engine", "context", "trustStore")
	if path := m.get("path"); v.node == nil {
		v = path
	} else if v.key != "trustStore" {
		p.exclude(v, "path")
	}
	if v.node == nil {
		v = m.get("config")
	} else if v.key != "secret" {
		p.exclude(v, "config")
	}
	place := Place{}
	if v.node != nil {
		place.Pos = v.pos()
	}
	taken := ""
	switch v.key {
	case "":
		p.errorf(m.v, "needs a place: one of directory, volume, path")
	case "directory":
		place.Directory, taken = p.directory(v, b.Host)
	case "volume":
		place.Volume = p.text(v)
		if s := place.Volume; s != "" && (len(s) < 2 || !isDockerName(s)) {
			p.errorf(v, `%s is no name of a volume: want two or more letters, digits, "_", "." and "-", starting with a letter or digit`, quote(v.node.Value))
		}
		taken = place.Volume
	case "path":
		place.Path = p.inContainer(v)
		if b.Consumer != nil && place.Path != "" {
			taken = b.Consumer.String() + ":" + place.Path
		}
	case "secret", "config":
		place.Secrets, place.Configs = p.secrets(m, "secret"), p.secrets(m, "config")
	case "context":
		p.exclude(v, "host", "container", "service", "layout", "owner", "files", "reload", "probe")
		place.Context = p.context(v)
	case "engine":
		p.exclude(v, "container", "service", "layout", "owner", "files", "reload", "probe")
		place.Engine = p.engine(v, b.Host)
	default:
		p.exclude(v, "service", "identity", "layout", "owner", "files", "probe")
		place.Store = p.trustStore(m, v)
		if place.Store != nil && b.Consumer != nil {
			taken = b.Consumer.String() + " " + string(place.Store.Kind) + " " + place.Store.Database
		}
	}
	if taken != "" {
		p.take(v, b.Host.Name+" "+v.key+" "+taken)
	}
	return place
}

// take gives a place to a binding, unless another has it.
func (p *parser) take(v value, place string) {
	if first, taken := p.places[place]; taken {
		p.errorf(v, "the binding %s has this %s already, at %s", quote(first.in.v.key), v.key, first.pos())
		return
	}
	p.places[place] = v
}

// directory returns a directory as it is written and as it is.
func (p *parser) directory(v value, host Ref) (dir, real string) {
	if host.Name != LocalHost {
		s := p.text(v)
		if s != "" && !filepath.IsAbs(s) {
			p.errorf(v, "must be absolute on a host other than local")
		}
		return filepath.Clean(s), filepath.Clean(s)
	}
	dir = p.path(v)
	if dir == "" {
		return "", ""
	}
	real = p.real(dir)
	if below, err := filepath.Rel(p.storeReal, real); err == nil && p.storeReal != "" && filepath.IsLocal(below) {
		p.errorf(v, "belongs to the store")
	}
	return dir, real
}

// inContainer returns an absolute path inside a container.
func (p *parser) inContainer(v value) string {
	s := p.text(v)
	if s == "" {
		return ""
	}
	clean := filepath.Clean(s)
	if !filepath.IsAbs(s) || clean == "/" {
		p.errorf(v, "must be an absolute path of a directory in the container, and not /")
		return ""
	}
	return clean
}

// secrets reads Swarm secrets, or the configs beside them; nil when there are none.
func (p *parser) secrets(m *mapping, key string) *Secrets {
	v := m.get(key)
	s := p.section(v, &secretSection)
	p.exclude(v, "container", "layout", "owner", "reload")
	if s == nil {
		return nil
	}
	if !m.has("service") {
		for _, key := range []string{"mode", "owner"} {
			if given := s.get(key); given.node != nil {
				p.errorf(given, "needs a service: where none is named, each that mounts it says so itself")
			}
		}
	}
	found := &Secrets{Mode: p.mode(s.get("mode")), Owner: p.owner(s.get("owner"))}
	if found.Owner != nil && found.Owner.Name != "" {
		p.numbered(s.get("owner"))
	}
	return found
}

// checkSecrets looks at what does not go with files that are secrets or configs, and gives configs their owner.
func (p *parser) checkSecrets(m *mapping, place Place, files []File) {
	for i, f := range files {
		v, key := value{}, "secret"
		if place.Config(f.Content) {
			key = "config"
		}
		if m.has("files") {
			v = p.open(m.get("files")).get(f.Name)
		}
		if where := m.get("service"); where.node != nil {
			taker := v
			if v.node == nil {
				taker = m.get(key)
			}
			p.take(taker, "service "+where.node.Value+" "+f.Name)
		}
		if f.Owner != nil && f.Owner.Name != "" {
			p.numbered(p.open(v).get("owner"))
		}
		if f.Content.Keystore() {
			p.errorf(v, "a keystore as a secret or config is not in this version")
		}
		switch {
		case key == "config":
			files[i].Owner = cmp.Or(f.Owner, place.Configs.Owner)
		case f.Content.HoldsKey() && place.Secrets == nil:
			p.errorf(m.get("config"), "%s holds a key, and everyone who may use the Swarm can read a config: put `secret: {}` beside it", f.Name)
		case f.Content.HoldsKey() && f.Mode == place.Secrets.Mode:
			p.keyMode(p.open(m.get("secret")).get("mode"), f.Mode)
		}
	}
}

// numbered refuses a user's name: Swarm looks none up (Engine API, SecretReferenceFileTarget).
func (p *parser) numbered(v value) {
	p.errorf(v, `must be "UID" or "UID:GID": Swarm knows no users by name`)
}

// owner reads "999", "999:999" or the name of a user.
func (p *parser) owner(v value) *Owner {
	const most = 1<<32 - 2 // the last one means "unchanged" to chown(2)
	s := p.textAs(v, `a string, like "999", "999:999" or a user name`)
	if s == "" {
		return nil
	}
	user, group, both := strings.Cut(s, ":")
	uid, err := strconv.ParseUint(user, 10, 32)
	if err != nil && !both && isUser(s) {
		return &Owner{Name: s}
	}
	gid := uid
	if both && err == nil {
		gid, err = strconv.ParseUint(group, 10, 32)
	}
	if err != nil || uid > most || gid > most {
		p.errorf(v, `%s is no owner: want "UID", "UID:GID" or a user name`, quote(v.node.Value))
		return nil
	}
	return &Owner{UID: int(uid), GID: int(gid)}
}

// isUser follows the rule of useradd(8).
func isUser(s string) bool {
	for i, c := range []byte(s) {
		if !(c == '_' || 'a' <= c && c <= 'z' || i > 0 && (isDigit(c) || c == '-')) {
			return false
		}
	}
	return s != "" && len(s) <= 32
}
