package spec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

const (
	mergeTag = "!!merge"
	maxDepth = 100 // the format needs eight
	// What aliases may add: maxAliased nodes, and one for every bytesPerAliased bytes of the file, which is
	// several times what a file of that size holds itself.
	maxAliased      = 10_000
	bytesPerAliased = 4
)

// root reads a file as YAML, checks what is true of YAML of any content, and opens its outermost mapping. It
// returns nil when the file cannot be walked.
func (p *parser) root(in Input) *mapping {
	around := &mapping{file: &file{name: in.Name, dir: filepath.Dir(in.Name)}}
	start := &yaml.Node{Line: 1, Column: 1}
	whole := value{node: start, at: start, in: around}
	if len(in.Data) > maxFile {
		p.errorf(whole, "the file is larger than %d MiB", maxFile>>20)
		return nil
	}
	var doc, next yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(in.Data))
	if err := decoder.Decode(&doc); err != nil {
		p.notYAML(whole, in.Data, err)
		return nil
	}
	switch err := decoder.Decode(&next); {
	case errors.Is(err, io.EOF):
	case err != nil:
		p.notYAML(whole, in.Data, err)
		return nil
	default:
		whole.at = &next
		p.errorf(whole, "a second document: a file holds one")
		return nil
	}
	node := start
	if len(doc.Content) > 0 {
		node = doc.Content[0]
	}
	whole.node, whole.at = node, node
	if node == start || node.Kind == yaml.ScalarNode && node.Value == "" && node.Tag == "!!null" {
		p.errorf(whole, "the file is empty")
		return nil
	}
	t := tree{p: p, file: around, most: maxAliased + len(in.Data)/bytesPerAliased, size: make(map[*yaml.Node]extent)}
	if t.check(node, 1); t.broken {
		return nil
	}
	return p.section(whole, &rootSection)
}

var (
	yamlLine   = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)
	yamlAnchor = regexp.MustCompile(`^unknown anchor '([^']*)' referenced$`)
	// The errors of yaml.v3's parser, as opposed to its scanner, count lines from zero.
	yamlLow = regexp.MustCompile(`^did not find expected (node content|key|'-' indicator|',' or|<)|^found (undefined tag handle|duplicate|incompatible)`)
)

// notYAML reports a syntax error at the line that yaml.v3 puts into its text, if any.
func (p *parser) notYAML(whole value, data []byte, err error) {
	if errors.Is(err, io.EOF) {
		p.errorf(whole, "the file is empty")
		return
	}
	msg := err.Error()
	if m := yamlLine.FindStringSubmatch(strings.ReplaceAll(msg, "\n", " ")); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			if yamlLow.MatchString(m[2]) {
				n++
			}
			whole.node.Line = min(n, bytes.Count(bytes.TrimRight(data, "\n"), []byte("\n"))+1)
		}
		msg = m[2]
	}
	if m := yamlAnchor.FindStringSubmatch(msg); m != nil {
		before, _, _ := bytes.Cut(data, []byte("*"+m[1]))
		whole.node.Line = 1 + bytes.Count(before, []byte("\n"))
		whole.node.Column = len(before) - bytes.LastIndexByte(before, '\n')
		msg = "no anchor named " + quote(m[1])
	}
	p.errorf(whole, "not YAML: %s%s", cut(msg), yamlHint[msg])
}

// yamlHint is what to look for where yaml.v3 names only what its parser missed.
var yamlHint = map[string]string{
	"did not find expected key":                   " (look at the indentation from here on)",
	"found character that cannot start any token": " (indent with spaces, not with tabs; quote what begins with @, % or `)",
}

// tree checks what yaml.v3 leaves open when it parses into nodes: duplicate keys, tags, the depth, and what
// aliases expand to, so that a walk that follows them ends soon.
type tree struct {
	p       *parser
	file    *mapping
	path    []string
	most    int                   // nodes that aliases may add
	aliased int                   // nodes they have added
	size    map[*yaml.Node]extent // of the anchored nodes
	broken  bool
}

// extent is how much a node stands for.
type extent struct {
	nodes int // 0 while it is being measured
	depth int
}

// check walks n, which is level deep, and returns its extent.
func (t *tree) check(n *yaml.Node, level int) extent {
	if t.broken {
		return extent{}
	}
	if level > maxDepth {
		t.stop(n, "nested deeper than %d", maxDepth)
		return extent{}
	}
	if n.Kind == yaml.AliasNode {
		return t.alias(n, level)
	}
	if n.Anchor != "" {
		t.size[n] = extent{}
	}
	if !allowedTag(n) {
		t.errorf(n, "tag %s is not allowed here", quote(n.Tag))
		n.Tag = map[yaml.Kind]string{yaml.MappingNode: "!!map", yaml.SequenceNode: "!!seq", yaml.ScalarNode: "!!str"}[n.Kind]
	}
	sum := extent{nodes: 1, depth: 1}
	add := func(e extent) {
		sum.nodes = min(sum.nodes+e.nodes, 1<<30)
		sum.depth = max(sum.depth, e.depth+1)
	}
	switch n.Kind {
	case yaml.MappingNode:
		t.keys(n)
		for i := 0; i+1 < len(n.Content); i += 2 {
			t.path = append(t.path, n.Content[i].Value)
			add(t.check(n.Content[i+1], level+1))
			t.path = t.path[:len(t.path)-1]
		}
	case yaml.SequenceNode:
		for i, each := range n.Content {
			if each.Kind == yaml.ScalarNode && each.Anchor == "" && each.Tag == "!!str" {
				sum.nodes++
				continue
			}
			t.path = append(t.path, "["+strconv.Itoa(i)+"]")
			add(t.check(each, level+1))
			t.path = t.path[:len(t.path)-1]
		}
	}
	if n.Anchor != "" {
		t.size[n] = sum
	}
	return sum
}

// alias adds what n stands for to what aliases have added.
func (t *tree) alias(n *yaml.Node, level int) extent {
	e := t.size[n.Alias]
	t.aliased += e.nodes
	switch {
	case e.nodes == 0:
		t.stop(n, "the anchor %s holds itself", quote(n.Value))
	case level+e.depth > maxDepth:
		t.stop(n, "nested deeper than %d with what the alias stands for", maxDepth)
	case t.aliased > t.most:
		t.stop(n, "aliases stand for more than %d values up to here", t.most)
	}
	return e
}

// keys checks the keys of a mapping, and what is merged into it.
func (t *tree) keys(n *yaml.Node) {
	const few = 16 // up to here comparing all pairs is cheaper than a map
	var seen map[string]*yaml.Node
	if len(n.Content) > 2*few {
		seen = make(map[string]*yaml.Node, len(n.Content)/2)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode || !allowedTag(key) {
			t.errorf(key, "a key must be a plain word")
			continue
		}
		if key.Anchor != "" {
			t.size[key] = extent{1, 1}
		}
		if key.Tag == mergeTag {
			t.merged(n.Content[i+1])
			continue
		}
		first := seen[key.Value]
		for j := 0; seen == nil && j < i; j += 2 {
			if n.Content[j].Value == key.Value {
				first = n.Content[j]
				break
			}
		}
		if first != nil {
			t.path = append(t.path, key.Value)
			t.errorf(key, "defined twice, first at %s", Pos{t.file.file.name, first.Line, first.Column})
			t.path = t.path[:len(t.path)-1]
		} else if seen != nil {
			seen[key.Value] = key
		}
	}
}

// merged checks that n, the value of a `<<`, is a mapping or a list of mappings.
func (t *tree) merged(n *yaml.Node) {
	each := []*yaml.Node{n}
	if follow(n).Kind == yaml.SequenceNode {
		each = follow(n).Content
	}
	for _, m := range each {
		if follow(m).Kind != yaml.MappingNode {
			t.errorf(m, `"<<" needs a mapping, or a list of mappings`)
		}
	}
}

// allowedTag reports whether n has the tag of a core type that suits its kind.
func allowedTag(n *yaml.Node) bool {
	switch n.Kind {
	case yaml.MappingNode:
		return n.Tag == "!!map"
	case yaml.SequenceNode:
		return n.Tag == "!!seq"
	}
	switch n.Tag {
	case "!!str", "!!int", "!!float", "!!bool", "!!null", "!!timestamp", mergeTag:
		return true
	}
	return false
}

func (t *tree) errorf(n *yaml.Node, format string, args ...any) {
	if t.p.full() {
		return
	}
	var path strings.Builder
	for i, part := range t.path {
		if i > maxDepth/10 {
			path.WriteString("…")
			break
		}
		if i > 0 && !strings.HasPrefix(part, "[") {
			path.WriteByte('.')
		}
		path.WriteString(plain(part))
	}
	pos := Pos{t.file.file.name, n.Line, n.Column}
	t.p.errs = append(t.p.errs, &Error{pos, path.String(), fmt.Sprintf(format, args...)})
}

// stop is errorf for what makes the file impossible to walk.
func (t *tree) stop(n *yaml.Node, format string, args ...any) {
	if !t.broken {
		t.errorf(n, format, args...)
	}
	t.broken = true
}
