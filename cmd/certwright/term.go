package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"golang.org/x/term"
)

// Colours, as ECMA-48 "select graphic rendition" numbers.
const (
	red    = "31"
	green  = "32"
	yellow = "33"
	dim    = "2"
)

// paint colours a word where the output is a terminal and nobody forbade it (no-color.org).
func (a *app) paint(colour, s string) string {
	if a.noColor || a.getenv("NO_COLOR") != "" || !terminal(a.out) {
		return s
	}
	return "\x1b[" + colour + "m" + s + "\x1b[0m"
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// table lines up columns; the last may be empty.
type table struct {
	out io.Writer
	buf *bytes.Buffer
	w   *tabwriter.Writer
}

func (a *app) table() table {
	var buf bytes.Buffer
	return table{a.out, &buf, tabwriter.NewWriter(&buf, 0, 8, 2, ' ', 0)}
}

func (t table) row(cells ...string) { fmt.Fprintln(t.w, "  "+strings.Join(cells, "\t")) }

// flush prints the table without the blanks tabwriter leaves at the ends of lines.
func (t table) flush() {
	_ = t.w.Flush()
	for line := range strings.Lines(t.buf.String()) {
		fmt.Fprintln(t.out, strings.TrimRight(line, " \n"))
	}
}
