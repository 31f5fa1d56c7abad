package spec

import (
	"slices"
	"strings"
)

// index holds the names of one section, in the order of the files.
type index struct {
	what string // what an error calls an entry
	pos  map[string]Pos
	at   map[string]int // the entry's place in its list of the Spec
	list []string
}

func newIndex(what string) index {
	return index{what: what, pos: make(map[string]Pos), at: make(map[string]int)}
}

func (ix *index) define(v value) {
	ix.pos[v.key] = v.pos()
	ix.list = append(ix.list, v.key)
}

// ref returns what v names in ix, or nil when it is not there or names nothing, which is then reported. The
// reserved names need no entry.
func (p *parser) ref(v value, ix *index, reserved ...string) *Ref {
	name := p.text(v)
	if name == "" {
		return nil
	}
	if slices.Contains(reserved, name) {
		return &Ref{name, v.pos()}
	}
	if _, ok := ix.pos[name]; !ok {
		if !p.partial {
			p.errorf(v, "no %s named %s%s", ix.what, quote(name), p.guess(name, ix.list))
		}
		return nil
	}
	return &Ref{name, v.pos()}
}

// hint names what was probably meant, or else everything there is.
func (p *parser) hint(word string, known []string) string {
	if guess := p.guess(word, known); guess != "" {
		return guess
	}
	if len(known) == 0 {
		return " (nothing stands in here)"
	}
	return " (" + strings.Join(known, ", ") + ")"
}

// guess names what was probably meant by word, if anything.
func (p *parser) guess(word string, known []string) string {
	const longest = 64
	if len(word) > longest {
		return ""
	}
	best, least := "", min(max(len(word)/3, 1), 3)+1 // one mistake in three letters is still a mistake
	for _, k := range known {
		if p.guesses--; p.guesses < 0 {
			return ""
		}
		if d := len(word) - len(k); len(k) > longest || d >= least || -d >= least {
			continue
		}
		if d := distance(strings.ToLower(word), strings.ToLower(k)); d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return " (did you mean " + quote(best) + "?)"
}

// distance counts the letters to insert, delete, replace, or swap with their neighbour to make b of a (the
// optimal string alignment distance).
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := last[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(last[j]+1, row[j-1]+1, change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
