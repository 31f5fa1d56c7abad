package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

const (
	alertRules = "../../docs/alerts.yml"
	alertFires = "../../testdata/alerts/fire.yml"
)

// TestAlerts fires every rule of docs/alerts.yml in Prometheus's own engine, and has a watch that is well, which fires none.
func TestAlerts(t *testing.T) {
	t.Parallel()
	dockertest.Servers(t, "promtool")
	for _, args := range [][]string{{"check", "rules", alertRules}, {"test", "rules", alertFires}} {
		if out, err := exec.Command("promtool", args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	var rules struct {
		Groups []struct{ Rules []struct{ Alert string } }
	}
	var fires struct {
		Tests []struct {
			Name  string
			Tests []struct {
				Alert    string `yaml:"alertname"`
				Expected []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	readYAML(t, alertRules, &rules)
	readYAML(t, alertFires, &fires)
	fired, quiet := map[string]bool{}, map[string]bool{}
	for _, test := range fires.Tests {
		for _, a := range test.Tests {
			fired[a.Alert] = fired[a.Alert] || len(a.Expected) > 0
			quiet[a.Alert] = quiet[a.Alert] || test.Name == "all is well" && len(a.Expected) == 0
		}
	}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			if !fired[r.Alert] || !quiet[r.Alert] {
				t.Errorf("%s: no test has it fire (%t) and be quiet (%t)", r.Alert, fired[r.Alert], quiet[r.Alert])
			}
		}
	}
	if len(rules.Groups) != 1 || len(rules.Groups[0].Rules) < 10 {
		t.Errorf("the rules are %+v", rules)
	}
}

func readYAML(t *testing.T, name string, into any) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err == nil {
		err = yaml.Unmarshal(data, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A metric of a rule or of a test of one, with its labels.
var (
	anyMetric = regexp.MustCompile(`(certwright_\w+)(\{[^}]*\})?`)
	anyLabel  = regexp.MustCompile(`(\w+)(?:=|!=|=~|!~)"`)
)

// alertable wants every metric of the rules, and of what fires them, to be in what was scraped of a real watch, with the same
// labels; and the page about them to list all that was scraped.
func alertable(t *testing.T, scraped string) {
	t.Helper()
	dockertest.Servers(t, "promtool")
	lint := exec.Command("promtool", "check", "metrics")
	lint.Stdin = strings.NewReader(scraped)
	if out, err := lint.CombinedOutput(); err != nil {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
	for _, name := range []string{alertRules, alertFires} {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range anyMetric.FindAllStringSubmatch(string(data), -1) {
			series := regexp.MustCompile(`(?m)^` + m[1] + `(\{.*\})? `).FindString(scraped)
			if series == "" {
				t.Errorf("%s: a watch has no %s", name, m[1])
			}
			for _, l := range anyLabel.FindAllStringSubmatch(m[2], -1) {
				added := l[1] == "job" || l[1] == "instance" // by Prometheus, when it scrapes
				if !added && !strings.Contains(series, l[1]+`="`) {
					t.Errorf("%s: %s has no label %s", name, series, l[1])
				}
			}
		}
	}
	page, err := os.ReadFile("../../docs/monitoring.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (certwright_\S+) `).FindAllStringSubmatch(scraped, -1) {
		if !strings.Contains(string(page), "| `"+m[1]+"` |") {
			t.Errorf("docs/monitoring.md does not list %s", m[1])
		}
	}
}
