package spec

import (
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

const (
	restart = "restart"
	none    = "none"

	maxRungs = 8
)

var (
	presets = presetNames()
	rungs   = append(slices.Clone(presets), restart, none)
	methods = []string{"GET", "POST", "PUT", "PATCH", "DELETE"}
	signals = []string{"HUP", "USR1", "USR2", "WINCH", "ALRM", "CHLD", "CONT", "IO", "PIPE", "PWR", "URG"}
	ending  = []string{"KILL", "TERM", "QUIT", "INT", "ABRT", "STOP", "TSTP"} // stopped is as good as ended
)

// ladder reads one rung, or a list of them.
func (p *parser) ladder(v value) []Reload {
	if v.node == nil {
		return nil
	}
	if v.node.Kind != yaml.SequenceNode {
		return []Reload{p.rung(v)}
	}
	elements := p.list(v)
	if len(elements) > maxRungs {
		p.errorf(v, "at most %d rungs", maxRungs)
	}
	var ladder []Reload
	for i, each := range elements {
		r := p.rung(each)
		if i > 0 && ladder[i-1].Restart {
			p.errorf(each, "comes after restart, which leaves nothing to try")
		} else if i > 0 && r.None {
			p.errorf(each, "none only stands alone or first")
		}
		ladder = append(ladder, r)
	}
	return ladder
}

// rung reads a preset, restart, none, or a mapping.
func (p *parser) rung(v value) Reload {
	r := Reload{Pos: v.pos()}
	if v.node.Kind != yaml.MappingNode {
		if v.node.Kind != yaml.ScalarNode || v.node.Tag != "!!str" {
			wanted := "a preset, restart, none, a mapping or a list"
			if v.index > 0 {
				wanted = "a preset, restart, none or a mapping"
			}
			p.mustBe(v, wanted)
			return r
		}
		switch s := choice(p, v, "preset", rungs); s {
		case restart:
			r.Restart = true
		case none:
			r.None = true
		default:
			r.Preset = s
		}
		return r
	}
	m := p.section(v, &reloadSection)
	kind := p.oneOf(m, required, "preset", "signal", "exec", "http")
	r.Preset = p.preset(m.get("preset"))
	r.Username = p.text(m.get("username"))
	r.Password = p.source(m.get("password"))
	r.Signal = p.signal(m.get("signal"))
	r.Exec = p.command(m.get("exec"))
	r.ExecUser = p.text(m.get("user"))
	r.Timeout = p.duration(m.get("timeout"), time.Second, time.Hour)
	r.HTTP = p.httpReload(m.get("http"))
	p.checkRung(m, kind.key, &r)
	return r
}

// checkRung refuses what does not go with the kind of a rung.
func (p *parser) checkRung(m *mapping, kind string, r *Reload) {
	only := func(key string, kinds ...string) {
		if v := m.get(key); v.node != nil && kind != "" && !slices.Contains(kinds, kind) {
			p.errorf(v, "only beside %s", strings.Join(kinds, " or "))
		}
	}
	only("username", "preset")
	only("password", "preset")
	only("user", "exec")
	only("timeout", "exec", "http")
	if (kind == "exec" || kind == "http") && !m.has("timeout") {
		r.Timeout = 30 * time.Second
	}
	if m.has("username") && !m.has("password") && kind == "preset" {
		p.errorf(m.missing("password"), "missing beside username")
	}
}

func (p *parser) preset(v value) string {
	if v.node != nil && (v.node.Value == restart || v.node.Value == none) {
		p.errorf(v, "%s is no preset: it stands alone, as reload: %s", v.node.Value, v.node.Value)
		return ""
	}
	return choice(p, v, "preset", presets)
}

// signal returns a signal that servers take as "read your files again".
func (p *parser) signal(v value) string {
	s := p.text(v)
	if s == "" {
		return ""
	}
	s = strings.TrimPrefix(s, "SIG")
	if slices.Contains(ending, s) {
		p.errorf(v, "%s ends the server, and does not make it read its files again (write reload: restart)", s)
		return ""
	}
	if !slices.Contains(signals, s) {
		p.errorf(v, "no signal %s%s", quote(v.node.Value), p.hint(s, signals))
		return ""
	}
	return s
}

func (p *parser) httpReload(v value) *HTTPReload {
	m := p.section(v, &httpSection)
	if m == nil {
		return nil
	}
	h := &HTTPReload{Method: "POST", URL: p.url(m.get("url"), "http", "https"), Body: p.argument(m.get("body"))}
	if method := choice(p, m.get("method"), "method", methods); method != "" {
		h.Method = method
	}
	return h
}
