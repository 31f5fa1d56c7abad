package main

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode/utf8"
)

// table lines up columns; the last may be empty. What is wider than a terminal goes on in lines below, under the column it
// began in. Elsewhere a row is one line, for grep.
type table struct {
	out   io.Writer
	width int // of the terminal
	rows  [][]string
}

func (a *app) table() *table { return &table{out: a.out, width: width(a.out)} }

func (t *table) row(cells ...string) { t.rows = append(t.rows, cells) }

// flush prints the rows.
func (t *table) flush() {
	lines := lined(t.rows)
	if t.width > 0 && slices.ContainsFunc(lines, func(line string) bool { return breadth(line) > t.width }) {
		lines = t.folded()
	}
	for _, line := range lines {
		fmt.Fprintln(t.out, line)
	}
}

// lined is a line for each row, without the blanks that tabwriter leaves at their ends.
func lined(rows [][]string) (lines []string) {
	var buf bytes.Buffer
	w := tabwriter.NewWriter(&buf, 0, 8, 2, ' ', 0)
	for _, cells := range rows {
		fmt.Fprintln(w, "  "+strings.Join(cells, "\t"))
	}
	_ = w.Flush()
	for line := range strings.Lines(buf.String()) {
		lines = append(lines, strings.TrimRight(line, " \n"))
	}
	return lines
}

// folded is lined within the terminal: from the first column on that does not fit, the cells of a row are one text.
func (t *table) folded() (lines []string) {
	first, indent := t.fold()
	for _, cells := range t.rows {
		var lead strings.Builder
		lead.WriteString("  ")
		for i, cell := range cells[:min(first, len(cells))] {
			lead.WriteString(cell + strings.Repeat(" ", t.column(i)-breadth(cell)+2))
		}
		var all []string
		for _, cell := range cells[min(first, len(cells)):] {
			for i, word := range strings.Fields(cell) {
				if i == 0 {
					word = " " + word // a wider gap between cells
				}
				all = append(all, word)
			}
		}
		lines = append(lines, hung(lead.String(), all, indent, t.width)...)
	}
	return lines
}

// hung is a text of words in lines of a width: the first begins with lead, the others are indented. A blank that a word begins with
// is a wider gap before it, where no line begins.
func hung(lead string, words []string, indent, width int) (lines []string) {
	line, at := lead, breadth(lead)
	for _, word := range words {
		gap := " "
		switch {
		case strings.HasSuffix(line, " "):
			gap, word = "", strings.TrimLeft(word, " ")
		case at+1+breadth(word) > width && at > indent:
			lines = append(lines, line)
			line, at, gap, word = "", 0, strings.Repeat(" ", indent), strings.TrimLeft(word, " ")
		}
		line += gap + word
		at += len(gap) + breadth(word)
	}
	return append(lines, strings.TrimRight(line, " "))
}

// printHint prints what to do, after lead and "hint: ". What is wider than a terminal goes on below it.
func printHint(out io.Writer, lead, hint string) {
	for _, line := range hintLines(lead+"hint: ", hint, width(out)) {
		fmt.Fprintln(out, line)
	}
}

// hintLines is one line where there is no width, for grep, and where the hint fits.
func hintLines(lead, hint string, width int) []string {
	at := breadth(lead)
	if width == 0 || at+breadth(hint) <= width {
		return []string{lead + hint}
	}
	if at > width/2 {
		at = 4
	}
	return hung(lead, words(hint, width-at), at, width)
}

// words are what a text can be broken between. A command in backquotes is kept whole, unless it is wider than a line.
func words(text string, line int) (all []string) {
	command, inside := "", false
	for _, word := range strings.Fields(text) {
		if inside {
			word = command + " " + word
		}
		if inside = strings.Count(word, "`")%2 == 1; inside {
			command = word
			continue
		}
		if breadth(word) > line {
			all = append(all, strings.Fields(word)...)
		} else {
			all = append(all, word)
		}
	}
	if inside { // it is no command
		all = append(all, strings.Fields(command)...)
	}
	return all
}

// fold is the first column that does not fit, and how far lines below are indented: to where it begins, unless that is far to the right.
func (t *table) fold() (first, indent int) {
	at := 2
	for i := 0; ; i++ {
		if w := t.column(i); at+w > t.width || w == 0 {
			if at > t.width/2 {
				return i, 4
			}
			return i, at
		} else {
			at += w + 2
		}
	}
}

// column is the width of a column.
func (t *table) column(i int) (widest int) {
	for _, cells := range t.rows {
		if i < len(cells) {
			widest = max(widest, breadth(cells[i]))
		}
	}
	return widest
}

var escape = regexp.MustCompile("\x1b\\[[0-9]*m")

// breadth is how many columns of a terminal a text takes: colours take none.
func breadth(s string) int { return utf8.RuneCountInString(escape.ReplaceAllString(s, "")) }
