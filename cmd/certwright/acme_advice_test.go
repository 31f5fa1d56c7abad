package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// advise has the server want a certificate renewed in a window from now: advise FILE START END.
func advise(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: advise FILE START END")
	}
	at := func(in string) string {
		d, err := time.ParseDuration(in)
		ts.Check(err)
		return time.Now().Add(d).UTC().Format(time.RFC3339)
	}
	body, err := json.Marshal(map[string]string{
		"certificate": ts.ReadFile(args[0]),
		"ariResponse": fmt.Sprintf(`{"suggestedWindow": {"start": %q, "end": %q}}`, at(args[1]), at(args[2])),
	})
	ts.Check(err)
	answer, err := http.Post(ts.Getenv("CONTROL")+"/set-renewal-info/", "application/json", bytes.NewReader(body))
	ts.Check(err)
	ts.Check(answer.Body.Close())
	if answer.StatusCode != http.StatusOK {
		ts.Fatalf("%s", answer.Status)
	}
}

// renews wants the status to say that the first identity is renewed so long from now: renews LEAST MOST.
func renews(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: renews LEAST MOST")
	}
	least, err := time.ParseDuration(args[0])
	ts.Check(err)
	most, err := time.ParseDuration(args[1])
	ts.Check(err)
	var status struct {
		Identities []struct{ RenewAt time.Time }
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &status))
	if in := time.Until(status.Identities[0].RenewAt); in < least-time.Minute || in > most {
		ts.Fatalf("it is renewed in %s", in)
	}
}

// running ends the server of a script.
var running sync.Map

// down ends the server.
func down(ts *testscript.TestScript, neg bool, args []string) {
	end, ok := running.Load(ts)
	if neg || len(args) > 0 || !ok {
		ts.Fatalf("usage: down")
	}
	end.(func())()
}
