package docker

import (
	"io"
	"strings"
	"unicode"
)

// head keeps the first max bytes written to it and swallows the rest: what a process said, bounded.
type head struct {
	max  int
	data []byte
}

func (h *head) Write(p []byte) (int, error) {
	h.data = append(h.data, p[:min(len(p), h.max-len(h.data))]...)
	return len(p), nil
}

// String is the text on one line, without control characters.
func (h *head) String() string {
	clean := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, string(h.data))
	return strings.Join(strings.Fields(clean), " ")
}

// readAll reads r to its end, or to an error, which says nothing that matters here.
func (h *head) readAll(r io.Reader) { _, _ = io.Copy(h, r) }
