package spec

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"gopkg.in/yaml.v3"
)

// mustBe reports that v is of another type than wanted.
func (p *parser) mustBe(v value, wanted string) {
	is, quoteIt := "a string", ""
	switch v.node.Kind {
	case yaml.MappingNode:
		is = "a mapping"
	case yaml.SequenceNode:
		is = "a list"
	default:
		switch v.node.Tag {
		case "!!null":
			p.errorf(v, "must be %s, but is empty", wanted)
			return
		case "!!float":
			is, quoteIt = quote(v.node.Value), " (quote it)"
		case "!!int":
			is, quoteIt = "a number", " (quote it)"
		case "!!bool":
			is, quoteIt = "true or false", " (quote it)"
		case mergeTag:
			is, quoteIt = `"<<"`, " (quote it)"
		case "!!timestamp":
			is, quoteIt = "a date", " (quote it)"
		}
	}
	if !strings.Contains(wanted, "a string") {
		quoteIt = ""
	}
	p.errorf(v, "must be %s, not %s%s", wanted, is, quoteIt)
}

// raw returns the text of a scalar of one of the tags after interpolation. What was interpolated counts as of
// every tag.
func (p *parser) raw(v value, wanted string, tags ...string) (string, bool) {
	if v.node == nil {
		return "", false
	}
	text := v.node.Value
	if v.node.Kind != yaml.ScalarNode {
		p.mustBe(v, wanted)
		return "", false
	}
	if v.node.Tag == "!!str" && strings.Contains(text, "$") {
		expanded, err := interpolate(text, p.env)
		if err != nil {
			p.errorf(v, "%v", err)
			return "", false
		}
		if strings.Contains(text, "${") {
			return expanded, true
		}
		text = expanded
	}
	if !slices.Contains(tags, v.node.Tag) {
		p.mustBe(v, wanted)
		return "", false
	}
	return text, true
}

// text returns a string that fits into a line and is not empty; "" if there is none or it was refused.
func (p *parser) text(v value) string { return p.textAs(v, "a string") }

// textAs is text with another name for what is wanted.
func (p *parser) textAs(v value, wanted string) string {
	s, ok := p.raw(v, wanted, "!!str")
	if !ok {
		return ""
	}
	if s == "" {
		p.errorf(v, "must not be empty")
	}
	if strings.ContainsFunc(s, unicode.IsControl) {
		p.errorf(v, "must not hold control characters")
		return ""
	}
	return s
}

// argument returns any string but NUL, which no argument of a process can hold.
func (p *parser) argument(v value) string {
	s, _ := p.raw(v, "a string", "!!str")
	if strings.Contains(s, "\x00") {
		p.errorf(v, "must not hold NUL")
	}
	return s
}

// command returns the arguments of a process.
func (p *parser) command(v value) []string {
	var argv []string
	for i, each := range p.list(v) {
		argv = append(argv, p.argument(each))
		if i == 0 && argv[0] == "" && each.node.Kind == yaml.ScalarNode && each.node.Value == "" {
			p.errorf(each, "must not be empty")
		}
	}
	return argv
}

// path returns the name of a file or directory, joined with the folder of its tls.yaml.
func (p *parser) path(v value) string {
	s := p.text(v)
	switch {
	case s == "":
		return ""
	case s == "~" || strings.HasPrefix(s, "~/"):
		p.errorf(v, `"~" is not expanded (write ${HOME})`)
		return ""
	case filepath.IsAbs(s):
		return filepath.Clean(s)
	}
	return filepath.Join(v.in.file.dir, s)
}

// integer returns a whole number within bounds.
func (p *parser) integer(v value, least, most int) int {
	s, ok := p.raw(v, "a whole number", "!!int")
	if !ok {
		return 0
	}
	n, err := strconv.Atoi(s)
	switch {
	case err != nil || s != strconv.Itoa(n):
		p.errorf(v, "must be a whole number, not %s", quote(v.node.Value))
	case least == most && n != least:
		p.errorf(v, "must be %d", least)
	case n < least || n > most:
		p.errorf(v, "must be from %d to %d", least, most)
	default:
		return n
	}
	return 0
}

func (p *parser) boolean(v value) bool {
	s, ok := p.raw(v, "true or false", "!!bool")
	if ok && s != "true" && s != "false" {
		p.errorf(v, "must be true or false, not %s", quote(v.node.Value))
	}
	return s == "true"
}

// choice returns one of the options. what names their kind in errors: no WHAT named "x".
func choice[T ~string](p *parser, v value, what string, options []T) T {
	s := p.text(v)
	if s == "" {
		return ""
	}
	if slices.Contains(options, T(s)) {
		return T(s)
	}
	known := make([]string, len(options))
	for i, o := range options {
		known[i] = string(o)
	}
	p.errorf(v, "no %s %s%s", what, quote(v.node.Value), p.hint(s, known))
	return ""
}

// source returns where a secret is read from. The secret itself never stands in a spec.
func (p *parser) source(v value) *Source {
	if v.node != nil && v.node.Kind != yaml.MappingNode {
		p.mustBe(v, "{env: NAME}, {file: PATH} or {command: [PROGRAM]}")
		return nil
	}
	m := p.section(v, &sourceSection)
	if m == nil {
		return nil
	}
	p.oneOf(m, required, "env", "file", "command")
	s := &Source{Env: p.text(m.get("env")), File: p.path(m.get("file")), Command: p.command(m.get("command")), Pos: v.pos()}
	if s.Env != "" && !isVariable(s.Env) {
		p.errorf(m.get("env"), "%s is no name of a variable", quote(s.Env))
	}
	return s
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
func isDigit(c byte) bool  { return '0' <= c && c <= '9' }

// isName reports whether s can name a CA, an identity, a binding or a host.
func isName(s string) bool { return len(s) <= 63 && isDockerName(s) }

// isDockerName follows RestrictedNamePattern of the engine, which is its rule for containers and volumes, but
// for the second character, which this does not ask for.
func isDockerName(s string) bool {
	for i, c := range []byte(s) {
		if !(isLetter(c) || isDigit(c) || i > 0 && strings.IndexByte("_.-", c) >= 0) {
			return false
		}
	}
	return s != ""
}
