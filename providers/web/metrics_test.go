package web_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/web"
	"github.com/certwright/certwright/reconcile"
)

// TestMetrics compares all that is shown of a status that has a bit of everything.
func TestMetrics(t *testing.T) {
	s := newSite(t)
	end := func(days int) time.Time { return time.Unix(0, 0).AddDate(0, 0, days) }
	s.Begin()
	s.Step(reconcile.Event{Step: reconcile.Step{Action: reconcile.Issue{}}})
	s.Step(reconcile.Event{Step: reconcile.Step{Action: reconcile.Issue{}}, Done: true})
	s.Step(reconcile.Event{Step: reconcile.Step{Action: reconcile.Place{}}, Done: true, Err: errors.New("secret words")})
	s.Step(reconcile.Event{Step: reconcile.Step{Action: reconcile.Place{}}, Done: true, Err: reconcile.ErrChanged})
	s.later(2 * time.Second)
	s.End(web.Pass{Trouble: web.StepsTrouble, Document: []byte("{}"), Status: &reconcile.Status{
		CAs: []reconcile.CAStatus{{Name: "internal", Generations: []reconcile.Generation{
			{ID: 1, State: reconcile.GenerationRetiring, NotAfter: end(1)}, {ID: 2, State: reconcile.GenerationActive, NotAfter: end(2)},
		}}},
		Identities: []reconcile.IdentityStatus{
			{Name: "web", RenewAt: end(3), Issued: &reconcile.Issued{NotAfter: end(4), Chain: [][]byte{{1}}, Root: []byte{2}}},
			{Name: "none"},
		},
		Bindings: []reconcile.BindingStatus{
			{Name: `a"b` + "\n", State: reconcile.Stale, Reason: "secret words", Targets: []reconcile.TargetStatus{
				{Host: "local", Name: "shop-web-1", ServedSerial: "aa", WantedSerial: "bb", NotAfter: end(5), ChainNotAfter: end(4)},
				{Host: "local", Name: "shop-web-2", ServedSerial: "bb", WantedSerial: "bb", NotAfter: end(6), ChainNotAfter: end(6)},
				{Host: "local", Name: "shop-web-3", WantedSerial: "bb", Problem: "secret words"},
			}},
		},
	}})
	resp, body := s.ask(http.MethodGet, "/metrics", nil)
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Errorf("it is %q", resp.Header.Get("Content-Type"))
	}
	var got []string
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, "certwright_") && !strings.Contains(line, "_bucket{") && !strings.Contains(line, "build_info") {
			got = append(got, strings.TrimSuffix(strings.TrimPrefix(line, "certwright_"), "\n"))
		}
	}
	want := []string{
		`binding_state{binding="a\"b\n",state="Stale"} 1`,
		`ca_not_after_timestamp_seconds{ca="internal",generation="1",state="retiring"} 86400`,
		`ca_not_after_timestamp_seconds{ca="internal",generation="2",state="active"} 172800`,
		`certificate_not_after_timestamp_seconds{identity="web",member="leaf"} 345600`,
		`converged 0`,
		`identity_renewal_timestamp_seconds{identity="web"} 259200`,
		`interval_seconds 300`,
		`last_pass_trouble{cause="pass"} 0`,
		`last_pass_trouble{cause="spec"} 0`,
		`last_pass_trouble{cause="steps"} 1`,
		`last_success_timestamp_seconds 1.795608002e+09`,
		`pass_duration_seconds_sum 2`,
		`pass_duration_seconds_count 1`,
		`pass_errors_total{cause="pass"} 0`,
		`pass_errors_total{cause="spec"} 0`,
		`pass_errors_total{cause="steps"} 1`,
		`passes_total 1`,
		`served_not_after_timestamp_seconds{binding="a\"b\n",host="local",member="chain",replica="1"} 345600`,
		`served_not_after_timestamp_seconds{binding="a\"b\n",host="local",member="chain",replica="2"} 518400`,
		`served_not_after_timestamp_seconds{binding="a\"b\n",host="local",member="leaf",replica="1"} 432000`,
		`served_not_after_timestamp_seconds{binding="a\"b\n",host="local",member="leaf",replica="2"} 518400`,
		`served_wanted{binding="a\"b\n",host="local",replica="1"} 0`,
		`served_wanted{binding="a\"b\n",host="local",replica="2"} 1`,
		`steps_total{kind="issue",result="done"} 1`,
		`steps_total{kind="place",result="failed"} 1`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, own := range []string{"go_goroutines ", "process_resident_memory_bytes ", "process_open_fds "} {
		if !strings.Contains(body, "\n"+own) {
			t.Errorf("it does not hold %s", own)
		}
	}
	if strings.Contains(body, "secret words") || strings.Contains(body, "shop-web") {
		t.Errorf("it holds texts of errors or names of containers:\n%s", body)
	}

	// A pass over one binding shows that one, and is no success.
	s.Begin()
	s.End(web.Pass{Converged: true, Document: []byte("{}"), Status: &reconcile.Status{Bindings: []reconcile.BindingStatus{
		{Name: "web", State: reconcile.Failed}, {Name: "db", State: reconcile.Ready},
	}}})
	s.later(time.Minute)
	s.Begin()
	s.End(web.Pass{Part: true, Document: []byte("{}"), Status: &reconcile.Status{Bindings: []reconcile.BindingStatus{{Name: "web", State: reconcile.Ready}}}})
	for _, want := range []string{
		`certwright_binding_state{binding="web",state="Ready"} 1`, `certwright_binding_state{binding="db",state="Ready"} 1`, "certwright_converged 0\n",
		"certwright_passes_total 3\n", "certwright_last_success_timestamp_seconds 1.795608002e+09\n",
	} {
		s.says("/metrics", 200, want)
	}
	s.says("/readyz", 200, "the last full pass ended 1m0s ago")

	// What a pass did not see, it does not take away. That nothing is left to do nobody knows any more.
	s.Begin()
	s.End(web.Pass{Trouble: web.PassTrouble, Document: []byte("{}")})
	for _, want := range []string{`certwright_binding_state{binding="web",state="Ready"} 1`, `certwright_pass_errors_total{cause="pass"} 1`, "certwright_converged 0\n"} {
		s.says("/metrics", 200, want)
	}
}
