package main

import (
	"encoding/json"
	"io"
	"time"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// when is a time as the JSON has it: RFC 3339 in UTC, or null.
func when(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := t.UTC().Format(time.RFC3339)
	return &s
}

type stepDocument struct {
	ID         int              `json:"id"`
	Action     string           `json:"action"`
	Subject    string           `json:"subject"`
	Summary    string           `json:"summary"`
	Reason     string           `json:"reason"`
	After      []int            `json:"after"`
	Interrupts bool             `json:"interrupts"`
	Failed     *failureDocument `json:"failed"`
}

type failureDocument struct {
	Count int     `json:"count"`
	At    *string `json:"at"`
	Next  *string `json:"next"`
	Error string  `json:"error"`
}

// failureJSON is null for a step that did not fail the last time.
func failureJSON(f reconcile.Failure) *failureDocument {
	if f.Count == 0 {
		return nil
	}
	return &failureDocument{f.Count, when(f.At), when(f.Next), f.Error}
}

type refusalDocument struct {
	Subject string `json:"subject"`
	Reason  string `json:"reason"`
	Hint    string `json:"hint"`
}

// leftDocument is something that is not as the spec has it.
type leftDocument struct {
	Subject string `json:"subject"`
	State   string `json:"state"`
	Reason  string `json:"reason"`
	Hint    string `json:"hint"`
}

func leftJSON(s reconcile.Status) []leftDocument {
	out := []leftDocument{}
	for _, r := range s.Left() {
		out = append(out, leftDocument{r.Subject, string(r.State), r.Reason, r.Hint})
	}
	return out
}

type planDocument struct {
	Project    string            `json:"project"`
	Changes    int               `json:"changes"`
	Interrupts []string          `json:"interrupts"`
	Steps      []stepDocument    `json:"steps"`
	Blocked    []refusalDocument `json:"blocked"`
	Waiting    []refusalDocument `json:"waiting"`
	Next       *string           `json:"next"`
}

func planJSON(p reconcile.Plan) planDocument {
	d := planDocument{
		Project: p.Project, Changes: len(p.Steps), Interrupts: interrupted(p), Steps: []stepDocument{},
		Blocked: refusalsJSON(p.Blocked), Waiting: refusalsJSON(p.Waiting), Next: when(p.Next),
	}
	for _, s := range p.Steps {
		d.Steps = append(d.Steps, stepDocument{
			ID: s.ID, Action: s.Action.Kind(), Subject: s.Action.Subject(), Summary: s.Action.String(), Reason: s.Reason,
			After: append([]int{}, s.After...), Interrupts: s.Action.Interrupts(),
			Failed: failureJSON(s.Failed),
		})
	}
	return d
}

func refusalsJSON(all []reconcile.Refusal) []refusalDocument {
	out := []refusalDocument{}
	for _, r := range all {
		out = append(out, refusalDocument{r.Subject, r.Reason, r.Hint})
	}
	return out
}

type generationDocument struct {
	ID       int     `json:"id"`
	State    string  `json:"state"`
	KeyID    string  `json:"keyId"`
	NotAfter *string `json:"notAfter"`
}

type caDocument struct {
	Name        string               `json:"name"`
	Kind        string               `json:"kind"`
	Parent      *string              `json:"parent"`
	Reason      string               `json:"reason"`
	Generations []generationDocument `json:"generations"`
}

type identityDocument struct {
	Name      string  `json:"name"`
	CA        string  `json:"ca"`
	Serial    *string `json:"serial"`
	NotBefore *string `json:"notBefore"`
	NotAfter  *string `json:"notAfter"`
	RenewAt   *string `json:"renewAt"`
	Issued    *string `json:"issued"`
	Reason    string  `json:"reason"`
}

type targetDocument struct {
	Host         string  `json:"host"`
	Kind         string  `json:"kind"`
	Name         string  `json:"name"`
	ServedSerial *string `json:"servedSerial"`
	WantedSerial *string `json:"wantedSerial"`
	NotAfter     *string `json:"notAfter"` // of what is served
}

type conditionsDocument struct {
	Issued *bool `json:"issued"`
	Placed *bool `json:"placed"`
	Loaded *bool `json:"loaded"`
	Served *bool `json:"served"`
}

type bindingDocument struct {
	Name       string             `json:"name"`
	Identity   *string            `json:"identity"`
	Trust      []string           `json:"trust"`
	State      string             `json:"state"`
	Reason     string             `json:"reason"`
	Hint       string             `json:"hint"`
	Conditions conditionsDocument `json:"conditions"`
	Targets    []targetDocument   `json:"targets"`
}

type statusDocument struct {
	Project    string             `json:"project"`
	Converged  bool               `json:"converged"`
	CAs        []caDocument       `json:"cas"`
	Roots      []rootsDocument    `json:"roots"`
	Identities []identityDocument `json:"identities"`
	Bindings   []bindingDocument  `json:"bindings"`
	Left       []leftDocument     `json:"left"`
	Swarm      *swarmDocument     `json:"swarm"`
	Exposed    []exposedDocument  `json:"exposed"`
	Weak       []findingDocument  `json:"certificates"`
}

// rootsDocument is what `public` or `system` stands for in the trust of a binding.
type rootsDocument struct {
	Name    string  `json:"name"`
	Count   int     `json:"count"`
	Version *string `json:"version"` // null for those of the host
}

// exposedDocument is a TCP socket of an engine that lets in whom it should not.
type exposedDocument struct {
	Host    string `json:"host"`
	Address string `json:"address"`
	Reason  string `json:"reason"`
	Hint    string `json:"hint"`
}

type nodeDocument struct {
	Name  string `json:"name"`
	State string `json:"state"`
	TLS   string `json:"tls"`
	// NotAfter is when the certificate that a manager shows ends; null of others, and where it was not reached.
	NotAfter *string `json:"notAfter"`
}

type swarmDocument struct {
	Root     *string        `json:"root"`
	NotAfter *string        `json:"notAfter"`
	Lifetime *string        `json:"nodeCertLifetime"`
	External []string       `json:"externalCAs"` // that sign with this root
	Autolock bool           `json:"autolock"`
	Rotating bool           `json:"rotating"`
	Reason   string         `json:"reason"`
	Hint     string         `json:"hint"`
	Nodes    []nodeDocument `json:"nodes"`
}

func swarmJSON(s *reconcile.SwarmStatus) *swarmDocument {
	if s == nil {
		return nil
	}
	d := &swarmDocument{Root: word(s.Root), NotAfter: when(s.NotAfter), Autolock: s.Autolock, Rotating: s.Rotating, Reason: s.Reason, Hint: s.Hint, External: append([]string{}, s.Signers()...), Nodes: []nodeDocument{}}
	if s.Lifetime > 0 {
		d.Lifetime = word(spec.FormatDuration(s.Lifetime))
	}
	for _, n := range s.Nodes {
		d.Nodes = append(d.Nodes, nodeDocument{n.Name, n.State, s.TLS(n), when(n.Served.NotAfter)})
	}
	return d
}

func statusJSON(project string, s reconcile.Status) statusDocument {
	d := statusDocument{Project: project, Converged: s.Converged, CAs: []caDocument{}, Roots: []rootsDocument{}, Identities: []identityDocument{}, Bindings: []bindingDocument{}, Left: leftJSON(s), Swarm: swarmJSON(s.Swarm), Exposed: []exposedDocument{}, Weak: []findingDocument{}}
	for _, f := range s.Weak {
		d.Weak = append(d.Weak, findingDocument(f))
	}
	for _, x := range s.Exposed {
		d.Exposed = append(d.Exposed, exposedDocument(x))
	}
	for _, c := range s.CAs {
		ca := caDocument{Name: c.Name, Kind: c.Kind, Parent: word(c.Parent), Reason: c.Reason, Generations: []generationDocument{}}
		for _, g := range c.Generations {
			ca.Generations = append(ca.Generations, generationDocument{g.ID, g.State, g.KeyID, when(g.NotAfter)})
		}
		d.CAs = append(d.CAs, ca)
	}
	for _, r := range s.Roots {
		d.Roots = append(d.Roots, rootsDocument{r.Name, r.Count, word(rootsVersion(r))})
	}
	for _, i := range s.Identities {
		id := identityDocument{Name: i.Name, CA: i.CA, RenewAt: when(i.RenewAt), Reason: i.Reason}
		if x := i.Issued; x != nil {
			id.Serial, id.NotBefore, id.NotAfter, id.Issued = word(x.Serial), when(x.NotBefore), when(x.NotAfter), when(x.IssuedAt)
		}
		d.Identities = append(d.Identities, id)
	}
	for _, b := range s.Bindings {
		bd := bindingDocument{
			Name: b.Name, Identity: word(b.Identity), Trust: append([]string{}, b.Trust...), State: string(b.State), Reason: b.Reason, Hint: b.Hint,
			Conditions: conditionsDocument{b.Issued, b.Placed, b.Loaded, b.Served}, Targets: []targetDocument{},
		}
		for _, t := range b.Targets {
			bd.Targets = append(bd.Targets, targetDocument{t.Host, t.Kind, t.Name, word(t.ServedSerial), word(t.WantedSerial), when(t.NotAfter)})
		}
		d.Bindings = append(d.Bindings, bd)
	}
	return d
}

// word is a string, or null where there is none.
func word(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
