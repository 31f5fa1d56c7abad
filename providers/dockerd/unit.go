package dockerd

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/certwright/certwright/providers/disk"
)

// commandOf is the command that the files of a unit come to, and the line of it: the last ExecStart counts. The words are as
// they are written, with their quotes, so that they can be written again. A file that is gone counts for nothing, as it will for
// systemd once that has read its units again.
func commandOf(files []string) (words []string, at string, err error) {
	for _, file := range files {
		data, err := disk.ReadFile(file, maxFile)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, "", err
		}
		for _, line := range logical(string(data)) {
			value, is := strings.CutPrefix(line.text, "ExecStart=")
			if !is || line.section != "Service" {
				continue
			}
			if words, at = split(value), fmt.Sprintf("%s:%d", file, line.number); len(words) == 0 {
				words = nil // a blank one resets what was said before (systemd.service(5))
			}
		}
	}
	if words == nil {
		return nil, "", errors.New("its unit has no ExecStart")
	}
	return words, at, nil
}

// line is one of a unit's, with those that continue it.
type line struct {
	section, text string
	number        int
}

// logical are the lines of a unit without comments (systemd.syntax(7)).
func logical(data string) (lines []line) {
	section, open := "", false
	number := 0
	for text := range strings.Lines(data) {
		number++
		text = strings.TrimSpace(text)
		if strings.HasPrefix(text, "#") || strings.HasPrefix(text, ";") {
			continue
		}
		text, continued := strings.CutSuffix(text, `\`)
		switch {
		case open:
			lines[len(lines)-1].text += " " + strings.TrimSpace(text)
		case strings.HasPrefix(text, "["):
			section = strings.Trim(text, "[]")
		case text != "":
			if key, value, is := strings.Cut(text, "="); is {
				text = strings.TrimSpace(key) + "=" + strings.TrimSpace(value)
			}
			lines = append(lines, line{section, text, number})
		}
		open = continued && len(lines) > 0
	}
	return lines
}

// split parts a command at the blanks that stand in no quotes.
func split(command string) (words []string) {
	var word strings.Builder
	quote, escaped := rune(0), false
	for _, c := range command {
		switch {
		case escaped:
			escaped = false
		case c == '\\':
			escaped = true
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == ' ' || c == '\t':
			if word.Len() > 0 {
				words = append(words, word.String())
				word.Reset()
			}
			continue
		}
		word.WriteRune(c)
	}
	if word.Len() > 0 {
		words = append(words, word.String())
	}
	return words
}

// dropIn is what makes a unit run another command: the blank line takes away the one of before.
func dropIn(command []string) []byte {
	return []byte("# Written by certwright, since where dockerd listens and its TLS are in its configuration file.\n" +
		"[Service]\nExecStart=\nExecStart=" + strings.Join(command, " ") + "\n")
}
