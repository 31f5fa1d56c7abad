// Package browsertest gives tests a real browser: a headless Chromium, driven over a pipe by the DevTools protocol.
//
// It resolves no names but those of this machine, so that a page that loads something from elsewhere is found out. What goes
// wrong in a page fails its test. The package is imported by tests only.
package browsertest

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const patience = time.Minute // a browser starts slowly where the machine is busy with other tests

// Look is how a page is looked at.
type Look struct {
	Width, Height int // of the window; 1280 × 900 when zero
	Dark          bool
}

// Page is a page that is open.
type Page struct {
	t       testing.TB
	to      *os.File
	session string

	mu      sync.Mutex
	next    int
	answers map[int]chan message
	wrong   []string // what the page complained of
	loaded  []string // what it asked for
}

// message is one of the protocol: a command, its answer, or an event.
type message struct {
	ID      int             `json:"id,omitempty"`
	Session string          `json:"sessionId,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// Open opens a page in a browser of its own, or skips the test where there is none. Both end with the test.
func Open(t testing.TB, url string, look Look) *Page {
	t.Helper()
	browser, err := exec.LookPath("chromium")
	if err != nil {
		if slices.Contains(strings.Split(os.Getenv("CERTWRIGHT_TEST_REQUIRE"), ","), "servers") {
			t.Fatal("chromium is not installed, and CERTWRIGHT_TEST_REQUIRE wants servers")
		}
		t.Skip("SKIPPED: chromium is not installed")
	}
	p := start(t, browser)
	var target struct{ TargetID string }
	p.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	p.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	p.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		p.call(domain+".enable", nil, nil)
	}
	p.Look(look)
	p.call("Page.navigate", map[string]any{"url": url}, nil)
	p.Until(`document.readyState === "complete" && location.href !== "about:blank"`)
	return p
}

func start(t testing.TB, browser string) *Page {
	t.Helper()
	theirs, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	from, answers, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &Page{t: t, to: to, answers: map[int]chan message{}}
	cmd := exec.Command(browser, "--headless", "--no-sandbox", "--remote-debugging-pipe", "--user-data-dir="+t.TempDir(),
		"--no-first-run", "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions", "--disable-sync",
		"--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
		"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost")
	cmd.ExtraFiles = []*os.File{theirs, answers}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = theirs.Close(), answers.Close()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // its helpers, too
		_ = cmd.Wait()
		_, _ = to.Close(), from.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, w := range p.wrong {
			t.Errorf("the page complains: %s", w)
		}
	})
	go p.read(bufio.NewReader(from))
	return p
}

// read takes what the browser says, message by message.
func (p *Page) read(from *bufio.Reader) {
	for {
		data, err := from.ReadBytes(0)
		if err != nil {
			return
		}
		var m message
		if json.Unmarshal(data[:len(data)-1], &m) != nil {
			continue
		}
		p.mu.Lock()
		if waiting := p.answers[m.ID]; m.ID != 0 && waiting != nil {
			delete(p.answers, m.ID)
			waiting <- m
		}
		p.hear(m)
		p.mu.Unlock()
	}
}

// hear keeps what a page complains of, and what it loads.
func (p *Page) hear(m message) {
	switch m.Method {
	case "Runtime.exceptionThrown":
		p.wrong = append(p.wrong, string(m.Params))
	case "Log.entryAdded":
		var e struct {
			Entry struct{ Level, Source, Text, URL string }
		}
		if json.Unmarshal(m.Params, &e) == nil && e.Entry.Level == "error" && e.Entry.Source != "network" { // an answer may be 503
			p.wrong = append(p.wrong, e.Entry.Source+": "+e.Entry.Text)
		}
	case "Network.requestWillBeSent":
		var r struct{ Request struct{ URL string } }
		if json.Unmarshal(m.Params, &r) == nil {
			p.loaded = append(p.loaded, r.Request.URL)
		}
	}
}

// Loaded are the addresses of everything that the page asked for.
func (p *Page) Loaded() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.loaded)
}

// Forgive takes back what the page complained of, and returns it: it was meant to.
func (p *Page) Forgive() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := strings.Join(p.wrong, "\n")
	p.wrong = nil
	return was
}

func (p *Page) call(method string, params, result any) {
	p.t.Helper()
	p.mu.Lock()
	p.next++
	m := message{ID: p.next, Method: method, Session: p.session}
	m.Params, _ = json.Marshal(params)
	if params == nil {
		m.Params = nil
	}
	answer := make(chan message, 1)
	p.answers[m.ID] = answer
	p.mu.Unlock()
	data, err := json.Marshal(m)
	if err == nil {
		_, err = p.to.Write(append(data, 0))
	}
	if err != nil {
		p.t.Fatalf("%s: %v", method, err)
	}
	select {
	case m := <-answer:
		if m.Error != nil {
			p.t.Fatalf("%s: %s", method, m.Error.Message)
		}
		if result != nil {
			if err := json.Unmarshal(m.Result, result); err != nil {
				p.t.Fatalf("%s: %v", method, err)
			}
		}
	case <-time.After(patience):
		p.t.Fatalf("%s: the browser does not answer", method)
	}
}

// Look looks at the page in another way.
func (p *Page) Look(look Look) {
	p.t.Helper()
	scheme := "light"
	if look.Dark {
		scheme = "dark"
	}
	if look.Width == 0 {
		look.Width, look.Height = 1280, 900
	}
	p.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": look.Width, "height": look.Height, "deviceScaleFactor": 1, "mobile": look.Width < 600}, nil)
	p.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// Do evaluates an expression in the page.
func (p *Page) Do(expression string) {
	p.t.Helper()
	p.Eval("("+expression+", true)", new(bool))
}

// Eval evaluates an expression in the page, into a value that its JSON fits.
func (p *Page) Eval(expression string, into any) {
	p.t.Helper()
	if err := p.eval(expression, into); err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
}

func (p *Page) eval(expression string, into any) error {
	p.t.Helper()
	var said struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct{ Exception struct{ Description string } }
	}
	p.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &said)
	switch {
	case said.ExceptionDetails != nil:
		return errors.New(said.ExceptionDetails.Exception.Description)
	case len(said.Result.Value) == 0:
		return errors.New("it has no value")
	}
	return json.Unmarshal(said.Result.Value, into)
}

// Until waits until an expression is true in the page.
func (p *Page) Until(expression string) {
	p.t.Helper()
	end := time.NewTimer(patience)
	defer end.Stop()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		is := false
		err := p.eval(expression, &is)
		if is {
			return
		}
		select {
		case <-end.C:
			text := ""
			_ = p.eval("document.body.innerText", &text)
			p.t.Fatalf("waited for %s (%v); the page says\n%s", expression, err, text)
		case <-tick.C:
		}
	}
}

// Says waits until the text of an element of the page holds another.
func (p *Page) Says(selector, text string) {
	p.t.Helper()
	p.Until(fmt.Sprintf("(document.querySelector(%q)?.textContent ?? '').includes(%q)", selector, text))
}

// Shoot writes a picture of the whole page, as PNG.
func (p *Page) Shoot(file string) {
	p.t.Helper()
	var shot struct{ Data string }
	p.call("Page.captureScreenshot", map[string]any{"captureBeyondViewport": true}, &shot)
	data, err := base64.StdEncoding.DecodeString(shot.Data)
	if err == nil {
		err = os.WriteFile(file, data, 0o600)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}
