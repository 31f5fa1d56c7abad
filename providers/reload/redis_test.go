package reload

import (
	"bufio"
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// TestRedisSix falls back to one pair for a server that takes no more.
func TestRedisSix(t *testing.T) {
	var asked bytes.Buffer
	r := resp{w: &asked, r: bufio.NewReader(strings.NewReader("-ERR Wrong number of arguments\r\n+OK\r\n"))}
	if err := r.setPaths(map[string]string{"tls-cert-file": "/c", "tls-key-file": "/k"}); err != nil {
		t.Error(err)
	}
	want := "*6\r\n$6\r\nCONFIG\r\n$3\r\nSET\r\n$13\r\ntls-cert-file\r\n$2\r\n/c\r\n$12\r\ntls-key-file\r\n$2\r\n/k\r\n" +
		"*4\r\n$6\r\nCONFIG\r\n$3\r\nSET\r\n$13\r\ntls-cert-file\r\n$2\r\n/c\r\n"
	if asked.String() != want {
		t.Errorf("asked %q", asked.String())
	}
}

func TestReplies(t *testing.T) {
	for reply, want := range map[string]string{
		"+OK\r\n":                       "[OK]",
		"*2\r\n$1\r\na\r\n$2\r\nbc\r\n": "[a bc]",
		"*0\r\n":                        "[]",
		"-ERR no\x1b[2J way\r\n":        "the server refused it: ERR no [2J way",
		"HTTP/1.1 400 Bad Request\r\n":  "its answer is not Redis's protocol",
		"$99999999\r\n":                 "its answer is not Redis's protocol",
		"$-1\r\n":                       "its answer is not Redis's protocol",
		"*65\r\n":                       "its answer is not Redis's protocol",
		"*1\r\n*1\r\n+x\r\n":            "its answer is not Redis's protocol",
		"\n":                            "its answer is not Redis's protocol",
		"$5\r\nab":                      "unexpected EOF",
		"":                              "read its answer: EOF",
		strings.Repeat("x", respMax+1):  "read its answer: bufio: buffer full",
	} {
		got, err := resp{r: bufio.NewReaderSize(strings.NewReader(reply), respMax)}.reply(true)
		if err == nil && fmt.Sprint(got) != want || err != nil && err.Error() != want {
			t.Errorf("%.30q: %v, %v; want %s", reply, got, err, want)
		}
	}
}

func FuzzReply(f *testing.F) {
	f.Add([]byte("*2\r\n$1\r\na\r\n$2\r\nbc\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := resp{r: bufio.NewReaderSize(bytes.NewReader(data), respMax)}.reply(true)
		if err == nil && len(strings.Join(all, "")) > len(data) {
			t.Errorf("%d bytes became %q", len(data), all)
		}
	})
}
