package store

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// The kinds of files that begin with a header.
const (
	kindStore  = "store"
	kindState  = "state"
	kindBackup = "backup"
)

const (
	format      = 6       // of everything this package writes
	maxHeader   = 4 << 10 // bytes of a header line, with its end
	maxDocument = 64 << 20
)

// header is the first line of a file, as JSON. It is in clear and nothing in it can be believed before what follows
// it has been opened; that also proves the line, byte for byte.
type header struct {
	Certwright   string `json:"certwright"` // the kind of file
	Format       int    `json:"format"`
	Installation string `json:"installation"` // "" in store.json while a restore is under way
	Project      string `json:"project,omitempty"`
	Generation   uint64 `json:"generation,omitempty"` // raised by every commit
	// In a Swarm alone: pieces of the file beside the one the header is in, and the ids of files before it, newest first.
	Parts  int      `json:"parts,omitempty"`
	Before []string `json:"before,omitempty"`
	Seal   *seal    `json:"seal,omitempty"` // nil: plain
}

// line is the header as it stands in a file.
func (h header) line() ([]byte, error) {
	data, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	if len(data) >= maxHeader {
		return nil, fmt.Errorf("the header would have %d bytes, at most %d are possible; shorten the project's name", len(data), maxHeader-1)
	}
	return append(data, '\n'), nil
}

// parseHeader splits a file of the given kind into its header, the header's line and the rest.
func parseHeader(data []byte, kind string) (h header, line, rest []byte, err error) {
	end := bytes.IndexByte(data[:min(len(data), maxHeader)], '\n')
	if end < 0 {
		return header{}, nil, nil, errHeader
	}
	line, rest = data[:end+1], data[end+1:]
	var first struct {
		Certwright string `json:"certwright"`
		Format     int    `json:"format"`
	}
	// Later formats may have another header; all have these two.
	if json.Unmarshal(line, &first) != nil || first.Certwright == "" || first.Format < 1 {
		return header{}, nil, nil, errHeader
	}
	if first.Format > format {
		return header{}, nil, nil, newerError(first.Format)
	}
	if first.Certwright != kind {
		return header{}, nil, nil, fmt.Errorf("it is a certwright %s, not a %s", quote(first.Certwright), kind)
	}
	if json.Unmarshal(line, &h) != nil {
		return header{}, nil, nil, errHeader
	}
	return h, line, rest, nil
}

// quote shortens what an unproven header says, for messages.
func quote(s string) string {
	return fmt.Sprintf("%.40q", s)
}
