package web_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/providers/web"
	"github.com/certwright/certwright/providers/web/browsertest"
	"github.com/certwright/certwright/reconcile"
)

// object is JSON to be served.
type object = map[string]any

// estate is the document of a status with n bindings, for a clock that stands at now.
type estate struct {
	object
	cas, identities, bindings []object
}

func newEstate(n int, now time.Time) *estate {
	at := func(days float64) string {
		return now.Add(time.Duration(days * 24 * float64(time.Hour))).UTC().Format(time.RFC3339)
	}
	e := &estate{object: object{"project": "shop", "converged": true, "left": []object{}, "swarm": nil}}
	e.watch("", now)
	ca := func(name string, parent any, days float64) object {
		return object{"name": name, "kind": "local", "parent": parent, "reason": "", "generations": []object{
			{"id": 1, "state": "active", "keyId": "37bad346a0b8860802874576eb33519e6f56cd64", "notAfter": at(days)},
		}}
	}
	e.cas = []object{ca("internal", nil, 3500), ca("services", "internal", 300)}
	words := []string{"web", "db", "api", "cache", "queue", "mail", "search", "auth", "edge", "billing"}
	for i := range n {
		name := words[i%len(words)]
		if i >= len(words) {
			name += fmt.Sprintf("-%d", i/len(words))
		}
		serial := fmt.Sprintf("48ed2630f3cc6386bf91548d%08x", i)
		e.identities = append(e.identities, object{
			"name": name, "ca": "services", "serial": serial, "notBefore": at(-5), "notAfter": at(3 + float64(i%27)), "renewAt": at(.5 + float64(i%27)),
			"issued": at(-5), "reason": "",
		})
		e.bindings = append(e.bindings, object{
			"name": name, "identity": name, "trust": []string{}, "state": "Ready", "reason": "", "hint": "",
			"conditions": object{"issued": true, "placed": true, "loaded": true, "served": true}, "causes": nil,
			"targets": []object{{"host": "local", "kind": "container", "name": "shop-" + name + "-1", "servedSerial": serial, "wantedSerial": serial, "notAfter": at(20)}},
		})
	}
	return e
}

func (e *estate) watch(trouble string, now time.Time) {
	e.object["watch"] = object{"version": "v1.2.3", "intervalSeconds": 300, "looked": now.UTC().Format(time.RFC3339), "trouble": trouble}
}

// unsettle brings a binding into a state, with causes.
func (e *estate) unsettle(i int, state, reason, hint string) {
	b := e.bindings[i]
	b["state"], b["reason"], b["hint"] = state, reason, hint
	e.object["converged"] = false
	b["causes"] = object{"next": "apply will reload (nginx) shop-web-1 (not reloaded)", "layers": []object{
		{"name": "wanted", "text": "identity web, declared at tls.yaml:14:3"},
		{"name": "stored", "text": "serial 48ed2630f3cc6386bf91548d11338a5e, until 2026-12-25T13:02:21Z"},
		{"name": "placed", "text": "as wanted in /srv/shop/certs/web"},
		{"name": "mounted", "text": "shop-web-1 mounts it"},
		{"name": "served", "text": "shop-web-1 serves 1f3c2630f3cc6386bf91548d11338a5e, not 48ed2630f3cc6386bf91548d11338a5e"},
	}}
}

func (e *estate) document(t testing.TB) string {
	t.Helper()
	e.object["cas"], e.object["identities"], e.object["bindings"] = e.cas, e.identities, e.bindings
	data, err := json.Marshal(e.object)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func (s *site) show(e *estate) {
	s.t.Helper()
	s.pass(reconcile.Status{}, e.document(s.t))
}

// shoot leaves a picture where CERTWRIGHT_TEST_PICTURES names a folder, for a person to look at.
func shoot(p *browsertest.Page, name string) {
	if dir := os.Getenv("CERTWRIGHT_TEST_PICTURES"); dir != "" {
		p.Shoot(filepath.Join(dir, name+".png"))
	}
}

// TestPage follows a watch without being loaded again: a binding that goes stale and comes back, a rollover, trouble.
func TestPage(t *testing.T) {
	t.Parallel()
	s, now := newSite(t), time.Now()
	e := newEstate(10, now)
	s.show(e)
	p := browsertest.Open(t, "http://"+s.address+"/", browsertest.Look{})
	p.Do("globalThis.never = 'loaded again'")
	p.Says("#verdict", "All is settled")
	p.Says("#live", "live")
	p.Until(`document.querySelectorAll("#picture .node").length === 22 && document.querySelectorAll("#picture path").length === 21`)
	p.Until(`document.querySelectorAll("#expiry li").length === 12`)
	p.Until(`document.querySelector("#attention").childElementCount === 0`)
	shoot(p, "light-10")

	e.unsettle(0, "Stale", "not reloaded: shop-web-1 serves 1f3c…", "add restart to its ladder: reload: [{signal: HUP}, restart]")
	s.show(e)
	p.Says("#verdict", "1 binding needs attention")
	p.Says("#attention article", "shop-web-1 serves 1f3c2630f3cc6386bf91548d11338a5e, not 48ed2630f3cc6386bf91548d11338a5e")
	p.Says("#attention .hint", "add restart to its ladder")
	p.Says("#attention dd:last-child", "apply will reload")
	p.Until(`document.querySelector("#picture .node.binding.Stale .name").textContent === "web"`)

	e.cas[0]["generations"] = append(e.cas[0]["generations"].([]object), object{"id": 2, "state": "next", "keyId": "99bad346a0b8860802874576eb33519e6f56cd64", "notAfter": e.cas[0]["generations"].([]object)[0]["notAfter"]})
	e.watch("spec", now)
	s.show(e)
	p.Says("#notices", "CA internal: a rollover is in progress")
	p.Says("#notices", "next generation 2, key 99bad346a0b8")
	p.Says("#notices", "tls.yaml cannot be used")
	p.Says("#picture .node.ca.Progressing", "rollover in progress")
	shoot(p, "light-stale")
	p.Look(browsertest.Look{Dark: true, Width: 1280, Height: 900})
	shoot(p, "dark-stale")
	p.Look(browsertest.Look{Width: 390, Height: 844})
	p.Until(`document.querySelector("#picture .map.small") !== null`)
	p.Until(`document.documentElement.scrollWidth <= innerWidth`)
	shoot(p, "phone")
	p.Look(browsertest.Look{Width: 390, Height: 844, Dark: true})
	shoot(p, "phone-dark")
	p.Look(browsertest.Look{})

	behind := newEstate(10, now)
	behind.object["converged"] = false
	behind.object["left"] = []object{{"subject": "clock", "state": "Blocked", "reason": "the clock is behind the store", "hint": "set the clock of this machine"}}
	s.show(behind)
	p.Says("#verdict", "Not converged")
	p.Says("#notices .Blocked", "clock: the clock is behind the store")
	p.Says("#notices .hint", "set the clock of this machine")
	shoot(p, "light-behind")

	blind := newEstate(10, now)
	blind.object["converged"] = false
	blind.watch("pass", now)
	s.show(blind)
	p.Says("#verdict", "The last pass could not look")
	p.Says("#notices", "an earlier one saw what is shown here")
	p.Says("#states", "10Ready")
	shoot(p, "light-blind")

	back := newEstate(10, now)
	s.show(back)
	p.Says("#verdict", "All is settled")
	p.Until(`document.querySelector("#notices").childElementCount === 0 && document.querySelector("#attention").childElementCount === 0`)
	p.Until(`globalThis.never === 'loaded again'`)

	// A click shows what is served, also of what is settled.
	p.Do(`[...document.querySelectorAll("button.node")].find((b) => b.textContent.startsWith("db")).click()`)
	p.Says("#chosen", "serves what is wanted")
	p.Do(`document.querySelector("#filter").value = "shop-edge", document.querySelector("#filter").dispatchEvent(new Event("input"))`)
	p.Until(`[...document.querySelectorAll("#picture .node.binding .name")].map((n) => n.textContent).join() === "edge"`)
	for _, url := range p.Loaded() {
		if !strings.HasPrefix(url, "http://"+s.address+"/") {
			t.Errorf("it loads %s", url)
		}
	}
}

// TestPageOfMany has a thousand bindings: few are drawn, those that need attention first.
func TestPageOfMany(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	e := newEstate(1000, time.Now())
	for i := 990; i < 1000; i++ {
		e.unsettle(i, []string{"Stale", "Failed", "Blocked", "Expired", "Contested"}[i%5], "for a reason that takes some words to be told", "")
	}
	s.show(e)
	p := browsertest.Open(t, "http://"+s.address+"/", browsertest.Look{})
	p.Says("#verdict", "10 bindings need attention")
	p.Says("#states", "990Ready")
	p.Says("#picture .node.more", "+ 976 more identities")
	p.Says("#picture .node.more", "with 976 bindings, all Ready")
	p.Until(`document.querySelectorAll("#picture .node.binding").length === 24 && document.querySelectorAll("#picture .node.binding:not(.Ready)").length === 10`)
	p.Until(`document.querySelectorAll("#expiry li").length === 22`)
	shoot(p, "light-1000")
	took := 0.
	p.Eval(`(() => { const start = performance.now(); document.querySelector("#states button").click(); document.querySelector("#states button").click(); return performance.now() - start })()`, &took)
	t.Logf("drawing it twice takes %.0f ms", took)
	p.Do(`document.querySelector("#filter").value = "billing-99", document.querySelector("#filter").dispatchEvent(new Event("input"))`)
	p.Until(`document.querySelectorAll("#picture .node.binding").length === 1`)
	p.Look(browsertest.Look{Width: 390, Height: 844})
	p.Until(`document.documentElement.scrollWidth <= innerWidth`)
}

// TestPageEscapes gives everything a name that would be a script.
func TestPageEscapes(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	const hostile = `<img src=x onerror="globalThis.hit=1">"'><script>globalThis.hit=1</script>`
	e := newEstate(2, time.Now())
	e.object["project"] = hostile
	e.object["swarm"] = object{"reason": hostile, "nodes": []object{}}
	e.object["watch"] = object{"version": hostile, "intervalSeconds": 300, "looked": nil, "trouble": hostile}
	e.object["left"] = []object{{"subject": hostile, "state": hostile, "reason": hostile, "hint": hostile}}
	e.cas[0]["name"], e.cas[0]["reason"], e.cas[1]["parent"] = hostile, hostile, hostile
	e.cas[0]["generations"] = []object{{"id": 1, "state": hostile, "keyId": hostile, "notAfter": hostile}, {"id": 2, "state": "active", "keyId": hostile, "notAfter": hostile}}
	e.identities[0]["name"], e.identities[0]["reason"], e.bindings[0]["identity"] = hostile, hostile, hostile
	e.unsettle(0, hostile, hostile, hostile)
	e.bindings[0]["name"], e.bindings[0]["trust"] = hostile, []string{hostile}
	e.bindings[0]["targets"] = []object{{"host": hostile, "kind": hostile, "name": hostile, "servedSerial": hostile, "wantedSerial": hostile + "!", "notAfter": hostile}}
	e.bindings[0]["causes"] = object{"next": hostile, "layers": []object{{"name": hostile, "text": hostile}}}
	e.unsettle(1, "Failed", hostile, hostile)
	s.show(e)
	p := browsertest.Open(t, "http://"+s.address+"/", browsertest.Look{})
	p.Says("#project", hostile)
	p.Says("#attention", hostile)
	p.Says("#picture", hostile)
	p.Says("#expiry", hostile)
	p.Says("#notices", hostile)
	p.Says("#notices .hint", hostile)
	p.Do(`document.querySelector("button.node").click()`)
	p.Says("#attention dl", hostile)
	p.Until(`globalThis.hit === undefined && document.querySelectorAll("body img").length === 1 && document.querySelectorAll("script").length === 1`)

	// And what tries all the same is not let: the policy forbids scripts from texts.
	said := ""
	p.Eval(`(() => { try { document.body.innerHTML = "<b>x</b>"; return "done" } catch (e) { return e.name } })()`, &said)
	complaint := ""
	poll(t, "the page to complain", func() bool { complaint += p.Forgive(); return complaint != "" })
	if said != "TypeError" || !strings.Contains(complaint, "TrustedHTML") {
		t.Errorf("innerHTML: %s, and the page complains: %s", said, complaint)
	}
}

// TestPagePolls loses the stream and goes on by asking; when the watch is gone, it says so.
func TestPagePolls(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.Begin()
	s.End(web.Pass{Status: &reconcile.Status{}, Document: []byte(newEstate(1, time.Now()).document(t))})
	for range 16 { // nothing is left for the page
		resp := s.open("/events")
		defer resp.Body.Close()
	}
	p := browsertest.Open(t, "http://"+s.address+"/", browsertest.Look{})
	p.Says("#live", "asking every 10 s")
	e := newEstate(1, time.Now())
	e.unsettle(0, "Failed", "for a reason", "")
	s.show(e)
	p.Says("#verdict", "1 binding needs attention")
	s.stop()
	p.Says("#live", "no answer for")
}
