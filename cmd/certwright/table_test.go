package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTable prints tables on terminals of several widths, and elsewhere.
func TestTable(t *testing.T) {
	long := [][]string{
		{"web", "\x1b[31mFailed\x1b[0m", "web-service is not running (exited): it ended with code 1", ""},
		{"db-certs", "\x1b[32mReady\x1b[0m", "", "db serves 0123"},
		{"other", "\x1b[31mStale\x1b[0m", "not reloaded: ünser serves a", "web serves a, not b"},
		{"c", "short"},
	}
	for _, c := range []struct {
		name  string
		width int
		rows  [][]string
		want  string
	}{
		{"no terminal", 0, long, `
  web       Failed  web-service is not running (exited): it ended with code 1
  db-certs  Ready                                                              db serves 0123
  other     Stale   not reloaded: ünser serves a                               web serves a, not b
  c         short
`},
		{"a wide terminal", 100, long, `
  web       Failed  web-service is not running (exited): it ended with code 1
  db-certs  Ready                                                              db serves 0123
  other     Stale   not reloaded: ünser serves a                               web serves a, not b
  c         short
`},
		{"a narrow one", 50, long, `
  web       Failed  web-service is not running
                    (exited): it ended with code 1
  db-certs  Ready   db serves 0123
  other     Stale   not reloaded: ünser serves a
                    web serves a, not b
  c         short
`},
		{"one that is narrower", 30, long, `
  web       Failed  web-service
    is not running (exited):
    it ended with code 1
  db-certs  Ready   db serves
    0123
  other     Stale   not
    reloaded: ünser serves a
    web serves a, not b
  c         short
`},
		{"a word that is too long", 12, [][]string{{"a", "/a/path/without/an/end and more"}}, `
  a  /a/path/without/an/end
     and
     more
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			(&table{out: &out, width: c.width, rows: c.rows}).flush()
			got := escape.ReplaceAllString("\n"+out.String(), "")
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

// TestHint prints a hint on terminals of several widths, and elsewhere.
func TestHint(t *testing.T) {
	const hint = "web, db: move what is there away, or run `certwright adopt web` to take it over (`docker logs`), ünser one"
	for _, c := range []struct {
		name, lead, hint string
		width            int
		want             string
	}{
		{"no terminal", "  hint: ", hint, 0, `
  hint: web, db: move what is there away, or run ` + "`certwright adopt web` to take it over (`docker logs`)" + `, ünser one
`},
		{"a wide terminal", "  hint: ", hint, 114, `
  hint: web, db: move what is there away, or run ` + "`certwright adopt web` to take it over (`docker logs`)" + `, ünser one
`},
		{"one that is a column narrower", "  hint: ", hint, 113, `
  hint: web, db: move what is there away, or run ` + "`certwright adopt web` to take it over (`docker logs`)" + `, ünser
        one
`},
		{"a command that fits the next line alone", "  hint: ", hint, 60, `
  hint: web, db: move what is there away, or run
        ` + "`certwright adopt web` to take it over\n        (`docker logs`)" + `, ünser one
`},
		{"one that fits none", "  hint: ", hint, 24, `
  hint: web, db: move
        what is there
        away, or run
        ` + "`certwright\n        adopt web` to\n        take it over\n        (`docker logs`)" + `,
        ünser one
`},
		{"a lead that takes most of it", "certwright: hint: ", "run it without it", 24, `
certwright: hint: run it
    without it
`},
		{"a quote that is none", "hint: ", "it` is no command", 16, `
hint: it` + "`" + ` is no
      command
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := "\n" + strings.Join(hintLines(c.lead, c.hint, c.width), "\n") + "\n"
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}
