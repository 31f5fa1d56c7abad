package spec

import (
	"fmt"
	"math"
	"strings"
	"time"
)

const (
	day  = 24 * time.Hour
	week = 7 * day
	year = 365 * day

	minLife = time.Minute
	maxLife = 100 * year // time.Duration ends at 292
)

// units are those of DESIGN.md 1.2, from large to small.
var units = [...]struct {
	name byte
	is   time.Duration
}{{'y', year}, {'w', week}, {'d', day}, {'h', time.Hour}, {'m', time.Minute}, {'s', time.Second}}

// parseDuration reads 30d, 1h30m, 10y: whole numbers with units, from large to small.
func parseDuration(s string) (time.Duration, bool) {
	var sum time.Duration
	rest, left := s, units[:]
	for rest != "" {
		var n int64
		digits := 0
		for ; digits < len(rest) && isDigit(rest[digits]); digits++ {
			if n = n*10 + int64(rest[digits]-'0'); n > math.MaxInt32 {
				return 0, false
			}
		}
		if digits == 0 || digits == len(rest) {
			return 0, false
		}
		for len(left) > 0 && left[0].name != rest[digits] {
			left = left[1:]
		}
		if len(left) == 0 || n > (math.MaxInt64-int64(sum))/int64(left[0].is) {
			return 0, false
		}
		sum += time.Duration(n) * left[0].is
		rest, left = rest[digits+1:], left[1:]
	}
	return sum, s != ""
}

// FormatDuration writes a time as tls.yaml has it, without weeks: 30d, 1h30m.
func FormatDuration(d time.Duration) string {
	if d < time.Second {
		return "0s"
	}
	var out strings.Builder
	for _, u := range units {
		if n := d / u.is; n > 0 && u.name != 'w' {
			fmt.Fprintf(&out, "%d%c", n, u.name)
			d -= n * u.is
		}
	}
	return out.String()
}

// duration returns the life or time that v says, within bounds; 0 if there is none or it was refused.
func (p *parser) duration(v value, least, most time.Duration) time.Duration {
	s := p.textAs(v, "a time with its unit, like 30d")
	if s == "" {
		return 0
	}
	d, ok := parseDuration(s)
	switch {
	case !ok:
		p.errorf(v, "%s is no time: want whole numbers with the units y w d h m s, like 30d or 1h30m", quote(v.node.Value))
	case d < least:
		p.errorf(v, "must be at least %s", FormatDuration(least))
	case d > most:
		p.errorf(v, "must be at most %s", FormatDuration(most))
	default:
		return d
	}
	return 0
}
