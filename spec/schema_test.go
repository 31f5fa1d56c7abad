package spec_test

import (
	"bytes"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/certwright/certwright/spec"
)

func compile(t *testing.T) *jsonschema.Schema {
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

func TestSchemaCompiles(t *testing.T) { compile(t) }
