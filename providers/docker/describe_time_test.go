package docker

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/docker/docker/client"

	"github.com/certwright/certwright/spec"
)

// slow is an engine with containers that takes its time for each answer.
type slow struct {
	containers int
	each       func(path string) time.Duration
}

func (s slow) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case <-time.After(s.each(r.URL.Path)):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	body := `{"Id": "c"}`
	if strings.HasSuffix(r.URL.Path, "/containers/json") {
		all := make([]string, s.containers)
		for i := range all {
			all[i] = fmt.Sprintf(`{"Id": "c%d", "Names": ["/c%d"]}`, i, i)
		}
		body = "[" + strings.Join(all, ",") + "]"
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// TestDescribeTimes has an engine that is well and has many containers, and ones that hang: at once, and in the middle.
func TestDescribeTimes(t *testing.T) {
	hangs := func(at string) func(string) time.Duration {
		return func(path string) time.Duration {
			if strings.HasSuffix(path, at) {
				return time.Hour
			}
			return time.Second / 10
		}
	}
	for name, row := range map[string]struct {
		each func(path string) time.Duration
		took time.Duration
		err  string
	}{
		"well":                {hangs("nowhere"), 30*time.Second + time.Second/10, ""},
		"hangs":               {hangs("/containers/json"), answerTimeout, "no answer in time"},
		"hangs in the middle": {hangs("/containers/c150/json"), answerTimeout + 15*time.Second + time.Second/10, "describe container c150: "},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				requests := &http.Client{Transport: &http.Transport{}}
				cli, err := client.NewClientWithOpts(client.WithHTTPClient(requests), client.WithHost("tcp://engine.test:2376"), client.WithVersion("1.41"))
				if err != nil {
					t.Fatal(err)
				}
				requests.Transport = slow{300, row.each} // only now: the client looks into its transport when it is made
				e, began := &Engine{host: spec.LocalHost, cli: cli}, time.Now()
				all, err := e.Describe(context.Background())
				if took := time.Since(began); took != row.took {
					t.Errorf("it took %s, want %s", took, row.took)
				}
				if row.err == "" && (err != nil || len(all) != 300) || row.err != "" && (err == nil || !strings.Contains(err.Error(), row.err)) {
					t.Errorf("%d containers, %v; want %q", len(all), err, row.err)
				}
			})
		})
	}
}
