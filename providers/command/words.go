package command

import (
	"io"
	"strings"
	"unicode"
)

// Words are what a process or a server said, bounded and fit for an error.
type Words struct {
	max  int
	last bool
	data []byte
}

// First keeps the first max bytes that are written to it, and swallows the rest.
func First(max int) *Words { return &Words{max: max} }

// Last keeps the last max bytes that are written to it.
func Last(max int) *Words { return &Words{max: max, last: true} }

// Write implements io.Writer; there is no error.
func (w *Words) Write(p []byte) (int, error) {
	if !w.last {
		w.data = append(w.data, p[:min(len(p), w.max-len(w.data))]...)
		return len(p), nil
	}
	w.data = append(w.data, p[max(0, len(p)-w.max):]...)
	w.data = w.data[max(0, len(w.data)-w.max):]
	return len(p), nil
}

// ReadAll reads r to its end, or to an error, which says nothing that matters here.
func (w *Words) ReadAll(r io.Reader) { _, _ = io.Copy(w, r) }

// Bytes are what was kept.
func (w *Words) Bytes() []byte { return w.data }

// String is what was kept on one line, without control characters.
func (w *Words) String() string { return clean(string(w.data)) }

// Line is the last line that says anything, as String has it.
func (w *Words) Line() string {
	text := strings.TrimSpace(string(w.data))
	return clean(text[strings.LastIndexByte(text, '\n')+1:])
}

func clean(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, text)
	return strings.Join(strings.Fields(text), " ")
}
