package spec

import (
	"io/fs"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

var contents = []Content{
	ContentCert, ContentChain, ContentFullchain, ContentKey, ContentCA, ContentCombined, ContentCombinedKeyFirst,
	ContentPKCS12, ContentJKS, ContentTrustPKCS12, ContentTrustJKS, ContentCertDER, ContentKeyDER, ContentCADER,
	ContentCRL, ContentCRLDER,
}

// files reads the files of a binding. The default are the names Docker itself uses; cert.pem holds the
// intermediates too, because a server has to send them. The mode of those that have none is that of the place.
func (p *parser) files(m *mapping, place Place) []File {
	if place.Context != nil {
		return place.Context.files()
	}
	if !m.has("files") {
		files := []File{newFile("ca.pem", ContentCA, place)}
		if m.has("identity") {
			files = append(files, newFile("cert.pem", ContentFullchain, place), newFile("key.pem", ContentKey, place))
		}
		return files
	}
	entries := p.open(m.get("files"))
	if entries == nil {
		return nil
	}
	if len(entries.pairs) == 0 {
		p.errorf(entries.v, "must not be empty")
	}
	files := make([]File, 0, len(entries.pairs))
	for _, pr := range entries.pairs {
		v := entries.entry(pr)
		if why := badFileName(v.key); why != "" {
			p.errorf(v, "%s is no name of a file here: %s", quote(v.key), why)
		}
		files = append(files, p.file(v, place))
	}
	return files
}

func newFile(name string, c Content, place Place) File {
	mode := place.mode(c)
	switch {
	case mode != 0:
	case c.HoldsKey():
		mode = 0o600
	default:
		mode = 0o644
	}
	return File{Name: name, Content: c, Mode: mode}
}

// badFileName says why a name must not be used in a place.
func badFileName(s string) string {
	switch {
	case s == "" || s == ".":
		return "it names nothing"
	case strings.HasPrefix(s, ".."):
		return `".." at the start belongs to the layout`
	case strings.HasPrefix(s, ".certwright"):
		return "the name belongs to certwright"
	case strings.ContainsAny(s, `/\`):
		return "it has folders"
	case len(s) > 255:
		return "longer than 255"
	case plain(s) != s && strings.HasPrefix(plain(s), `"`):
		return "spaces or unprintable characters"
	}
	return ""
}

func (p *parser) file(v value, place Place) File {
	switch v.node.Kind {
	case yaml.SequenceNode:
		p.mustBe(v, "a content or a mapping")
		return File{}
	case yaml.ScalarNode:
		f := newFile(v.key, choice(p, v, "content", contents), place)
		f.Pos = v.pos()
		p.checkFile(v, nil, f)
		return f
	}
	m := p.section(v, &fileSection)
	f := newFile(v.key, choice(p, m.get("content"), "content", contents), place)
	f.Pos = v.pos()
	if m.has("mode") {
		f.Mode = p.mode(m.get("mode"))
		if f.Content.HoldsKey() {
			p.keyMode(m.get("mode"), f.Mode)
		}
	}
	f.Owner = p.owner(m.get("owner"))
	f.Password = p.source(m.get("password"))
	f.Alias = p.text(m.get("alias"))
	p.checkFile(v, m, f)
	return f
}

// checkFile looks at what goes with the content of a file; m is nil when the content stands alone.
func (p *parser) checkFile(v value, m *mapping, f File) {
	switch {
	case f.Content == "":
	case f.Content == ContentCRL || f.Content == ContentCRLDER:
		p.later(v)
	case f.Content.Keystore():
		if !m.has("password") {
			p.errorf(v, "%s needs a password: {content: %s, password: {file: …}}", f.Content, f.Content)
		}
	default:
		for _, key := range []string{"password", "alias"} {
			if extra := m.get(key); extra.node != nil {
				p.errorf(extra, "only for keystores, and this is %s", f.Content)
			}
		}
	}
}

// mode reads permission bits. YAML reads a bare 0600 as a number, of which nobody can say whether it was octal.
func (p *parser) mode(v value) fs.FileMode {
	s := p.textAs(v, `a quoted string, like "0600"`)
	if s == "" {
		return 0
	}
	bits, err := strconv.ParseUint(s, 8, 32)
	switch {
	case err != nil || len(s) < 3 || len(s) > 4 || bits > 0o777:
		p.errorf(v, `%s is no mode: want three octal digits, like "0600"`, quote(v.node.Value))
		return 0
	case bits&0o400 == 0:
		p.errorf(v, "%04o does not even let the owner read", bits)
	case bits&0o002 != 0:
		p.errorf(v, "%04o lets everyone write", bits)
	}
	return fs.FileMode(bits)
}

// keyMode refuses what lets more than the owner and, for reading, the group at a key.
func (p *parser) keyMode(v value, bits fs.FileMode) {
	if bits&^0o640 != 0 && bits&0o002 == 0 {
		p.errorf(v, "%04o is too much for a key: at most 0640", uint32(bits))
	}
}
