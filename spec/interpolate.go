package spec

import (
	"fmt"
	"strings"
	"unicode"
)

// interpolate replaces ${NAME}, ${NAME:-default} and ${NAME:?message} in s by what env knows, and $$ by $, as
// Compose does. A bare $NAME stays as it is. Errors never hold the value of a variable.
func interpolate(s string, env func(string) (string, bool)) (string, error) {
	var out strings.Builder
	for {
		before, after, found := strings.Cut(s, "$")
		out.WriteString(before)
		if !found {
			return out.String(), nil
		}
		switch {
		case strings.HasPrefix(after, "$"):
			out.WriteByte('$')
			s = after[1:]
		case strings.HasPrefix(after, "{"):
			inside, rest, closed := strings.Cut(after[1:], "}")
			if !closed {
				return "", fmt.Errorf(`"${" is not closed (a plain "$" is written "$$")`)
			}
			text, err := variable(inside, env)
			if err != nil {
				return "", err
			}
			out.WriteString(text)
			s = rest
		default:
			out.WriteByte('$')
			s = after
		}
	}
}

// variable is what ${inside} stands for. Set but empty counts as unset where there is a default or a message.
func variable(inside string, env func(string) (string, bool)) (string, error) {
	name, rest := inside, ""
	if i := strings.IndexByte(inside, ':'); i >= 0 {
		name, rest = inside[:i], inside[i:]
	}
	fallback, hasDefault := strings.CutPrefix(rest, ":-")
	message, hasMessage := strings.CutPrefix(rest, ":?")
	if !isVariable(name) || rest != "" && !hasDefault && !hasMessage || strings.Contains(rest, "${") {
		return "", fmt.Errorf("%s is none of ${NAME}, ${NAME:-default} and ${NAME:?message}", quote("${"+inside+"}"))
	}
	var text string
	var set bool
	if env != nil {
		text, set = env(name)
	}
	switch {
	case hasDefault && text == "":
		return fallback, nil
	case hasMessage && text == "":
		return "", fmt.Errorf("the variable %s is not set: %s", name, cut(oneLine(message)))
	case !set:
		return "", fmt.Errorf("the variable %s is not set (${%s:-default} gives it a default)", name, name)
	}
	return text, nil
}

// oneLine keeps a message on its line, and from steering a terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) {
			return r
		}
		return -1
	}, strings.Join(strings.Fields(s), " "))
}

// isVariable reports whether s can be the name of a variable.
func isVariable(s string) bool {
	for i, c := range []byte(s) {
		if !(c == '_' || isLetter(c) || i > 0 && isDigit(c)) {
			return false
		}
	}
	return s != ""
}
