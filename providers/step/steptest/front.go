package steptest

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/certwright/certwright/providers/servertest"
)

// Front is a server of the CA's root before the real one (servertest.Front).
func (ca *CA) Front(t testing.TB, hook func(w http.ResponseWriter, r *http.Request) bool) (address string) {
	t.Helper()
	return servertest.Front(t, ca.URL, ca.Transport(), ca.issuer.Leaf(t, "front", time.Now().Add(time.Hour)).TLS(ca.issuer), hook)
}

// Issuer is the intermediate with its key: with it a front may sign what the real server would not.
func (ca *CA) Issuer() servertest.Issuer { return ca.issuer }

// Transport reaches the CA without a look at who it is: it is on loopback.
func (ca *CA) Transport() http.RoundTripper {
	return &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
}

// PEM is a certificate as the API has it.
func PEM(der []byte) string { return string(servertest.PEM("CERTIFICATE", der)) }

// Swap is a JSON object with one key of another.
func Swap(t testing.TB, object, with, key string) string {
	t.Helper()
	var a, b map[string]any
	if err := errors.Join(json.Unmarshal([]byte(object), &a), json.Unmarshal([]byte(with), &b)); err != nil {
		t.Fatal(err)
	}
	a[key] = b[key]
	out, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
