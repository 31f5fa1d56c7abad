package web_test

import (
	"crypto/sha256"
	"encoding/pem"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/certwright/certwright/providers/web"
	"github.com/certwright/certwright/reconcile"
)

// generation is one whose certificates are texts: nobody reads what is in them.
func generation(certificate string, chain ...string) reconcile.Generation {
	g := reconcile.Generation{Certificate: []byte(certificate), Key: reconcile.NewPrivateKey([]byte("swordfish"))}
	for _, c := range chain {
		g.Chain = append(g.Chain, []byte(c))
	}
	return g
}

// bundled is the PEM of certificates, and its fingerprint.
func bundled(certificates ...string) (text, print string) {
	for _, c := range certificates {
		text += string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte(c)}))
	}
	return text, fmt.Sprintf("%x", sha256.Sum256([]byte(text)))
}

// TestTrust asks for the roots of CAs of every sort, and for what is none.
func TestTrust(t *testing.T) {
	s := newSite(t)
	s.says("/trust/internal.pem", 503, "no pass has looked yet")
	s.End(web.Pass{Trouble: web.PassTrouble, Document: []byte("{}")})
	s.says("/trust/internal.pem", 503, "no pass has looked yet")

	cas := []reconcile.CAStatus{
		{Name: "internal", Generations: []reconcile.Generation{generation("old root"), generation("new root"), generation("old root")}},
		{Name: "services", Generations: []reconcile.Generation{generation("intermediate", "another", "old root")}},
		{Name: "a.pem", Generations: []reconcile.Generation{generation("pem root")}},
		{Name: "unmade"},
	}
	s.pass(reconcile.Status{CAs: cas}, "{}")
	wants := func(name string, certificates ...string) {
		t.Helper()
		text, print := bundled(certificates...)
		resp, body := s.ask(http.MethodGet, "/trust/"+name+".pem", nil)
		if resp.StatusCode != 200 || body != text || resp.Header.Get("Content-Type") != "application/x-pem-file" || resp.Header.Get("ETag") != `"`+print+`"` {
			t.Errorf("%s: %d %v\n%s\nwant\n%s", name, resp.StatusCode, resp.Header, body, text)
		}
		resp, body = s.ask(http.MethodGet, "/trust/"+name+".pem.sha256", nil)
		if want := print + "  " + name + ".pem\n"; resp.StatusCode != 200 || body != want || resp.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("%s: %d %v\n%q\nwant\n%q", name, resp.StatusCode, resp.Header, body, want)
		}
		again := func(r *http.Request) { r.Header.Set("If-None-Match", `"other", "`+print+`"`) }
		if resp, body = s.ask(http.MethodGet, "/trust/"+name+".pem", again); resp.StatusCode != http.StatusNotModified || body != "" {
			t.Errorf("%s again: %d %q", name, resp.StatusCode, body)
		}
		resp, body = s.ask(http.MethodHead, "/trust/"+name+".pem", nil)
		if resp.StatusCode != 200 || body != "" || resp.ContentLength != int64(len(text)) {
			t.Errorf("HEAD %s: %d %q of %d", name, resp.StatusCode, body, resp.ContentLength)
		}
	}
	wants("internal", "old root", "new root")
	wants("services", "old root")
	wants("a.pem", "pem root")
	for _, path := range []string{
		"/trust", "/trust/", "/trust/internal", "/trust/internal.key", "/trust/internal.sha256", "/trust/internal.pem/", "/trust/unmade.pem",
		"/trust/public.pem", "/trust/system.pem", "/trust/INTERNAL.pem", "/trust/.pem", "/trust/..%2finternal.pem", "/trust/internal.pem.sha256.sha256",
	} {
		s.says(path, 404, "")
	}
	s.says("/trust/none.pem", 404, "no CA of that name has roots: /trust/CA.pem has those of a CA of tls.yaml")

	// One that could not look leaves them; one over a part has all CAs as well.
	s.End(web.Pass{Trouble: web.PassTrouble, Document: []byte("{}")})
	wants("internal", "old root", "new root")
	s.End(web.Pass{Part: true, Status: &reconcile.Status{CAs: cas[1:]}, Document: []byte("{}")})
	s.says("/trust/internal.pem", 404, "")
	wants("services", "old root")
}

// TestTrustBeside serves a bundle to nobody who is not to be answered at all.
func TestTrustBeside(t *testing.T) {
	s := newSite(t)
	s.pass(reconcile.Status{CAs: []reconcile.CAStatus{{Name: "internal", Generations: []reconcile.Generation{generation("root")}}}}, "{}")
	for _, method := range []string{"POST", "PUT", "DELETE"} {
		if resp, body := s.ask(method, "/trust/internal.pem", nil); resp.StatusCode != http.StatusMethodNotAllowed || strings.Contains(body, "CERTIFICATE") {
			t.Errorf("%s: %d %s", method, resp.StatusCode, body)
		}
	}
	if line := s.raw("GET /trust/internal.pem HTTP/1.1\r\nHost: rebound.example\r\n\r\n"); !strings.Contains(line, " 421 ") {
		t.Errorf("under another name: %q", line)
	}
}
