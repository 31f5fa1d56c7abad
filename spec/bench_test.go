package spec_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/certwright/certwright/spec"
)

// large is a spec of n identities and n bindings.
func large(n int) []byte {
	var b strings.Builder
	b.WriteString("version: 1\nproject: shop\ncas:\n  root: {local: {key: ecdsa-p256}}\n  services: {local: {parent: root, lifetime: 1y}}\nidentities:\n")
	for i := range n {
		fmt.Fprintf(&b, "  web-%d:\n    ca: services\n    names: [web-%d, web-%d.internal, 10.0.%d.%d]\n    usages: [server, client]\n    lifetime: 14d\n", i, i, i, i/256%256, i%256)
	}
	b.WriteString("bindings:\n")
	for i := range n {
		fmt.Fprintf(&b, "  web-%d:\n    identity: web-%d\n    trust: [root]\n    container: web-%d\n    directory: certs/web-%d\n"+
			"    files:\n      cert.pem: fullchain\n      key.pem: {content: key, mode: \"0600\", owner: \"101:101\"}\n      ca.pem: ca\n"+
			"    reload: [nginx, restart]\n    probe: {port: 443, clientAuth: required}\n", i, i, i, i)
	}
	return []byte(b.String())
}

// plain is the same format as yaml.v3 reads it into a struct: the floor of what reading can cost.
type plain struct {
	Version    int
	Project    string
	CAs        map[string]any
	Identities map[string]struct {
		CA       string
		Names    []string
		Usages   []string
		Lifetime string
	}
	Bindings map[string]struct {
		Identity, Container, Directory string
		Trust, Reload                  []string
		Files                          map[string]any
		Probe                          struct {
			Port       int
			ClientAuth string `yaml:"clientAuth"`
		}
	}
}

// BenchmarkParse is to stay within a tenth of BenchmarkYAMLStruct, and to grow with the file and no faster.
func BenchmarkParse(b *testing.B) {
	for _, n := range []int{1000, 8000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			data := large(n)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := spec.Parse([]spec.Input{{Name: "tls.yaml", Data: data}}, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkYAMLStruct(b *testing.B) {
	data := large(1000)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		var into plain
		if err := yaml.Unmarshal(data, &into); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkYAMLNode(b *testing.B) {
	data := large(1000)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		var into yaml.Node
		if err := yaml.Unmarshal(data, &into); err != nil {
			b.Fatal(err)
		}
	}
}
