package spec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// The JSON Schemas of plain values. Editors see a spec before ${NAME} is replaced, so each takes that too.
var (
	text     = `{"$ref":"#/$defs/text"}`
	name     = text
	argument = `{"type":"string"}`
	boolean  = orVariable(`{"type":"boolean"}`)
	duration = pattern(`^([0-9]+[ywdhms])+$`)
	fraction = pattern(`^[0-9]+/[0-9]+$`)
	mode     = pattern(`^0?[0-7]{3}$`)
	owner    = text
	httpsURL = pattern(`^https://`)
	address  = pattern(`:[0-9]+$`)
)

func orVariable(schema string) string {
	return `{"anyOf":[` + schema + `,{"$ref":"#/$defs/variable"}]}`
}

func pattern(re string) string {
	return orVariable(`{"type":"string","pattern":` + encode(re) + `}`)
}

func integer(least, most int) string {
	return orVariable(fmt.Sprintf(`{"type":"integer","minimum":%d,"maximum":%d}`, least, most))
}

func enum[T ~string](options []T) string { return orVariable(`{"enum":` + encode(options) + `}`) }

func listOf(of string) string { return `{"type":"array","minItems":1,"items":` + of + `}` }

func named(of string) string { return `{"type":"object","additionalProperties":` + of + `}` }

// in is a section, by its name.
func in(section string) string { return `{"$ref":"#/$defs/` + section + `"}` }

func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // only strings and lists of them come here
	}
	return string(b)
}

// Schema returns the JSON Schema (draft 2020-12) of tls.yaml, for editors. It knows every key and the form of
// every value; what needs more than one place to see, only Parse knows.
func Schema() []byte {
	var b strings.Builder
	b.WriteString(`{"$schema":"https://json-schema.org/draft/2020-12/schema","title":"tls.yaml","$ref":"#/$defs/root","$defs":{`)
	b.WriteString(`"text":{"type":"string","minLength":1},"variable":{"type":"string","pattern":"\\$\\{"}`)
	for _, s := range sections() {
		fmt.Fprintf(&b, `,%s:%s`, encode(s.name), s.schema())
	}
	b.WriteString(`}}`)
	var out bytes.Buffer
	if err := json.Indent(&out, []byte(b.String()), "", "  "); err != nil {
		panic(err) // the tables are constants, and a test compiles what comes out
	}
	return append(out.Bytes(), '\n')
}

func (s *section) schema() string {
	var properties []string
	needed := []string{}
	for _, k := range s.keys {
		properties = append(properties, fmt.Sprintf(`%s:{"description":%s,%s`, encode(k.name), encode(k.doc), k.is[1:]))
		if k.need == required {
			needed = append(needed, k.name)
		}
	}
	extensions := ""
	if s == &rootSection {
		extensions = `"patternProperties":{"^x-":true},`
	}
	return fmt.Sprintf(`{"type":"object","additionalProperties":false,%s"required":%s,"properties":{%s}}`,
		extensions, encode(needed), strings.Join(properties, ","))
}
