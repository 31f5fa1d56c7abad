package spec

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/go-multierror"
)

// Error is one thing that is wrong with a spec. Load and Parse return all of them at once, as the Errors of a
// *multierror.Error, sorted by file and position.
type Error struct {
	Pos  Pos    // Line is zero when the file as a whole is meant and could not be read
	Path string // bindings.web.identity; "" when the file as a whole is meant
	Msg  string
}

func (e *Error) Error() string { return line(e.Pos, e.Path, e.Msg) }

func (w Warning) String() string { return line(w.Pos, w.Path, w.Msg) }

func line(pos Pos, path, msg string) string {
	where := pos.String()
	if pos.Line == 0 {
		where = pos.File
	}
	if path == "" {
		return where + ": " + msg
	}
	return where + ": " + path + ": " + msg
}

// maxErrors is more than anybody reads, and keeps a file of nothing but errors from filling the memory.
const maxErrors = 1000

// errorf reports something wrong with v, at its key.
func (p *parser) errorf(v value, format string, args ...any) {
	if !p.full() {
		p.errs = append(p.errs, &Error{v.pos(), v.path(), fmt.Sprintf(format, args...)})
	}
}

// full reports whether there are enough errors, which is itself the last of them.
func (p *parser) full() bool {
	if len(p.errs) < maxErrors {
		return false
	}
	p.tooMany = true
	return true
}

func (p *parser) warnf(v value, format string, args ...any) {
	if len(p.spec.Warnings) == maxErrors {
		return // an alias to a list of names is cheap, and warns of each of them again
	}
	p.spec.Warnings = append(p.spec.Warnings, Warning{v.pos(), v.path(), fmt.Sprintf(format, args...)})
}

// later refuses what is understood but not carried out yet.
func (p *parser) later(v value) {
	if v.node != nil {
		p.errorf(v, "not in this version")
	}
}

// finish sorts what was found by the order of the files and the position, and returns nil if nothing was.
func (p *parser) finish() error {
	order := make(map[string]int, len(p.spec.Files))
	for i, name := range p.spec.Files {
		order[name] = i
	}
	byPos := func(a, b Pos) int {
		return cmp.Or(cmp.Compare(order[a.File], order[b.File]), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	}
	slices.SortStableFunc(p.spec.Warnings, func(a, b Warning) int { return byPos(a.Pos, b.Pos) })
	slices.SortStableFunc(p.errs, func(a, b *Error) int { return byPos(a.Pos, b.Pos) })
	if p.tooMany {
		last := p.errs[len(p.errs)-1].Pos
		p.errs = append(p.errs, &Error{Pos: last, Msg: fmt.Sprintf("more than %d errors: the rest is not shown", maxErrors)})
	}
	return join(p.errs)
}

// join makes one error of many, printed one a line.
func join(errs []*Error) error {
	all := &multierror.Error{ErrorFormat: func(errs []error) string {
		lines := make([]string, len(errs))
		for i, err := range errs {
			lines[i] = err.Error()
		}
		return strings.Join(lines, "\n")
	}}
	for i, err := range errs {
		if i == 0 || *err != *errs[i-1] { // an anchor used twice is wrong twice
			all.Errors = append(all.Errors, err)
		}
	}
	return all.ErrorOrNil()
}
