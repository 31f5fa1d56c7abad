package spec_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/hashicorp/go-multierror"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"github.com/certwright/certwright/spec"
)

func compile(t testing.TB) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(spec.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("tls.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("tls.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// validate holds YAML against the schema, as an editor does.
func validate(s *jsonschema.Schema, data []byte) error {
	var v any
	if err := yaml.Unmarshal(data, &v); err != nil {
		return err
	}
	return s.Validate(asJSON(v))
}

// asJSON makes strings of the keys that yaml.v3 leaves as numbers.
func asJSON(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, each := range v {
			v[key] = asJSON(each)
		}
	case []any:
		for i, each := range v {
			v[i] = asJSON(each)
		}
	case map[any]any:
		m := make(map[string]any, len(v))
		for key, each := range v {
			m[fmt.Sprint(key)] = asJSON(each)
		}
		return m
	}
	return v
}

func TestSchemaAcceptsOK(t *testing.T) {
	s := compile(t)
	for _, file := range files(t, "ok", 15) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := validate(s, data); err != nil {
			t.Errorf("%s: %v", filepath.Base(file), err)
		}
	}
}

// spot is a mapping in a file that one object of the schema describes, or one of its keys.
type spot struct {
	def, key string
	path     string
	mapping  *yaml.Node
	index    int // of the key's value in mapping.Content
}

// spots walks a file along the schema.
func spots(defs, schema map[string]any, def string, n *yaml.Node, path string, visit func(spot)) {
	if ref, ok := schema["$ref"].(string); ok {
		def = strings.TrimPrefix(ref, "#/$defs/")
		spots(defs, defs[def].(map[string]any), def, n, path, visit)
	}
	if either, ok := schema["anyOf"].([]any); ok {
		for _, each := range either {
			spots(defs, each.(map[string]any), def, n, path, visit)
		}
	}
	if items, ok := schema["items"].(map[string]any); ok && n.Kind == yaml.SequenceNode {
		for i, each := range n.Content {
			spots(defs, items, def, each, path+"["+strconv.Itoa(i)+"]", visit)
		}
	}
	if schema["type"] != "object" || n.Kind != yaml.MappingNode {
		return
	}
	if schema["properties"] != nil {
		visit(spot{def: def, path: path, mapping: n})
	}
	for i := 0; i < len(n.Content); i += 2 {
		key := n.Content[i].Value
		below := strings.TrimPrefix(path+"."+key, ".")
		if each, ok := schema["additionalProperties"].(map[string]any); ok {
			spots(defs, each, def, n.Content[i+1], below, visit)
		} else if property, ok := schema["properties"].(map[string]any)[key]; ok {
			visit(spot{def, key, below, n, i + 1})
			spots(defs, property.(map[string]any), def, n.Content[i+1], below, visit)
		}
	}
}

// TestSchemaAgrees takes every key of the schema in some file of testdata, puts a value of the wrong type there,
// and a key that nobody knows beside it: schema and parser must both refuse both, at that path. So every key of
// the schema is one that the parser reads.
func TestSchemaAgrees(t *testing.T) {
	compiled := compile(t)
	var root map[string]any
	if err := json.Unmarshal(spec.Schema(), &root); err != nil {
		t.Fatal(err)
	}
	defs := root["$defs"].(map[string]any)
	seen := make(map[string]bool)
	for _, file := range append(files(t, "ok", 15), files(t, "err", 130)...) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var doc yaml.Node
		if yaml.Unmarshal(data, &doc) != nil || doc.Kind == 0 || bytes.Contains(data, []byte("&")) || validate(compiled, data) != nil {
			continue
		}
		spots(defs, root, "", doc.Content[0], "", func(s spot) {
			name := s.def + "." + s.key
			if seen[name] {
				return
			}
			seen[name] = true
			before := *s.mapping
			if s.key == "" {
				s.mapping.Content = append([]*yaml.Node{word("nobody"), word("knows")}, before.Content...)
			} else {
				s.mapping.Content = append([]*yaml.Node{}, before.Content...)
				s.mapping.Content[s.index] = &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{
					{Kind: yaml.MappingNode, Content: []*yaml.Node{word("wrong"), word("type")}},
				}}
			}
			checkRefused(t, compiled, &doc, s)
			*s.mapping = before
		})
	}
	for def, schema := range defs {
		properties, _ := schema.(map[string]any)["properties"].(map[string]any)
		for key := range properties {
			if !seen[def+"."+key] {
				t.Errorf("no file of testdata has the key %s of %s", key, def)
			}
		}
	}
}

func word(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s} }

func checkRefused(t *testing.T, compiled *jsonschema.Schema, doc *yaml.Node, s spot) {
	t.Helper()
	data, err := yaml.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	if validate(compiled, data) == nil {
		t.Errorf("%s: the schema accepts this:\n%s", s.path, data)
	}
	_, err = spec.Parse([]spec.Input{{Name: "tls.yaml", Data: data}}, env)
	var all *multierror.Error
	if errors.As(err, &all) {
		for _, each := range all.Errors {
			e := each.(*spec.Error)
			wrong := strings.HasPrefix(e.Msg, "must be ") || strings.HasPrefix(e.Msg, "unknown key ")
			if strings.HasPrefix(e.Path, s.path) && wrong {
				return
			}
		}
	}
	t.Errorf("%s: no error about this: %v\n%s", s.path, err, data)
}
