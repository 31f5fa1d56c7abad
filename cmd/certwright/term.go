package main

import (
	"io"
	"os"

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

// width is how many columns a terminal has, and zero for what is none, or does not say.
func width(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return columns
}
