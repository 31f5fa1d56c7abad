package dockerd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/certwright/certwright/reconcile"
)

// config is dockerd's configuration file: its keys in their order, and what this is about.
type config struct {
	keys   []string
	values map[string]json.RawMessage
	hosts  reconcile.Directive
	tls    reconcile.DaemonTLS
	live   bool
}

// parse reads a configuration file. Its errors say FILE:LINE.
func parse(file string, data []byte) (c config, err error) {
	c.values = map[string]json.RawMessage{}
	if len(bytes.TrimSpace(data)) == 0 {
		return c, nil
	}
	d := json.NewDecoder(bytes.NewReader(data))
	here := func() string { return fmt.Sprintf("%s:%d", file, 1+bytes.Count(data[:d.InputOffset()], []byte("\n"))) }
	wrong := func(err error) error {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return fmt.Errorf("%s:%d: %w", file, 1+bytes.Count(data[:min(int(syntax.Offset), len(data))], []byte("\n")), err)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("it ends too early")
		}
		return fmt.Errorf("%s: %w", here(), err)
	}
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return c, wrong(errors.Join(err, errors.New("it is no JSON object")))
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return c, wrong(err)
		}
		key, at := t.(string), here()
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return c, wrong(err)
		}
		if _, twice := c.values[key]; twice {
			return c, fmt.Errorf("%s: %q is there twice", at, key)
		}
		c.keys, c.values[key] = append(c.keys, key), value
		if err := c.read(key, value, at); err != nil {
			return c, fmt.Errorf("%s: %s: %w", at, key, err)
		}
	}
	if _, err := d.Token(); err != nil {
		return c, wrong(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return c, wrong(errors.New("something stands behind its end"))
	}
	return c, nil
}

func (c *config) read(key string, value json.RawMessage, at string) error {
	switch key {
	case "hosts":
		c.hosts.At = at
		return json.Unmarshal(value, &c.hosts.Values)
	case "tlsverify":
		return json.Unmarshal(value, &c.tls.Verify)
	case "tlscacert":
		return json.Unmarshal(value, &c.tls.CA)
	case "tlscert":
		return json.Unmarshal(value, &c.tls.Cert)
	case "tlskey":
		return json.Unmarshal(value, &c.tls.Key)
	case "live-restore":
		return json.Unmarshal(value, &c.live)
	}
	return nil
}

// with is the file with what dockerd is to be configured as; all else stays, in its order.
func (c config) with(want reconcile.DaemonConfig) ([]byte, error) {
	for _, set := range []struct {
		key   string
		value any
	}{
		{"hosts", want.Hosts},
		{"tlsverify", want.TLS.Verify},
		{"tlscacert", want.TLS.CA},
		{"tlscert", want.TLS.Cert},
		{"tlskey", want.TLS.Key},
	} {
		value, err := json.Marshal(set.value)
		if err != nil {
			return nil, err
		}
		if _, there := c.values[set.key]; !there {
			c.keys = append(c.keys, set.key)
		}
		c.values[set.key] = value
	}
	var all bytes.Buffer
	for i, key := range c.keys {
		name, err := json.Marshal(key)
		if err != nil {
			return nil, err
		}
		all.WriteString(map[bool]string{true: "{", false: ","}[i == 0])
		all.Write(name)
		all.WriteByte(':')
		all.Write(c.values[key])
	}
	all.WriteByte('}')
	var out bytes.Buffer
	if err := json.Indent(&out, all.Bytes(), "", "  "); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}
