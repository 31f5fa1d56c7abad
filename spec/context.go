package spec

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"path/filepath"
	"strings"
)

// DefaultContext is docker's name for the context that the environment and the flags make up. It cannot be another one's.
const DefaultContext = "default"

// Context is what a docker client needs to reach an engine by TLS. The files of DefaultContext are those that docker looks
// for in its configuration (DOCKER_CERT_PATH by default), those of any other are in its store of contexts.
type Context struct {
	Name     string
	Endpoint string // tcp://HOST:PORT
	Config   string // docker's configuration: $DOCKER_CONFIG, else .docker in $HOME
}

// Default reports whether it is the one of the environment.
func (c Context) Default() bool { return c.Name == DefaultContext }

// The folder of the endpoint's TLS material, and the file that makes a context of it (docker/cli, cli/context/store).
const (
	contextTLS  = "docker"
	contextMeta = "meta.json"
)

// TLS is the directory that the TLS material is placed in, MetaDir that of the context's description.
func (c Context) TLS() string {
	if c.Default() {
		return c.Config
	}
	return filepath.Join(c.Config, "contexts", "tls", c.id())
}

// MetaDir is "" of the default context, which has none.
func (c Context) MetaDir() string {
	if c.Default() {
		return ""
	}
	return filepath.Join(c.Config, "contexts", "meta", c.id())
}

// CertPath is where ca.pem, cert.pem and key.pem stand: DOCKER_CERT_PATH.
func (c Context) CertPath() string {
	if c.Default() {
		return c.Config
	}
	return filepath.Join(c.TLS(), contextTLS)
}

// Backups is where what was adopted is kept: beside the folders that docker reads, since it takes a description anywhere in
// them for one more context. "" of the default context: docker looks for its files by name.
func (c Context) Backups() string {
	if c.Default() {
		return ""
	}
	return filepath.Join(c.Config, "contexts", "certwright-backup", c.Name)
}

func (c Context) id() string {
	sum := sha256.Sum256([]byte(c.Name))
	return hex.EncodeToString(sum[:])
}

// files are those of TLS, and in MetaDir the description. Whoever may read them is the user alone, as docker has it.
func (c Context) files() []File {
	folder := contextTLS + "/"
	if c.Default() {
		folder = ""
	}
	file := func(name string, content Content, mode fs.FileMode) File {
		return File{Name: name, Content: content, Mode: mode}
	}
	files := []File{
		file(folder+"ca.pem", ContentCA, 0o600), file(folder+"cert.pem", ContentFullchain, 0o600), file(folder+"key.pem", ContentKey, 0o600),
	}
	if !c.Default() {
		files = append(files, file(contextMeta, ContentContext, 0o644))
	}
	return files
}

// context reads a context of the docker client; nil when there is none.
func (p *parser) context(v value) *Context {
	m := p.section(v, &contextSection)
	if m == nil {
		return nil
	}
	c := &Context{Name: p.text(m.get("name")), Endpoint: p.endpoint(m.get("endpoint"), "tcp"), Config: p.dockerConfig(v)}
	// One letter is too little for docker, and a "+" in a name is not for ours.
	if c.Name != "" && (!isName(c.Name) || len(c.Name) < 2) {
		p.errorf(m.get("name"), "%s is no name of a context: want two or more letters, digits, \"_\", \".\" and \"-\", starting with a letter or digit", quote(c.Name))
	}
	if c.Name != "" && c.Config != "" {
		p.take(v, LocalHost+" directory "+p.real(c.TLS()))
	}
	return c
}

// dockerConfig is where docker keeps its configuration.
func (p *parser) dockerConfig(v value) string {
	lookup := func(name string) string {
		if p.env == nil {
			return ""
		}
		text, _ := p.env(name)
		return text
	}
	dir := lookup("DOCKER_CONFIG")
	if home := lookup("HOME"); dir == "" && home != "" {
		dir = filepath.Join(home, ".docker")
	}
	switch {
	case dir == "":
		p.errorf(v, "docker's configuration is not known: set HOME or DOCKER_CONFIG")
		return ""
	case !filepath.IsAbs(dir):
		p.errorf(v, "DOCKER_CONFIG is %s, and must be an absolute path", quote(strings.TrimSpace(dir)))
	}
	return filepath.Clean(dir)
}
