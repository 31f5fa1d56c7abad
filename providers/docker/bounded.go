package docker

import (
	"errors"
	"io"
	"net/http"
)

// replyMax bounds one answer of an engine: the list of ten thousand containers.
const replyMax = 32 << 20

var errEndless = errors.New("its answer has more than 32 MiB")

// bounded ends every answer that is too long with an error: the client reads what it is sent into memory. The
// streams of couriers do not come this way, and have bounds of their own.
type bounded struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		answer.Body = &boundedBody{answer.Body, replyMax}
	}
	return answer, err
}

type boundedBody struct {
	io.ReadCloser
	left int
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errEndless
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
