package spec

import "time"

// Reload is one rung of a ladder: exactly one of its kinds is set.
type Reload struct {
	Preset   string // the name of one of Presets
	Username string // with Preset, for servers that are asked over their own protocol
	Password *Source
	Signal   string // HUP, USR1, … without SIG
	Exec     []string
	ExecUser string
	Timeout  time.Duration // of Exec and HTTP; 30s by default
	HTTP     *HTTPReload
	Restart  bool
	None     bool // the server notices by itself
	Pos      Pos
}

// HTTPReload is a request that makes a server read its files again.
type HTTPReload struct {
	Method, URL, Body string
}

// Verb says what a rung does, as the first words of a step: "send HUP to", "restart".
func (r Reload) Verb() string {
	switch {
	case r.Restart:
		return "restart"
	case r.None:
		return "wait for"
	case r.Signal != "":
		return "send " + r.Signal + " to"
	case r.Preset != "":
		return "reload (" + r.Preset + ")"
	case len(r.Exec) > 0:
		return "run " + r.Exec[0] + " in"
	case r.HTTP != nil:
		return "ask over HTTP to reload"
	}
	return "reload"
}

// Word is the rung as tls.yaml names it, short enough for a hint.
func (r Reload) Word() string {
	switch {
	case r.Restart:
		return "restart"
	case r.None:
		return "none"
	case r.Preset != "":
		return r.Preset
	case r.Signal != "":
		return "{signal: " + r.Signal + "}"
	case r.HTTP != nil:
		return "{http: …}"
	}
	return "{exec: …}"
}
