package spec

import (
	"slices"
	"strconv"
	"strings"
	"unicode"

	"gopkg.in/yaml.v3"
)

// file is where a value comes from.
type file struct {
	name string
	dir  string // what its paths are relative to
}

// value is a node and how to say where it is. The zero value is a key that is not there.
type value struct {
	node  *yaml.Node // what it is; never an alias
	at    *yaml.Node // where it stands: its key, or itself in a list
	in    *mapping   // never nil where node is not
	key   string
	index int // one more than its index in a list; 0 outside of lists
}

// mapping is a mapping whose aliases are followed and whose merges are carried out.
type mapping struct {
	v     value // the mapping itself; its `in` is nil around a whole file
	file  *file
	pairs []pair
	odd   bool // it holds unknown keys, one of which may be the one that is missing
}

type pair struct{ key, node *yaml.Node }

func (v value) pos() Pos { return Pos{v.in.file.name, v.at.Line, v.at.Column} }

// path spells where a value is: bindings.web.reload[1].exec.
func (v value) path() string {
	var parts []string
	for ; v.in != nil; v = v.in.v {
		if v.in.v.in == nil {
			break // the file itself
		}
		part := plain(v.key)
		if v.index > 0 {
			part += "[" + strconv.Itoa(v.index-1) + "]"
		}
		parts = append(parts, part)
	}
	slices.Reverse(parts)
	return strings.Join(parts, ".")
}

// get returns what stands under key; m may be nil.
func (m *mapping) get(key string) value {
	if m != nil {
		for _, pr := range m.pairs {
			if pr.key.Value == key {
				return m.entry(pr)
			}
		}
	}
	return value{}
}

func (m *mapping) has(key string) bool { return m.get(key).node != nil }

func (m *mapping) entry(pr pair) value {
	return value{node: follow(pr.node), at: pr.key, in: m, key: pr.key.Value}
}

// missing is where a key would stand that is not there.
func (m *mapping) missing(key string) value {
	return value{at: m.v.at, in: m, key: key}
}

// find is get, or missing.
func (m *mapping) find(key string) value {
	if v := m.get(key); v.node != nil {
		return v
	}
	return m.missing(key)
}

// follow leads from an alias to what it stands for. Chains and cycles were refused by tree.check.
func follow(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// open returns v as a mapping, and nil when it is not there or something else, which is then reported.
func (p *parser) open(v value) *mapping {
	if v.node == nil {
		return nil
	}
	if v.node.Kind != yaml.MappingNode {
		p.mustBe(v, "a mapping")
		return nil
	}
	m := &mapping{v: v, file: v.in.file, pairs: make([]pair, 0, len(v.node.Content)/2)}
	var merges []*yaml.Node
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		key, val := v.node.Content[i], v.node.Content[i+1]
		switch {
		case key.Kind != yaml.ScalarNode: // tree.check has refused it
		case key.Tag == mergeTag:
			merges = append(merges, val)
		default:
			m.pairs = append(m.pairs, pair{key, val})
		}
	}
	if len(merges) > 0 {
		m.merge(merges)
	}
	return m
}

// merge adds what `<<` brings and what is not there yet, nearest first. What is neither a mapping nor a list of
// mappings was refused by tree.check.
func (m *mapping) merge(merges []*yaml.Node) {
	taken := make(map[string]bool, len(m.pairs))
	for _, pr := range m.pairs {
		taken[pr.key.Value] = true
	}
	var add func(n *yaml.Node)
	add = func(n *yaml.Node) {
		n = follow(n)
		if n.Kind == yaml.SequenceNode {
			for _, each := range n.Content {
				add(each)
			}
			return
		}
		if n.Kind != yaml.MappingNode {
			return
		}
		var below []*yaml.Node
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, val := n.Content[i], n.Content[i+1]
			switch {
			case key.Kind != yaml.ScalarNode:
			case key.Tag == mergeTag:
				below = append(below, val)
			case !taken[key.Value]:
				taken[key.Value] = true
				m.pairs = append(m.pairs, pair{key, val})
			}
		}
		for _, each := range below {
			add(each)
		}
	}
	for _, n := range merges {
		add(n)
	}
}

// section opens v as a section of the format: keys it does not know and keys it misses are reported.
func (p *parser) section(v value, s *section) *mapping {
	m := p.open(v)
	if m == nil {
		return nil
	}
	for _, pr := range m.pairs {
		if key := pr.key.Value; !s.knows(key) {
			m.odd = true
			p.errorf(value{at: pr.key, in: m.v.in, key: v.key, node: v.node, index: v.index}, "unknown key %s%s", quote(key), p.hint(key, s.names()))
		}
	}
	for _, k := range s.keys {
		if k.need == required && !m.has(k.name) {
			p.errorf(m.missing(k.name), "missing")
		}
	}
	return m
}

// oneOf returns the one of keys that is there, and reports several; and none, if there must be one.
func (p *parser) oneOf(m *mapping, n need, keys ...string) value {
	var found value
	for _, key := range keys {
		v := m.get(key)
		switch {
		case v.node == nil:
		case found.node != nil:
			p.errorf(v, "cannot stand beside %s", found.key)
		default:
			found = v
		}
	}
	if found.node == nil && n == required && m != nil && !m.odd {
		p.errorf(m.v, "needs one of %s", strings.Join(keys, ", "))
	}
	return found
}

// exclude reports each of keys that stands beside v.
func (p *parser) exclude(v value, keys ...string) {
	if v.node == nil {
		return
	}
	for _, key := range keys {
		if other := v.in.get(key); other.node != nil {
			p.errorf(other, "cannot stand beside %s", v.key)
		}
	}
}

// list returns the elements of v, which must have at least one.
func (p *parser) list(v value) []value {
	if v.node == nil {
		return nil
	}
	if v.node.Kind != yaml.SequenceNode {
		p.mustBe(v, "a list")
		return nil
	}
	if len(v.node.Content) == 0 {
		p.errorf(v, "must not be empty")
	}
	elements := make([]value, len(v.node.Content))
	for i, n := range v.node.Content {
		elements[i] = value{node: follow(n), at: n, in: v.in, key: v.key, index: i + 1}
	}
	return elements
}

// plain keeps a key from breaking the line it is printed in.
func plain(key string) string {
	odd := func(r rune) bool { return !unicode.IsGraphic(r) || unicode.IsSpace(r) }
	if key == "" || strings.ContainsFunc(key, odd) {
		return quote(key)
	}
	return cut(key)
}

// quote quotes text of a spec for an error, cut to a bearable length.
func quote(s string) string { return strconv.Quote(cut(s)) }

func cut(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
