package spec

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"30s": 30 * time.Second, "5m": 5 * time.Minute, "720h": 720 * time.Hour, "30d": 720 * time.Hour, "2w": 336 * time.Hour,
		"10y": 87600 * time.Hour, "1h30m": 90 * time.Minute, "1y2w3d4h5m6s": (365+14+3)*day + 4*time.Hour + 5*time.Minute + 6*time.Second, "0s": 0,
	} {
		if got, ok := parseDuration(text); !ok || got != want {
			t.Errorf("%s is %v, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "30", "d", "1.5h", "-1h", "+1h", "1h1h", "30m1h", "1month", "1 h", "293y", "99999999999d", "1H", "10ms", "١h"} {
		if got, ok := parseDuration(text); ok {
			t.Errorf("%q is %v", text, got)
		}
	}
}

// TestFormatDuration: what is printed reads back as the same.
func TestFormatDuration(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, int64(maxLife/time.Second)).Draw(t, "seconds")) * time.Second
		if back, ok := parseDuration(FormatDuration(d)); !ok || back != d {
			t.Errorf("%v prints as %s and reads as %v", d, FormatDuration(d), back)
		}
	})
}

func TestInterpolate(t *testing.T) {
	env := func(name string) (string, bool) {
		v, ok := map[string]string{"A": "a", "EMPTY": "", "LOOP": "${A}"}[name]
		return v, ok
	}
	for text, want := range map[string]string{
		"": "", "plain": "plain", "${A}": "a", "x${A}y${A}": "xaya", "$A": "$A", "$": "$", "a$": "a$", "$$": "$", "$${A}": "${A}", "$$$${A}": "$${A}",
		"$$${A}": "$a", "${EMPTY}": "", "${EMPTY:-d}": "d", "${NONE:-}": "", "${NONE:-a b:c?}": "a b:c?", "${A:?must}": "a", "${A:-d}": "a",
		"${LOOP}": "${A}", // what a variable holds is not read again
	} {
		if got, err := interpolate(text, env); err != nil || got != want {
			t.Errorf("%q is %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"${", "${A", "${}", "${A:}", "${A:+x}", "${A-x}", "${ A}", "${1}", "${NONE}", "${EMPTY:?x}", "${NONE:-${A}}", "x${NONE}"} {
		if got, err := interpolate(text, env); err == nil {
			t.Errorf("%q is %q", text, got)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{
		{"web", "web", 0},
		{"wbe", "web", 1},
		{"wb", "web", 1},
		{"webb", "web", 1},
		{"xeb", "web", 1},
		{"", "web", 3},
		{"web", "", 3},
		{"kitten", "sitting", 3},
		{"ca", "abc", 3},
	} {
		if got := distance(test.a, test.b); got != test.want {
			t.Errorf("%s and %s: %d, want %d", test.a, test.b, got, test.want)
		}
	}
}
