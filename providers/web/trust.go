package web

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"net/http"
	"strings"

	"github.com/certwright/certwright/reconcile"
)

// bundle is the roots of a CA as they are served.
type bundle struct {
	pem []byte
	sum string // the SHA-256 of pem, lower-case hex
}

// bundlesOf are those of the CAs that have roots.
func bundlesOf(cas []reconcile.CAStatus) map[string]bundle {
	all := map[string]bundle{}
	for _, ca := range cas {
		var text []byte
		for _, root := range ca.Roots() {
			text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root})...)
		}
		if text != nil {
			sum := sha256.Sum256(text)
			all[ca.Name] = bundle{text, hex.EncodeToString(sum[:])}
		}
	}
	return all
}

// trust serves the roots of a CA as CA.pem, and as CA.pem.sha256 their fingerprint, as sha256sum(1) prints and checks it.
func (s *Server) trust(w http.ResponseWriter, r *http.Request) {
	file, print := strings.CutSuffix(r.PathValue("file"), ".sha256")
	name, is := strings.CutSuffix(file, ".pem")
	s.mu.Lock()
	looked := s.bundles != nil
	b, known := s.bundles[name]
	s.mu.Unlock()
	switch {
	case !looked:
		http.Error(w, "no pass has looked yet", http.StatusServiceUnavailable)
	case !is || !known:
		http.Error(w, "no CA of that name has roots: /trust/CA.pem has those of a CA of tls.yaml, /trust/CA.pem.sha256 their fingerprint", http.StatusNotFound)
	case print:
		tagged(w, r, "text/plain; charset=utf-8", `"`+b.sum+`"`, []byte(b.sum+"  "+file+"\n"))
	default:
		tagged(w, r, "application/x-pem-file", `"`+b.sum+`"`, b.pem)
	}
}
